"""What reading a directory of specs brings back: the specs, and every fault with its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.spec import TaskSpec


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
    """A spec, and the file (relative to the specs' directory) and line that it stands on."""

    spec: TaskSpec
    path: str
    line: int
    digest: str


@dataclass(frozen=True, slots=True)
class SpecSet:
    """Everything found under a directory. With faults it is not complete, and nothing may be pruned or applied."""

    specs: tuple[LocatedSpec, ...] = ()
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    files: int = 0
