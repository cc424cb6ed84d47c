"""The specs and the task functions as they lie on this disk, read in this process; no store is touched."""

from __future__ import annotations

import contextlib
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.command import given
from reconciler.cli.progress import progress
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.settings import Settings, SourceSettings
    from reconciler.spec.specset import SpecSet


def discover(settings: Settings) -> list[str]:
    """Import the task modules into `TASKS`; one line per broken module.

    What they print while they are imported goes to stderr: stdout belongs to the answer. Where none of them is here,
    and none that is looks misspelt, that is no fault: what specs are checked by then, `checking` says.
    """
    from reconciler.registry import auto_discover_tasks
    from reconciler.registry.discover import has_modules, without_absent

    with contextlib.redirect_stdout(sys.stderr):
        faults = auto_discover_tasks(settings.task_modules, settings.directory)
    if has_modules(settings.task_modules, settings.directory):
        return faults
    return without_absent(faults)


def choose_source(settings: Settings, name: str | None, path: Path | None) -> tuple[SourceSettings, Path, bool]:
    """The source meant, the path to read, and whether that path is the source's own (so that a prune is safe)."""
    sources = settings.sources
    if name is not None:
        chosen = next((source for source in sources if source.name == name), None)
        if chosen is None:
            known = ", ".join(source.name for source in sources)
            raise UsageError(f"--source: no source named '{name}'; configured: {known}")
    else:
        is_own = [source for source in sources if path and _same(settings.directory / source.path, path)]
        chosen = (is_own or list(sources))[0]
        if path is None and len(sources) > 1:
            known = ", ".join(source.name for source in sources)
            raise UsageError(f"--source: several sources are configured; name one of: {known}")
    own = settings.directory / chosen.path
    return chosen, path or own, path is None or _same(own, path)


def read(path: Path, environment: str | None, *, is_looked_up: bool = False) -> SpecSet:
    """Every spec and every fault under the path, tasks and parameters checked by what `checking` chooses.

    `is_looked_up`: it is only asked what a name stands for, so at most the code here checks.

    A single file of a source keeps the defaults and calendars that it has there. What is found is kept beside the
    stores, so that the next command parses only what has changed.
    """
    from reconciler.cli.checking import chosen
    from reconciler.registry import TASKS
    from reconciler.specfiles import Check, Outside, SpecReader, check_against

    settings = given().settings
    if is_looked_up:
        check: Check | None = check_against(TASKS) if TASKS else None
    else:
        check = chosen(settings).check
    cache = settings.directory / ".reconciler" / "cache"
    outside = Outside(frozenset(settings.notify.targets), len(settings.sources) > 1)
    with progress("reading specs") as report:
        found = SpecReader(
            path,
            environment=environment,
            check=check,
            within=_around(path),
            cache=cache,
            outside=outside,
            progress=report,
        ).read()
    gc.freeze()  # as long as the command lives: nothing in it has to be walked again and again
    return found


def read_all() -> list[SpecSet]:
    """What lies in every configured source that is a directory here; for commands that look a name up."""
    settings = given().settings
    paths = [settings.directory / source.path for source in settings.sources if source.repo is None]
    return [read(path, settings.environment, is_looked_up=True) for path in paths if path.exists()]


def _around(path: Path) -> Path | None:
    """The source directory that a single file lies in, if any."""
    if path.is_dir():
        return None
    settings = given().settings
    roots = [settings.directory / source.path for source in settings.sources if source.repo is None]
    return next((root for root in roots if root.is_dir() and path.absolute().is_relative_to(root.absolute())), None)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
