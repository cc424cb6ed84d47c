"""The specs and the task functions as they lie on this disk, read in this process; no store is touched."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.command import given
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.settings import Settings, SourceSettings
    from reconciler.spec.specset import SpecSet


def discover(settings: Settings) -> list[str]:
    """Import the task modules into `TASKS`; one line per broken module.

    What they print while they are imported goes to stderr: stdout belongs to the answer.
    """
    from reconciler.registry import auto_discover_tasks

    with contextlib.redirect_stdout(sys.stderr):
        return auto_discover_tasks(settings.task_modules, settings.directory)


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


def read(path: Path, environment: str | None) -> SpecSet:
    """Every spec and every fault under the path, tasks and parameters checked against `TASKS`, if there are any yet.

    A single file of a source keeps the defaults and calendars that it has there. What is found is kept beside the
    stores, so that the next command parses only what has changed.
    """
    from reconciler.registry import TASKS
    from reconciler.specfiles import Outside, SpecReader, check_against

    check = check_against(TASKS) if TASKS else None
    settings = given().settings
    cache = settings.directory / ".reconciler" / "cache"
    outside = Outside(frozenset(settings.notify.targets), len(settings.sources) > 1)
    reader = SpecReader(path, environment=environment, check=check, within=_around(path), cache=cache, outside=outside)
    return reader.read()


def read_all() -> list[SpecSet]:
    """What lies in every configured source that exists; for commands that look a name up."""
    settings = given().settings
    paths = [settings.directory / source.path for source in settings.sources]
    return [read(path, settings.environment) for path in paths if path.exists()]


def _around(path: Path) -> Path | None:
    """The source directory that a single file lies in, if any."""
    if path.is_dir():
        return None
    settings = given().settings
    roots = [settings.directory / source.path for source in settings.sources]
    return next((root for root in roots if root.is_dir() and path.absolute().is_relative_to(root.absolute())), None)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
