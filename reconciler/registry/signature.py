"""Which parameters a function takes from a spec, each with its type as pydantic reads it."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter
from pydantic_core import SchemaError

from reconciler.durations import Duration
from reconciler.registry.registry import Task

Kind = inspect.Parameter
UNBUILDABLE = (PydanticUserError, SchemaError, TypeError, NameError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Parameter:
    name: str
    is_positional: bool
    default: Any
    annotation: Any

    @property
    def is_required(self) -> bool:
        return self.default is Kind.empty

    @functools.cached_property
    def type(self) -> TypeAdapter[Any]:
        try:
            return _adapter(self.annotation)
        except TypeError:  # it cannot be hashed
            return _adapter.__wrapped__(self.annotation)


@dataclass(frozen=True)
class Signature:
    """The parameters that a spec may give: all but the context and the variadic ones."""

    parameters: dict[str, Parameter]
    accepts_any: bool


def signature_of(task: Task) -> Signature:
    return _signature(task.function, task.context_parameter)


@functools.cache
def _signature(function: Callable[..., Any], context: str | None) -> Signature:
    annotations = _annotations(function)
    found = [parameter for parameter in inspect.signature(function).parameters.values() if parameter.name != context]
    variadic = (Kind.VAR_KEYWORD, Kind.VAR_POSITIONAL)
    return Signature(
        {
            parameter.name: Parameter(
                parameter.name,
                parameter.kind is Kind.POSITIONAL_ONLY,
                parameter.default,
                _with_durations(annotations.get(parameter.name, Any)),
            )
            for parameter in found
            if parameter.kind not in variadic
        },
        any(parameter.kind is Kind.VAR_KEYWORD for parameter in found),
    )


@functools.cache  # building one takes half a millisecond, and most parameters are text or numbers
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    """An annotation that pydantic cannot read (an own class, an unknown name) accepts anything."""
    try:
        return TypeAdapter(annotation)
    except UNBUILDABLE:
        return TypeAdapter(Any)


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Each parameter's annotation as an object; one that cannot be evaluated becomes `Any`."""
    inner = inspect.unwrap(function)
    try:
        return typing.get_type_hints(inner, include_extras=True)
    except Exception:
        names = getattr(inner, "__globals__", vars(sys.modules.get(inner.__module__, types)))
        return {name: _evaluated(value, names) for name, value in getattr(inner, "__annotations__", {}).items()}


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, names)  # the function's own source text, as get_type_hints does
    except Exception:
        return Any


def _with_durations(annotation: Any) -> Any:
    """`timedelta` is written as everywhere in a spec: `10m`."""
    if annotation is timedelta:
        return Duration
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return Union[tuple(_with_durations(one) for one in inner)]  # noqa: UP007 - built at run time
    if origin in (list, dict, tuple, set, frozenset):
        return origin[tuple(_with_durations(one) for one in inner)]
    if origin is Annotated:
        return annotation if annotation == Duration else Annotated[_with_durations(inner[0]), *inner[1:]]
    return annotation
