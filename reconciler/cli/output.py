"""How an answer looks: a table for a person, JSON or YAML for a program.

Colour and shortening are for a terminal only; through a pipe a table is plain columns that `cut` and `awk` read.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import click

Format = Literal["table", "json", "yaml"]
FORMAT_VERSION = 1

output_option = click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", help="How to print it."
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its title, and the text and style (`bold`, or a colour) of a row's cell.

    Where the terminal is too narrow: a column that says `usual` in every row goes, `short` is shown for `text`, and at
    last what `gives` is cut with an ellipsis.
    """

    title: str
    text: Callable[[Any], str]
    style: Callable[[Any], str] = lambda row: ""
    usual: str | None = None
    short: Callable[[Any], str] | None = None
    short_title: str = ""
    gives: bool = False


def show(
    output: Format,
    kind: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    empty: str,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Print `{"format_version": 1, kind: rows, **extra}` for a program, else a table, or `empty` for no rows."""
    if output != "table":
        document({kind: list(rows), **(extra or {})}, output)
    elif not rows:
        line(empty)
    else:
        table(rows, columns)


def document(content: Mapping[str, Any], output: Format = "json") -> None:
    """Print one object with its format version first."""
    whole = plain({"format_version": FORMAT_VERSION, **content})
    if output == "yaml":
        import yaml

        line(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=110).rstrip("\n"))
    else:
        line(json.dumps(whole, indent=2, ensure_ascii=False))


def plain(value: Any) -> Any:
    """The same in JSON's own types: instants in UTC with a `Z`, durations as the specs write them."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, timedelta):
        from reconciler.durations import format_duration

        return format_duration(value)
    if isinstance(value, str | int | float | bool | None):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


def utc(moment: datetime) -> str:
    """`2026-01-02T02:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def table(rows: Sequence[Any], columns: Sequence[Column]) -> None:
    """One line a row; on a terminal never wider than it, unless what may not be cut is."""
    if is_terminal():
        from reconciler.cli.fitting import fitted

        for text in fitted(rows, columns, columns_of_terminal()):
            line(text)
        return
    cells = [[column.title for column in columns]]
    cells += [[" ".join(column.text(row).split("\n")) for column in columns] for row in rows]
    widths = [[width(cell) for cell in row] for row in cells]
    widest = [max(column) for column in zip(*widths, strict=True)]
    for row, own in zip(cells, widths, strict=True):
        padded = (cell + " " * (most - size) for cell, size, most in zip(row, own, widest, strict=True))
        line("  ".join(padded).rstrip())


def columns_of_terminal() -> int:
    """Its width in cells; `COLUMNS` in the environment says it first."""
    import shutil

    return shutil.get_terminal_size().columns


def width(text: str) -> int:
    """Cells that a terminal gives the text: two for wide East Asian characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def is_terminal() -> bool:
    return sys.stdout.isatty()


def line(text: str = "") -> None:
    """One line of the answer, on stdout."""
    click.echo(text)


def note(text: str) -> None:
    """One line beside the answer, on stderr."""
    click.echo(text, err=True)
