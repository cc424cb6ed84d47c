"""What reading a directory of specs brings back: the specs, and every fault with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.spec.spec import TaskSpec


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One line about one place: `specs/report.yaml:4:12: schedule: '60 * * * *' has minute 60; minutes run 0-59`.

    `path` is as a person there would write it; lines and columns count from 1.
    """

    path: str
    line: int
    column: int
    field: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.field}: {self.what}"


@dataclass(frozen=True, slots=True)
class LocatedSpec:
    """A spec, and the file (relative to the specs' directory) and line that it stands on.

    Where nothing has changed since an earlier process, the spec itself is parsed when it is first asked for: who only
    compares takes `name` and `digest`.
    """

    held: TaskSpec | Callable[[], TaskSpec] = field(compare=False, repr=False)
    path: str
    line: int
    digest: str
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.spec.name)

    @property
    def is_parsed(self) -> bool:
        """Whether the spec is at hand, so that asking for it costs nothing."""
        return not callable(self.held)

    @property
    def spec(self) -> TaskSpec:
        """The spec; ReconcilerError where its file has changed since it was read."""
        return self.held() if callable(self.held) else self.held


@dataclass(frozen=True, slots=True)
class SpecSet:
    """Everything found under a directory. With faults it is not complete, and nothing may be pruned or applied.

    `held` are the places that the faults are about, relative to the directory: a file, `team/` for a whole folder, ""
    for everything.
    """

    specs: tuple[LocatedSpec, ...] = ()
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    files: int = 0
    held: tuple[str, ...] = ()


def good(read: SpecSet) -> SpecSet:
    """The specs of files without any fault, for whoever holds the others as they were.

    A set whose faults are about everything comes back as it is, faults and all: there is no good part of it.
    """
    is_held = below(read.held)
    if is_held(""):
        return read
    return replace(read, specs=tuple(one for one in read.specs if not is_held(one.path)), faults=())


def below(held: Iterable[str]) -> Callable[[str], bool]:
    """Tells of a path whether it is one of `held`, or in one of the folders there."""
    places = frozenset(held)

    def is_held(path: str) -> bool:
        return path in places or "" in places or any(f"{folder}/" in places for folder in _folders(path))

    return is_held if places else lambda path: False


def _folders(path: str) -> Iterable[str]:
    """`a` and `a/b` of `a/b/c.yaml`."""
    parts = path.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))
