"""What a task's parameters may hold: checked and coerced by pydantic as the function's signature says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import PydanticUserError, ValidationError
from pydantic_core import PydanticSerializationError, PydanticUndefined

from reconciler.nearest import did_you_mean
from reconciler.registry.paramwords import worded
from reconciler.registry.references import KINDS, Mask, Place, fault_of, references, replaced
from reconciler.registry.registry import Task
from reconciler.registry.signature import Parameter, Signature, signature_of

_PLAIN = (str, int, float)  # no reference is in these


class ParamsError(ValueError):
    """The parameters of a call do not fit the function; one line."""


@dataclass(frozen=True)
class ParamFault:
    """What is wrong with one parameter: the name as the spec has it, the rest of the line, and where inside."""

    param: str
    what: str
    inside: Place = ()
    is_unknown: bool = False

    def __str__(self) -> str:
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.inside)
        return f"{self.param}{steps}: {self.what}"


def check_params(task: Task, params: Mapping[str, object]) -> list[ParamFault]:
    """Missing, unknown and wrongly typed parameters, and references that are not written right."""
    return check_by(task.name, signature_of(task), params)


def check_by(task: str, signature: Signature, params: Mapping[str, object]) -> list[ParamFault]:
    """The same for a task of that name whose signature is known, be its function here or not."""
    faults = [*_unknown(task, signature, params), *_missing(task, signature, params)]
    for name, value in params.items():
        found = () if isinstance(value, _PLAIN) else tuple(references(value))
        faults += [ParamFault(name, what, place) for place, reference in found if (what := fault_of(reference))]
        if name in signature.parameters:
            faults += _mistyped(signature.parameters[name], value, [place for place, _ in found])
    return faults


def bind(task: Task, params: Mapping[str, Any], mask: Mask | None = None) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call, coerced to the annotations; ParamsError, all faults in one line, masked."""
    signature = signature_of(task)
    faults = [*_unknown(task.name, signature, params), *_missing(task.name, signature, params)]
    positional, named = [], {}
    for name, value in params.items():
        parameter = signature.parameters.get(name)
        if parameter is None:
            named[name] = value
            continue
        try:
            named[name] = parameter.type.validate_python(value)
        except ValidationError as error:
            found = error.errors(include_url=False)
            faults += [ParamFault(name, what, place) for place, what in worded(found, value, mask)]
    if faults:
        raise ParamsError("; ".join(str(fault) for fault in faults))
    for parameter in signature.parameters.values():
        if parameter.is_positional:
            positional.append(named.pop(parameter.name, parameter.default))
    return positional, named


def params_schema(task: Task) -> dict[str, Any]:
    """A JSON schema of the parameters; definitions that types share are under `$defs`."""
    signature = signature_of(task)
    definitions: dict[str, Any] = {}
    properties = {name: _schema(parameter, definitions) for name, parameter in signature.parameters.items()}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": [name for name, parameter in signature.parameters.items() if parameter.is_required],
        "additionalProperties": signature.accepts_any,
        **({"description": task.doc.splitlines()[0]} if task.doc else {}),
    }
    return schema | ({"$defs": definitions} if definitions else {})


def _unknown(task: str, signature: Signature, params: Mapping[str, object]) -> list[ParamFault]:
    if signature.accepts_any:
        return []
    return [
        ParamFault(name, f"{task} has no such parameter; {did_you_mean(name, signature.parameters)}", is_unknown=True)
        for name in params
        if name not in signature.parameters
    ]


def _missing(task: str, signature: Signature, params: Mapping[str, object]) -> list[ParamFault]:
    return [
        ParamFault(name, f"is missing; {task} cannot be called without it")
        for name, parameter in signature.parameters.items()
        if parameter.is_required and name not in params
    ]


def _mistyped(parameter: Parameter, value: object, places: list[Place]) -> list[ParamFault]:
    """`places`: where a reference stands in the value; () is the value itself."""
    if places == [()]:
        return []
    value = replaced(value, lambda reference: "a secret") if places else value
    try:
        parameter.type.validate_python(value)
    except ValidationError as error:
        found = [fault for fault in error.errors(include_url=False) if not _is_due_to(fault, places)]
        return [ParamFault(parameter.name, what, place) for place, what in worded(found, value)]
    return []


def _is_due_to(fault: Any, places: list[Place]) -> bool:
    """Whether a fault may come from a secret's stand-in: at its place, or from a rule over what holds it."""
    where = list(fault["loc"])
    return any(_leads(place, where) or (fault["type"] in ("value_error", "assertion_error")) for place in places)


def _leads(place: Place, where: list[Any]) -> bool:
    steps = iter(where)  # unions put tags between the steps of a place
    return all(step in steps for step in place)


def _schema(parameter: Parameter, definitions: dict[str, Any]) -> dict[str, Any]:
    try:
        schema = parameter.type.json_schema()
    except (PydanticUserError, ValueError):
        schema = {}
    definitions.update(schema.pop("$defs", {}))
    noted: dict[str, Any] = {key: schema.pop(key) for key in ("title", "description") if key in schema}
    if schema:
        noted["anyOf"] = [*schema.pop("anyOf", [schema]), _REFERENCE]
    return noted | _default(parameter)


def _default(parameter: Parameter) -> dict[str, Any]:
    if parameter.is_required or parameter.default is PydanticUndefined:
        return {}
    try:
        return {"default": parameter.type.dump_python(parameter.default, mode="json", warnings=False)}
    except (PydanticSerializationError, ValueError):
        return {}


_REFERENCE = {
    "type": "object",
    "properties": {kind: {"type": "string", "minLength": 1} for kind in KINDS},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
