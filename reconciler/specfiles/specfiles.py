"""A directory of YAML into specs, with every fault: `SpecReader`.

It remembers what each file held, so that a pass over unchanged files looks at their times and opens none. Which task
functions exist is not known here; who asks brings a check.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconcilerError
from reconciler.spec import Fault, LocatedSpec, SpecSet, TaskSpec
from reconciler.specfiles.cache import SpecCache, catalogue_of
from reconciler.specfiles.calendars import Calendars
from reconciler.specfiles.gathered import gathered
from reconciler.specfiles.layers import Check
from reconciler.specfiles.mentions import Outside
from reconciler.specfiles.onepass import Known, Pass, Progress, left_by
from reconciler.specfiles.walk import DEFAULTS, Amiss, Found, Walk, alone, walk
from reconciler.typewords import shown

if TYPE_CHECKING:
    from reconciler.registry import Task
    from reconciler.registry.params import ParamFault

__all__ = ["Check", "Fault", "LocatedSpec", "SpecReader", "SpecSet", "check_against"]

# So many specs are parsed one by one when they are asked for; whoever wants more wants most of them.
FETCHED_ALONE = 20
# Seconds between two words about how far it has come.
BETWEEN = 0.2


class SpecReader:
    """The specs below `root` (a directory, or one file of it), read again and again.

    `environment` picks from each spec's `environments`. `check` says what is wrong with a spec's task and parameters.
    For a single file, `within` is the directory whose defaults and calendars hold; by default its own. With `cache`, a
    directory, what files held is kept there, and another process parses only those that have changed since. `outside`
    says what specs may name beyond each other. `progress` hears how many files are done, of how many, at most every
    `BETWEEN` seconds.
    """

    def __init__(
        self,
        root: Path,
        *,
        environment: str | None = None,
        check: Check | None = None,
        within: Path | None = None,
        cache: Path | None = None,
        outside: Outside = Outside(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> None:
        self.root = root
        self.environment = environment
        self.check = check
        self.within = within
        self.cache = cache
        self.outside = outside
        self.progress = progress
        self._fetched: dict[tuple[str, str], LocatedSpec] = {}
        self._fetches = 0
        self._known: dict[str, Known] = {}
        self._amiss: list[Amiss] = []
        self._last: SpecSet | None = None
        self._found: Walk | None = None  # what the last pass found, if any later change would show

    def read(self) -> SpecSet:
        """Everything there is now. Never raises for what files hold; ReconcilerError if the root cannot be read.

        The same object as before where nothing has changed.
        """
        with _without_collector():
            is_alone = not os.path.isdir(self.root)  # noqa: PTH112 - False too where looking is not allowed
            base = (self.within or self.root.parent) if is_alone else self.root
            found = _one_file(self.root, base) if is_alone else walk(str(base))
            if self._last is not None and self._stands(found):
                return self._last
            is_first = self._last is None and not is_alone
            cache = self._cache(found.root, _shown(base)) if is_first else None
            if cache is not None:
                self._known = cache.load(self._fetch)
            began = time.time_ns()
            now = Pass(found, _shown(base), self._known)
            now.run(self.environment, self.check, _seldom(self.progress))
            if cache is not None and not left_by(self.check):
                cache.save(now.known, self._known, began)
            is_same = not now.changed and now.known.keys() == self._known.keys() and found.amiss == self._amiss
            self._known, self._amiss = now.known, found.amiss
            self._found = found if all(one.is_settled for one in now.known.values()) else None
            if self._last is None or not is_same:
                self._last = gathered(now, None if is_alone else self.environment, self.outside, is_alone)
            return self._last

    def _stands(self, found: Walk) -> bool:
        """Whether the very files are there as they were, and the calendars that they ask for: then no one is judged."""
        last = self._found
        if last is None or (found.root, found.files, found.amiss) != (last.root, last.files, last.amiss):
            return False
        calendars = Calendars(found.root)
        return all(calendars.are(one.calendars) for one in self._known.values() if one.calendars)

    def _cache(self, root: str, shown_root: str) -> SpecCache | None:
        """None where it is not known what the check depends on."""
        catalogue = "" if self.check is None else getattr(self.check, "catalogue", None)
        if self.cache is None or catalogue is None:
            return None
        return SpecCache(self.cache, (root, shown_root, repr(self.environment), catalogue))

    def _fetch(self, path: str, name: str, digest: str) -> TaskSpec:
        """The spec that a cache only knew by its digest, parsed now; one by one at first, then all at once."""
        found = self._fetched.get((path, name))
        if found is None:
            self._fetches += 1
            is_one = self._fetches <= FETCHED_ALONE
            place, within = (self.root / path, self.root) if is_one else (self.root, None)
            for one in SpecReader(place, environment=self.environment, within=within).read().specs:
                self._fetched[one.path, one.name] = one
            found = self._fetched.get((path, name))
        if found is not None and found.digest == digest:
            return found.spec
        cache = self._cache(os.path.realpath(self.root), _shown(self.root))
        if cache is not None:
            cache.drop()
        raise ReconcilerError(f"{_shown(self.root)}{path}: {name}: has changed since it was read: try again")


def check_against(tasks: Mapping[str, Task]) -> Check:
    """A check of specs against these tasks: an unknown one, with the nearest name, and parameters that do not fit."""
    from reconciler.nearest import did_you_mean
    from reconciler.registry.params import ParamFault, check_params

    @cache  # the same misspelling often stands in many files
    def unknown(name: str) -> list[ParamFault]:
        return [ParamFault("", f"no task named {shown(name)}; {did_you_mean(name, tasks)}")]

    def check(name: str, params: Mapping[str, Any]) -> Sequence[ParamFault]:
        task = tasks.get(name)
        return unknown(name) if task is None else check_params(task, params)

    return _TaskCheck(check, tasks)


@dataclass(frozen=True, slots=True)
class _TaskCheck:
    check: Check
    tasks: Mapping[str, Task]

    def __call__(self, name: str, params: Mapping[str, Any]) -> Sequence[ParamFault]:
        return self.check(name, params)

    @property
    def catalogue(self) -> str | None:
        """What tells apart two sets of tasks that could judge differently; None where that cannot be told."""
        return catalogue_of({name: task.function for name, task in self.tasks.items()})


def _one_file(file: Path, within: Path) -> Walk:
    """The file, and the defaults of the folders from `within` down to it."""
    folder, top = file.absolute().parent, within.absolute()
    if not folder.is_relative_to(top):
        raise ReconcilerError(f"{file}: is not below {within}: name a file of that directory")
    inside = folder.relative_to(top).parts
    found = Walk(os.path.realpath(within))
    for depth in range(len(inside) + 1):
        here = top.joinpath(*inside[:depth])
        found.files += [_placed(here / name, top) for name in DEFAULTS if os.path.isfile(here / name)]  # noqa: PTH113
    if file.name not in DEFAULTS:
        found.files.append(_placed(file, top))
    return found


def _placed(file: Path, top: Path) -> Found:
    return alone(str(file))._replace(path=file.absolute().relative_to(top).as_posix())


def _shown(root: Path) -> str:
    """How the root is written before the paths below it: from where the person stands, if it lies below."""
    here = Path.cwd()
    path = root.absolute()
    text = path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()
    return "" if text == "." else f"{text.rstrip('/')}/"


def _seldom(progress: Progress | None) -> Progress:
    said = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if progress is not None and now - said >= BETWEEN:
            said = now
            progress(done, total)

    return tell if progress is not None else lambda done, total: None


@contextmanager
def _without_collector() -> Iterator[None]:
    """Reading makes many objects and no cycles: looking for cycles meanwhile takes a quarter of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
