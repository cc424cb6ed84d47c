"""The JSON schema of a spec file, for editors that complete and check while one types."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from reconciler.registry.params import params_schema
from reconciler.spec.faults import PARTS
from reconciler.spec.spec import TaskSpec

if TYPE_CHECKING:
    from reconciler.registry import Task

DIALECT = "http://json-schema.org/draft-07/schema#"


def schema_of(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """What a document of a spec file may hold; nothing is required, since folders have defaults.

    With `tasks`, `task` is one of their names, and `params` are those of the task that is named.
    """
    schema = TaskSpec.model_json_schema(mode="validation")
    definitions: dict[str, Any] = {name: _tidied(part) for name, part in schema.pop("$defs", {}).items()}
    properties: dict[str, Any] = {key: _tidied(part) for key, part in schema["properties"].items()}
    _write_defaults(properties, definitions)
    text = {"type": "string"}
    properties["schedule"] = {
        "description": properties["schedule"]["description"],
        "anyOf": [text, {"type": "array", "items": text, "maxItems": 100}, {"type": "null"}],
    }
    if tasks:
        properties["task"] = {**properties["task"], "enum": sorted(tasks)}
    overlay = {key: part for key, part in properties.items() if key != "name"}
    definitions["Overlay"] = {"type": ["object", "null"], "properties": overlay, "additionalProperties": False}
    properties["environments"] = {
        "description": "What differs in an environment; the settings say which one holds.",
        "type": "object",
        "additionalProperties": {"$ref": "#/definitions/Overlay"},
    }
    rules = [_params_rule(name, task, definitions) for name, task in sorted(tasks.items())]
    return {
        "$schema": DIALECT,
        "title": "A reconciler spec",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"allOf": rules} if rules else {}),
        "definitions": definitions,
    }


def _write_defaults(properties: dict[str, Any], definitions: dict[str, Any]) -> None:
    """The defaults as a spec would write them; pydantic's schema has lengths of time in another notation."""
    document = TaskSpec(name="any", task="any").document()
    places = [(properties, document)]
    places += [(definitions[part.__name__]["properties"], document[key] or {}) for key, part in PARTS.items()]
    for known, values in places:
        for key, part in known.items():
            if "default" in part and key in values:
                part["default"] = values[key]


def _params_rule(name: str, task: Task, definitions: dict[str, Any]) -> dict[str, Any]:
    """If that is the task, these are its parameters. Which are required `validate` says: defaults may give them."""
    params = params_schema(task)
    prefix = f"{name}."
    for inner, part in params.pop("$defs", {}).items():
        definitions[prefix + inner] = _moved(part, prefix)
    params.pop("required", None)
    properties = {"params": _moved(params, prefix)}
    if about := params.get("description"):
        properties["task"] = {"description": about}  # an editor shows it at the name too
    condition = {"properties": {"task": {"const": name}}, "required": ["task"]}
    return {"if": condition, "then": {"properties": properties}}


def _tidied(part: Any) -> Any:
    """Without the titles that pydantic makes of names, and with references to where draft 7 looks."""
    moved = _moved(deepcopy(part), "")
    return _without_titles(moved)


def _without_titles(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_titles(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: {name: _without_titles(one) for name, one in value.items()}
        if key == "properties"
        else _without_titles(value)
        for key, value in part.items()
        if not (key == "title" and isinstance(value, str))
    }


def _moved(part: Any, prefix: str) -> Any:
    if isinstance(part, list):
        return [_moved(one, prefix) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: value.replace("#/$defs/", f"#/definitions/{prefix}")
        if key == "$ref" and isinstance(value, str)
        else _moved(value, prefix)
        for key, value in part.items()
    }
