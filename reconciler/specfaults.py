"""How a line says what is wrong with a spec: pydantic's errors in the words of this house.

It knows the fields of a spec and their kinds, and nothing of files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from reconciler.nearest import did_you_mean, nearest
from reconciler.spec import DstRule, History, Notify, Retries, TaskSpec
from reconciler.specfields import shown

PARTS: dict[str, type[BaseModel]] = {"retries": Retries, "dst": DstRule, "history": History, "notify": Notify}
SPEC_KEYS = (*TaskSpec.model_fields, "environments")
NEEDED = {
    "task": "is missing; name a registered task",
    "name": "is missing; only a file's first document takes the file's name",
    "to": "is missing; list whom to tell",
}


class Flaw(NamedTuple):
    """What is wrong at a place inside a document; `at_key` where it is the key that is wrong, not its value."""

    at: tuple[str | int, ...]
    what: str
    at_key: bool = False


def flaws(error: ValidationError) -> Iterator[Flaw]:
    """Every error of a validation, worded."""
    for found in error.errors(include_url=False):
        at = found["loc"]
        context: Mapping[str, Any] = found.get("ctx", {})
        if found["type"] == "at":
            at = tuple(context["at"])
        if found["type"] == "value_error" and getattr(context["error"], "field", at[0]) != at[0]:
            at = (context["error"].field,)
        at_key = found["type"] == "extra_forbidden" or at[-1:] == ("[key]",)
        yield Flaw(tuple(part for part in at if part != "[key]"), _worded(found, context), at_key)


def unknown_key(key: str, known: tuple[str, ...] | Mapping[str, Any]) -> str:
    """The end of the line about a key that does not exist, with the nearest that does."""
    return f"unknown key; {did_you_mean(key, known)}"


def _worded(found: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    kind, value, at = found["type"], shown(found["input"]), found["loc"]
    if kind == "value_error":
        return str(context["error"])
    if kind == "at":
        return str(context["what"])
    if kind == "missing":
        return NEEDED.get(str(at[-1]), "is missing")
    if kind == "extra_forbidden":
        return unknown_key(str(at[-1]), PARTS[str(at[0])].model_fields if len(at) > 1 else SPEC_KEYS)
    if kind == "literal_error":
        return _not_one_of(found["input"], re.findall(r"'([^']*)'", context["expected"]))
    if kind in _KINDS:
        return _KINDS[kind](value, found["input"])
    return _bounds(kind, value, context) or found["msg"]


def _not_one_of(value: object, allowed: list[str]) -> str:
    near = nearest(value, allowed) if isinstance(value, str) else None
    hint = f"; did you mean '{near}'?" if near else ""
    return f"{shown(value)} is not one of {', '.join(allowed)}{hint}"


def _text(value: str, given: object) -> str:
    return f"{value} is not text" + (f"; quote it: '{value}'" if isinstance(given, int | float) else "")


def _whole(value: str, given: object) -> str:
    is_meant = isinstance(given, str) and re.fullmatch(r"-?\d{1,9}", given) is not None
    return f"{value} is not a whole number" + (f"; write {given} without quotes" if is_meant else "")


def _list(value: str, given: object) -> str:
    one = isinstance(given, str | int | float) and len(value) < 40
    return f"{value} is not a list" + (f"; write [{str(given) if isinstance(given, str) else value}]" if one else "")


def _mapping(value: str, given: object) -> str:
    return f"{value} is not a mapping; write keys and values, as in {{key: value}}"


def _yes_or_no(value: str, given: object) -> str:
    return f"{value} is not true or false"


_KINDS = {
    "string_type": _text,
    "int_type": _whole,
    "int_from_float": _whole,
    "bool_type": _yes_or_no,
    "tuple_type": _list,
    "list_type": _list,
    "dict_type": _mapping,
    "model_type": _mapping,
    "model_attributes_type": _mapping,
}


def _bounds(kind: str, value: str, context: Mapping[str, Any]) -> str | None:
    if kind in ("greater_than_equal", "less_than_equal"):
        least, most = context.get("ge"), context.get("le")
        return (
            f"{value} is too small; the least is {least}"
            if most is None
            else f"{value} is too large; the most is {most}"
        )
    if kind == "too_long":
        return f"has {context['actual_length'] or 'too many'} entries; at most {context['max_length']} are allowed"
    return None
