"""Importing the task modules: the library first, then the settings' own; a broken one costs only itself."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from reconciler.errors import ReconcilerError
from reconciler.nearest import nearest
from reconciler.registry.registry import LIBRARY, TASKS

DEFAULT_MODULE = "tasks"
ABSENT = "task_modules: no module named"


def discover(
    modules: Sequence[str], directory: Path, *, skip: Mapping[str, str], importing: Callable[[str], None]
) -> list[str]:
    """One fault line per broken module."""
    directory = directory.absolute()
    sys.path[:] = [str(directory), *(entry for entry in sys.path if entry != str(directory))]
    importlib.invalidate_caches()
    walk = _Walk(directory, skip, importing, [], set())
    _load_library(walk)
    for name in modules:
        _prefer_own(name, directory)
    # Bytecode is matched by whole seconds and size: a file saved twice in a second would run as it was.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        for name in modules:
            if not _is_library(name):
                walk.visit(name, is_named=True)
    finally:
        sys.dont_write_bytecode = before
    return walk.faults


def has_modules(modules: Sequence[str], directory: Path) -> bool:
    """Whether any of these modules is here, broken or not; the library alone is none. Nothing is imported."""
    tops = {name.partition(".")[0] for name in modules}
    return any((directory / top).is_dir() or (directory / f"{top}.py").is_file() or _is_elsewhere(top) for top in tops)


def without_absent(faults: Sequence[str]) -> list[str]:
    """Where none of the modules is here: the faults but those that are just that, unless a name looks misspelt."""
    return [fault for fault in faults if not fault.startswith(ABSENT) or "did you mean" in fault]


def library_directory() -> Path | None:
    """`tasks/` at the top of a clone, `reconciler/tasks/` in an installed wheel."""
    here = Path(__file__).resolve().parents[1]
    return next((path for path in (here / "tasks", here.parent / "tasks") if (path / "__init__.py").is_file()), None)


@dataclass(frozen=True)
class _Walk:
    directory: Path
    skip: Mapping[str, str]
    importing: Callable[[str], None]
    faults: list[str]
    seen: set[str]

    def visit(self, name: str, *, is_named: bool = False) -> None:
        """Import a module, and all modules below it when it is a package."""
        if name in self.seen:
            return
        self.seen.add(name)
        if name in self.skip:
            self.faults.append(self.skip[name])
            return
        self.importing(name)
        module = self._imported(name, is_named=is_named)
        for below in sorted(_names_below(module)):
            self.visit(below)

    def _imported(self, name: str, *, is_named: bool) -> ModuleType | None:
        try:
            return _import(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _forget(name)
            if is_named and _is_absent(name, error):
                # The default: a repository whose specs use the library only has no tasks of its own.
                if name != DEFAULT_MODULE:
                    self.faults.append(self._absence(name))
            else:
                self.faults.append(self._fault(name, error))
            return None

    def _absence(self, name: str) -> str:
        near = nearest(name, [found.name for found in pkgutil.iter_modules([str(self.directory)])])
        meant = f"; did you mean {near!r}?" if near else ""
        return f"{ABSENT} {name!r} in {self.directory} or on the Python path{meant}"

    def _fault(self, name: str, error: BaseException) -> str:
        where = _where(error, self.directory) or name
        text = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else _said(error)}"
        if isinstance(error, ReconcilerError):
            text = str(error)
        return f"{where}: {' '.join(text.split())}; the tasks of module {name} are absent until this is mended"


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be shown)"


def _names_below(module: ModuleType | None) -> Iterable[str]:
    paths = getattr(module, "__path__", None)
    if module is None or paths is None:
        return []
    below = (found.name for found in pkgutil.iter_modules(paths, module.__name__ + "."))
    return [name for name in below if not name.endswith(".__main__")]


def _forget(module: str) -> None:
    for name in [name for name, task in TASKS.items() if task.module == module]:
        del TASKS[name]


def _is_absent(name: str, error: BaseException) -> bool:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return missing is not None and (name == missing or name.startswith(missing + "."))


def _where(error: BaseException, directory: Path) -> str | None:
    """`tasks/reports.py:3`: the deepest line below the directory, else None."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename, directory)}:{error.lineno or 1}"
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if Path(frame.filename).is_relative_to(directory) and "site-packages" not in frame.filename:
            return f"{_shown(frame.filename, directory)}:{frame.lineno}"
    return None


def _shown(filename: str, directory: Path) -> str:
    path = Path(filename)
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else filename


def _is_library(name: str) -> bool:
    """In a clone the library is also what `tasks` names: once is enough."""
    library = library_directory()
    if library is None or name == LIBRARY:
        return name == LIBRARY
    try:
        found = None if name in sys.modules else importlib.util.find_spec(name)
    except BaseException:
        return False
    places = getattr(sys.modules.get(name), "__path__", found.submodule_search_locations if found else None) or []
    return any(Path(place).resolve() == library for place in places)


def _is_elsewhere(top: str) -> bool:
    if _is_library(top):
        return False
    try:
        return top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _prefer_own(name: str, directory: Path) -> None:
    """A folder without `__init__.py` is a package too; Python would rather take any other one of its name."""
    folder = directory / name
    if (
        name not in sys.modules
        and folder.is_dir()
        and not any(place.is_file() for place in (folder / "__init__.py", directory / f"{name}.py"))
    ):
        module = sys.modules[name] = ModuleType(name)
        module.__path__ = [str(folder)]


def _load_library(walk: _Walk) -> None:
    if library_directory() is not None:
        walk.visit(LIBRARY)


def _import(name: str) -> ModuleType:
    library = library_directory()
    if (
        name == LIBRARY
        and name not in sys.modules
        and library
        and library.parent != Path(__file__).resolve().parents[1]
    ):
        return _import_from_clone(library)
    return importlib.import_module(name)


def _import_from_clone(library: Path) -> ModuleType:
    """The clone's `tasks/`, as the package that it is in the wheel."""
    spec = importlib.util.spec_from_file_location(
        LIBRARY, library / "__init__.py", submodule_search_locations=[str(library)]
    )
    assert spec and spec.loader
    module = sys.modules[LIBRARY] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[LIBRARY]
        raise
    setattr(sys.modules["reconciler"], "tasks", module)  # noqa: B010 - the attribute is not in the source
    return module
