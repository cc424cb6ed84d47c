"""How a line says that a value is of the wrong kind: the same for a spec's own fields and a task's parameters.

It knows the kinds of errors that pydantic has, and nothing of specs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reconciler.nearest import nearest

_LIST, _MAPPING, _WHOLE, _NUMBER, _YES_OR_NO = "a list", "a mapping", "a whole number", "a number", "true or false"
_NOUNS = {
    "string_type": "text",
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "bool_type": _YES_OR_NO,
    "bool_parsing": _YES_OR_NO,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "set_type": _LIST,
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "path_type": "a path",
    "none_required": "null",
}


def shown(value: object, limit: int = 80) -> str:
    """The value as a line quotes it: as YAML writes it, with the middle of long text left out."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, dict | list | tuple):
        return _MAPPING if isinstance(value, dict) else _LIST
    text = repr(value[: limit + 2] if isinstance(value, str) else value)
    return text if len(text) <= limit else f"{text[: limit - 12]}…{text[-8:]}"


def noun(kind: str) -> str | None:
    """What pydantic's kind of error wanted, with its article; None where the error is not about a kind."""
    return _NOUNS.get(kind)


def not_a(wanted: str, given: object) -> str:
    """`3 is not text; quote it: '3'`: the line about a value that is not a `noun`."""
    return f"{shown(given)} is not {wanted}{_instead(wanted, given)}"


def not_one_of(given: object, allowed: list[str]) -> str:
    """The line about a value that is none of a few words."""
    near = nearest(given, allowed) if isinstance(given, str) else None
    hint = f"; did you mean '{near}'?" if near else ""
    return f"{shown(given)} is not one of {', '.join(allowed)}{hint}"


def allowed_words(context: Mapping[str, Any]) -> list[str]:
    """The words of pydantic's `literal_error`."""
    return re.findall(r"'([^']*)'", context["expected"])


def _instead(wanted: str, given: object) -> str:
    value = shown(given)
    if wanted == "text" and isinstance(given, int | float):
        return f"; quote it: '{value}'"
    if wanted == _WHOLE and isinstance(given, str) and re.fullmatch(r"-?\d{1,9}", given):
        return f"; write {given} without quotes"
    if wanted == _LIST and isinstance(given, str | int | float) and len(value) < 40:
        is_plain = isinstance(given, str) and given.isprintable() and not re.search(r"[],\[{}#'\"&*!|>%@`]|: ", given)
        return f"; write [{given if is_plain else value}]"
    return "; write keys and values, as in {key: value}" if wanted == _MAPPING else ""
