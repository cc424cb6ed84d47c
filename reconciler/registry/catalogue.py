"""The tasks and their parameters as others may know them: what runners publish and `schema --catalogue` writes.

With it, specs are checked where the task modules are absent, by the same rules and in the same words as with them.
It does not know where it is kept.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconcilerError
from reconciler.nearest import did_you_mean
from reconciler.registry.params import ParamFault, check_by, params_schema
from reconciler.registry.published import read, written
from reconciler.registry.signature import Parameter, Signature, signature_of
from reconciler.typewords import shown

if TYPE_CHECKING:
    from reconciler.registry.registry import Task

KIND = "reconciler.catalogue"
FORMAT_VERSION = 1


def entry(task: Task) -> dict[str, Any]:
    """One task: the JSON schema of its parameters, and under `parameters` each as [name, is_required, type]."""
    found = signature_of(task).parameters.values()
    return {**params_schema(task), "parameters": [[one.name, one.is_required, written(one.type)] for one in found]}


def catalogue_of(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """Every task by its name, sorted; one that cannot be described takes any parameters."""
    return {name: _described(tasks[name]) for name in sorted(tasks)}


def as_text(catalogue: Mapping[str, Any]) -> str:
    """The catalogue as the content of a file."""
    whole = {"kind": KIND, "format_version": FORMAT_VERSION, "tasks": dict(catalogue)}
    return json.dumps(whole, indent=2, sort_keys=True) + "\n"


def from_text(text: str, where: str) -> dict[str, Any]:
    """The catalogue in a file's content; ReconcilerError, beginning with `where`, for anything else."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReconcilerError(f"{where}: is not JSON ({error}): write it with reconciler schema --catalogue") from error
    if not isinstance(whole, dict) or whole.get("kind") != KIND or not _is_catalogue(whole.get("tasks")):
        raise ReconcilerError(
            f"{where}: is no catalogue of tasks: write one with reconciler schema --catalogue {where}"
        )
    if whole.get("format_version") != FORMAT_VERSION:
        given = shown(whole.get("format_version"))
        raise ReconcilerError(f"{where}: has format_version {given}, and {FORMAT_VERSION} is known: write it anew")
    tasks: dict[str, Any] = whole["tasks"]
    return tasks


def check_of(catalogue: Mapping[str, Any], *, is_partial: bool = False) -> CatalogueCheck:
    """A check of specs against these tasks, as `check_against` has it for functions.

    `is_partial`: a task that is not in it may be one all the same, with any parameters; `left` of the check has those.
    """
    return CatalogueCheck(catalogue, is_partial)


@dataclass(frozen=True)
class CatalogueCheck:
    """Called with a task's name and parameters, it says what is wrong with them."""

    tasks: Mapping[str, Any]
    is_partial: bool = False
    left: set[str] = field(default_factory=set)

    def __call__(self, name: str, params: Mapping[str, Any]) -> Sequence[ParamFault]:
        if name in self.tasks:
            return check_by(name, self._signature(name), params)
        if self.is_partial:
            self.left.add(name)
            return []
        return self._unknown(name)

    @cached_property
    def catalogue(self) -> str | None:
        """What tells it apart from a check that may judge differently, as long as nothing is `left`."""
        text = json.dumps([self.is_partial, self.tasks], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def _signatures(self) -> dict[str, Signature]:
        return {}

    def _signature(self, name: str) -> Signature:
        if name not in self._signatures:
            self._signatures[name] = _signature(self.tasks[name])
        return self._signatures[name]

    @cached_property
    def _misspelt(self) -> dict[str, list[ParamFault]]:
        return {}

    def _unknown(self, name: str) -> list[ParamFault]:
        if name not in self._misspelt:  # the same one often stands in many files
            hint = did_you_mean(name, sorted(self.tasks))
            self._misspelt[name] = [ParamFault("", f"no task named {shown(name)}; {hint}")]
        return self._misspelt[name]


class _Published(Parameter):
    """A parameter whose `annotation` is what `written` wrote of it."""

    @cached_property
    def type(self) -> Any:
        return read(self.annotation)


def _described(task: Task) -> dict[str, Any]:
    try:
        return entry(task)
    except Exception:  # whatever is in an annotation: what it is cannot be told
        return {"type": "object", "additionalProperties": True}


def _signature(entry: Mapping[str, Any]) -> Signature:
    rows = entry.get("parameters")
    if not isinstance(rows, list):  # published by a version that knew the names only
        needed = entry.get("required", ())
        rows = [[name, name in needed, None] for name in entry.get("properties", ())]
    return Signature(
        {
            name: _Published(name, False, inspect.Parameter.empty if is_required else None, schema)
            for name, is_required, schema in rows
        },
        entry.get("additionalProperties") is not False,
    )


def _is_catalogue(tasks: Any) -> bool:
    return isinstance(tasks, dict) and all(isinstance(one, dict) for one in tasks.values())
