"""How the type of a parameter is written down as JSON, and read back into the same check where its code is absent.

It is pydantic's own schema of the type without what only code can hold: a validator function, a class of one's own.
What is left out accepts more than the code does, never less; the process that runs the task has the last word.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import SchemaError, SchemaValidator

from reconciler.durations import Duration, parse_duration

ANY: dict[str, Any] = {"type": "any"}
# Kinds of pydantic's that are data, or whose parts are.
DATA = frozenset((
    "any", "none", "bool", "int", "float", "decimal", "str", "bytes", "date", "time", "datetime", "timedelta",
    "uuid", "url", "multi-host-url", "literal", "list", "tuple", "set", "frozenset", "dict", "generator",
    "nullable", "union", "tagged-union", "default", "custom-error", "chain", "model", "model-fields", "model-field",
    "dataclass", "dataclass-args", "dataclass-field", "typed-dict", "typed-dict-field", "definitions",
    "definition-ref", "complex", "callable",
))  # fmt: skip
# What says how it is shown or made, and nothing about what fits.
LEFT_OUT = frozenset((
    "ref", "metadata", "serialization", "serialization_alias", "serialization_exclude", "serialization_exclude_if",
    "computed_fields", "cls", "generic_origin", "default_factory", "default_factory_takes_data", "validate_default",
    "post_init", "error_message", "error_context",
))  # fmt: skip
# A bound that is no JSON, as a date is, is not checked.
BOUNDS = frozenset(("gt", "ge", "lt", "le", "multiple_of"))
OWN = {"duration": Duration, "path": Path}


def written(adapter: TypeAdapter[Any]) -> dict[str, Any] | None:
    """The type as JSON; None where anything fits, or nothing can be said."""
    try:
        found = _Writing().schema(adapter.core_schema)
    except (_Opaque, RecursionError):
        return None
    return None if found == ANY else found


def read(schema: Mapping[str, Any] | None) -> SchemaValidator:
    """What `written` wrote, as something that checks values; what this version of pydantic cannot read fits all."""
    try:
        return SchemaValidator(_reading(schema or ANY))
    except (SchemaError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return SchemaValidator(ANY)


class _Opaque(Exception):
    """There is something in it that only its code knows."""


class _Writing:
    """Names what refers to itself by its order: pydantic's names hold addresses, and differ in each process."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def schema(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._schema(schema)
        except _Opaque:
            return ANY

    def _schema(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        kind = schema["type"]
        if kind.startswith("function-"):
            return self._function(schema)
        if kind == "json-or-python":
            return self.schema(schema["python_schema"])
        if kind == "lax-or-strict":
            is_path = schema["lax_schema"].get("custom_error_type") == "path_type"
            return {"type": "path"} if is_path else self.schema(schema["lax_schema"])
        if kind == "enum":
            return _enum(schema)
        if kind not in DATA or schema.get("custom_init"):
            raise _Opaque
        if kind == "definition-ref":
            return {"type": kind, "schema_ref": self._name(schema["schema_ref"])}
        found = self._parts(schema)
        if kind == "definitions":
            found["definitions"] = [
                {**self._schema(one), "ref": self._name(one["ref"])} for one in schema["definitions"]
            ]
        if kind == "default":
            found["default"] = None
        return found

    def _parts(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for key, value in schema.items():
            if key in LEFT_OUT or (key == "definitions" and isinstance(value, list)):
                continue
            try:
                found[key] = self._value(value)
            except _Opaque:
                if key not in BOUNDS and schema["type"] != "default":
                    raise
        return found

    def _value(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if isinstance(value.get("type"), str):
                return self.schema(value)
            return {str(key): self._value(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(one) for one in value]
        return _plain(value)

    def _function(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        function = schema["function"]["function"]
        if function is parse_duration:
            return {"type": "duration"}
        is_theirs = str(getattr(function, "__module__", "")).startswith("pydantic.")
        if schema["type"] == "function-after" or (schema["type"] == "function-wrap" and is_theirs):
            return self.schema(schema["schema"])
        raise _Opaque

    def _name(self, name: str) -> str:
        return self._names.setdefault(name, f"type-{len(self._names) + 1}")


def _plain(value: Any) -> Any:
    if type(value) is float and not math.isfinite(value):
        raise _Opaque
    if value is None or type(value) in (str, int, float, bool):
        return value
    raise _Opaque


def _enum(schema: Mapping[str, Any]) -> dict[str, Any]:
    if schema.get("missing") is not None:
        raise _Opaque
    values = [_plain(member.value) for member in schema["members"]]
    return {"type": "enum", "values": values, "sub_type": _plain(schema.get("sub_type"))}


def _reading(part: Any) -> Any:
    if isinstance(part, list):
        return [_reading(one) for one in part]
    if not isinstance(part, Mapping):
        return part
    kind = part.get("type")
    if not isinstance(kind, str):
        return {key: _reading(one) for key, one in part.items()}
    if kind in OWN:
        return TypeAdapter(OWN[kind]).core_schema
    if kind == "enum":
        return _read_enum(part)
    if kind not in DATA:
        raise ValueError(kind)
    found = {key: _reading(one) for key, one in part.items()}
    if kind in ("model", "dataclass"):
        found["cls"] = _stand_in(kind)
    return found


def _read_enum(part: Mapping[str, Any]) -> dict[str, Any]:
    names = [(f"value_{number}", value) for number, value in enumerate(part["values"])]
    mixed: Any = {"int": int, "str": str, "float": float}.get(part["sub_type"])
    made: Any = enum.Enum("made", names, type=mixed) if mixed else enum.Enum("made", names)
    of_kind = {"sub_type": part["sub_type"]} if part["sub_type"] else {}
    return {"type": "enum", "cls": made, "members": list(made), **of_kind}


def _stand_in(kind: str) -> type:
    """A class for what is made of a value that fits, and thrown away."""
    if kind == "dataclass":
        return type("Read", (), {})
    slots = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
    return type("Read", (), {"__slots__": slots})
