"""How do many rows go into one statement? As a few arrays in binary, one a column, each of the type that it says.

`unnest` makes rows of them again, at a third of what JSON costs on either side. A column of which no row says
anything may be sent empty: the others give the rows, and it is null in each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg.abc import AdaptContext
from psycopg.postgres import types
from psycopg.pq import Format
from psycopg.types.array import ListBinaryDumper

NULL = b"\xff\xff\xff\xff"


class Texts(list[str | None]):
    """`text[]`."""


class Instants(list[Any]):
    """`timestamptz[]`."""


class Tokens(list[Any]):
    """`uuid[]`."""


class Flags(list[bool | None]):
    """`bool[]`."""


class Numbers(list[int | None]):
    """`int8[]`."""


class Documents(list[Any]):
    """`jsonb[]`; None is no value, a JSON null cannot be said."""


class _ColumnDumper(ListBinaryDumper):
    """An array whose type its class says, never what happens to be in it: so a statement is prepared once."""

    format = Format.BINARY

    def _dump_list(self, values: list[Any], dim: int, dims: list[int], data: list[Any]) -> int:
        first = values[0]
        # Of one batch the queue, the trigger and their like are mostly the same in every row.
        if first is values[-1] and values.count(first) == len(values):
            if first is None:
                data.append(NULL * len(values))
                return 1
            text = self.sub_dumper.dump(first)  # type: ignore[union-attr]
            data.append((len(text).to_bytes(4, "big") + bytes(text)) * len(values))  # type: ignore[arg-type]
            return 0
        return super()._dump_list(values, dim, dims, data)


def _dumper(element: str) -> type[_ColumnDumper]:
    found = types[element]
    return type(f"{element}_dumper", (_ColumnDumper,), {"oid": found.array_oid, "element_oid": found.oid})


_DUMPERS = {
    Texts: _dumper("text"),
    Instants: _dumper("timestamptz"),
    Tokens: _dumper("uuid"),
    Flags: _dumper("bool"),
    Numbers: _dumper("int8"),
    Documents: _dumper("jsonb"),
}


def register(context: AdaptContext) -> None:
    """Have a connection know how to send these."""
    for column, dumper in _DUMPERS.items():
        context.adapters.register_dumper(column, dumper)


def said(values: Iterable[Any]) -> list[Any]:
    """The values of a column, or none of them where no row says anything."""
    column = list(values)
    return column if any(value is not None for value in column) else []
