"""Since which of its revisions does each field of a spec say what it says?

Documents in, newest first; indexes out. Who applied a revision is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic_core import to_jsonable_python

from reconciler.spec.faults import PARTS
from reconciler.spec.spec import TaskSpec

Path = tuple[str, ...]
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class SetField:
    """A field, dotted, with its value; `since` is the index of the revision that set it.

    `is_default`: it says what it would without being written, and always did.
    """

    field: str
    value: Any
    since: int
    is_default: bool


def fields_of(documents: Sequence[Mapping[str, Any]]) -> list[SetField]:
    """Each field of the first document, with the oldest revision from which on it has had that value.

    The documents are whole (`TaskSpec.document()`), the one in force first and then the ones before it.
    """
    return [_set_field(path, value, documents) for path, value in _leaves(documents[0])] if documents else []


def chosen(fields: Sequence[SetField], wanted: str) -> list[SetField]:
    """The field of that name, or those below it."""
    return [one for one in fields if one.field == wanted or one.field.startswith(f"{wanted}.")]


def _set_field(path: Path, value: Any, documents: Sequence[Mapping[str, Any]]) -> SetField:
    held = [_at(document, path) for document in documents]
    since = next((number for number, other in enumerate(held) if other != value), len(held)) - 1
    is_usual = any(value == _at(document, path) for document in _defaults())
    is_default = is_usual and all(other is _ABSENT or other == value for other in held)
    return SetField(".".join(path), value, since, is_default)


def _leaves(value: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key, part in value.items():
        if isinstance(part, Mapping) and part:
            yield from _leaves(part, (*path, key))
        else:
            yield (*path, key), part


def _at(document: Mapping[str, Any], path: Path) -> Any:
    found: Any = document
    for step in path:
        if not isinstance(found, Mapping) or step not in found:
            return _ABSENT
        found = found[step]
    return found


@cache
def _defaults() -> tuple[dict[str, Any], dict[str, Any]]:
    """What a document says where nothing is written; and what a part says that may be absent as a whole."""
    whole = TaskSpec(name="any", task="any").document()
    parts = {}
    for key, part in PARTS.items():
        if whole[key] is None:
            known = {name: field for name, field in part.model_fields.items() if not field.is_required()}
            parts[key] = {name: to_jsonable_python(field.get_default()) for name, field in known.items()}
    return {key: value for key, value in whole.items() if key not in ("name", "task")}, parts
