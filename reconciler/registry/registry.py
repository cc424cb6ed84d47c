"""Which Python functions are tasks, and under which names.

Knows nothing of schedules, stores or processes. What a function's parameters may hold is `params`, what it is told
about its run `context`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, overload

from reconciler.errors import ReconcilerError
from reconciler.nearest import did_you_mean
from reconciler.registry.context import TaskContext

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.registry.params import ParamFault

Function = TypeVar("Function", bound=Callable[..., Any])
LIBRARY = "reconciler.tasks"


@dataclass(frozen=True)
class Task:
    """A registered function. `place` is where it is written: `file:line`, for messages."""

    name: str
    function: Callable[..., Any]
    is_async: bool
    doc: str
    module: str
    context_parameter: str | None = None
    needs_params: bool = False
    file: str = ""
    line: int = 0
    qualname: str = ""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


TASKS: dict[str, Task] = {}


@overload
def task(function: Function) -> Function: ...
@overload
def task(function: str | None = None, *, name: str | None = None) -> Callable[[Function], Function]: ...
def task(function: Any = None, *, name: str | None = None) -> Any:
    """Register a function: `@task`, `@task()`, `@task("reports.build")`, `@task(name="reports.build")`.

    The function itself is returned unchanged. Its default name is its module without the first component, and
    its own name. A name of the library may be taken over; ReconcilerError when another own function has the name.
    """
    if isinstance(function, str):
        name, function = function, None
    if function is None:
        return lambda decorated: _register(decorated, name)
    return _register(function, name)


def get_task_function(name: str) -> Callable[..., Any]:
    """The function registered as `name`; ReconcilerError, with the nearest name, when there is none."""
    if name not in TASKS:
        raise ReconcilerError(f"no task named {name!r}; {did_you_mean(name, TASKS)}")
    return TASKS[name].function


def auto_discover_tasks(
    modules: Sequence[str],
    directory: Path,
    *,
    skip: Mapping[str, str] | None = None,
    importing: Callable[[str], None] | None = None,
) -> list[str]:
    """Import the task library and the modules, packages with all in them; one fault line per broken module.

    A broken module's tasks are absent, the others stay. `directory` goes first on `sys.path`. Modules in
    `skip` are not imported; the text there is their fault. `importing` hears each name before its import.
    """
    from reconciler.registry.discover import discover

    return discover(modules, directory, skip=skip or {}, importing=importing or (lambda name: None))


def check_params(task: Task, params: Mapping[str, object]) -> list[ParamFault]:
    """What is wrong with the parameters that a spec gives a task; nothing is run or resolved."""
    from reconciler.registry.params import check_params

    return check_params(task, params)


def params_schema(task: Task) -> dict[str, Any]:
    """The JSON schema of a task's parameters; each may also be a `{from_env}` or `{from_file}` reference."""
    from reconciler.registry.params import params_schema

    return params_schema(task)


def _is_library(registered: Task) -> bool:
    return registered.module == LIBRARY or registered.module.startswith(f"{LIBRARY}.")


def _register(function: Callable[..., Any], name: str | None) -> Callable[..., Any]:
    new = _described(function, name)
    old = TASKS.get(new.name)
    if old is None or (_is_library(old) and not _is_library(new)):
        TASKS[new.name] = new
    elif (old.file, old.qualname) != (new.file, new.qualname):
        raise ReconcilerError(
            f"task {new.name!r} is defined twice: {old.place} ({old.qualname}) and "
            f"{new.place} ({new.qualname}); give one of them another name: @task(name=...)"
        )
    return function


def _described(function: Callable[..., Any], name: str | None) -> Task:
    if not callable(function) or inspect.isclass(function):
        raise ReconcilerError(f"@task: {function!r} is not a function")
    inner = inspect.unwrap(function)
    module = getattr(function, "__module__", None) or "__main__"
    qualname = getattr(inner, "__qualname__", type(function).__qualname__)
    if _is_generator(function):
        raise ReconcilerError(f"@task: {qualname} is a generator, and nothing would take what it yields: return a list")
    code = getattr(inner, "__code__", None)
    context = _context_parameter(function)
    return Task(
        name=name or _default_name(module, getattr(inner, "__name__", qualname)),
        function=function,
        is_async=_is_async(function),
        doc=inspect.getdoc(inner) or "",
        module=module,
        context_parameter=context,
        needs_params=_needs_params(function, context),
        file=code.co_filename if code else module,
        line=code.co_firstlineno if code else 0,
        qualname=qualname,
    )


def _is_async(function: Callable[..., Any]) -> bool:
    return any(map(inspect.iscoroutinefunction, _called(function)))


def _is_generator(function: Callable[..., Any]) -> bool:
    return any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in _called(function))


def _called(function: Callable[..., Any]) -> tuple[Any, Any]:
    """What runs when it is called: itself, or its `__call__` where it is an instance."""
    return function, getattr(function, "__call__", None)  # noqa: B004


def _default_name(module: str, function: str) -> str:
    bare = module.removeprefix("reconciler.") if f"{module}.".startswith(f"{LIBRARY}.") else module
    inside = bare.partition(".")[2]
    return f"{inside}.{function}" if inside else function


def _needs_params(function: Callable[..., Any], context: str | None) -> bool:
    """Whether it cannot be called without looking at its parameters."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(
        parameter.default is inspect.Parameter.empty or parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != context and parameter.kind not in variadic
    )


def _context_parameter(function: Callable[..., Any]) -> str | None:
    """The parameter annotated `TaskContext`, else an unannotated one called `ctx` or `context`."""
    parameters = inspect.signature(function).parameters.values()
    annotated = [p for p in parameters if _names_context(p.annotation)]
    by_name = [p for p in parameters if p.name in ("ctx", "context") and p.annotation is inspect.Parameter.empty]
    found = next(iter([*annotated, *by_name]), None)
    if found is not None and found.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise ReconcilerError(f"@task: {function!r}: the context {found.name!r} stands before '/'; put it after")
    return found.name if found else None


def _names_context(annotation: object) -> bool:
    # Under `from __future__ import annotations` it is text, and its import may stand under TYPE_CHECKING.
    if isinstance(annotation, str):
        bare = annotation.replace(" ", "").strip("'\"").removesuffix("|None")
        return bare.rpartition(".")[2] == "TaskContext"
    return annotation is TaskContext or TaskContext in get_args(annotation)
