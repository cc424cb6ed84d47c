"""What is a plan made of? Changes, each with its reason and its evidence; how it comes about is `making`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from reconciler.plan.guards import Refusal

Verb = Literal["create", "adopt", "update", "delete"]
VERBS: Final[tuple[Verb, ...]] = ("create", "adopt", "update", "delete")
Documents = Mapping[str, Mapping[str, Any]]


class _Absent:
    """A field that one side does not have at all, which is not the same as null."""

    def __repr__(self) -> str:
        return "(absent)"


ABSENT: Final = _Absent()


class Spec(Protocol):
    """The part of a TaskSpec that a plan reads."""

    def document(self) -> dict[str, Any]: ...


class Wanted(Protocol):
    """One spec as it was read: `LocatedSpec` is one."""

    @property
    def name(self) -> str: ...
    @property
    def spec(self) -> Spec: ...
    @property
    def path(self) -> str: ...
    @property
    def digest(self) -> str: ...


class Removed(Protocol):
    """The commit that removed a spec's file; `commit` "": it is gone here and that is not committed yet.

    `is_whole_file` False: the file is still there, and this is the last commit that touched it.
    """

    @property
    def commit(self) -> str: ...
    @property
    def author(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def is_whole_file(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class FieldChange:
    """`field` is a dotted path, `retries.attempts`; a side that lacks it is ABSENT."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    verb: Verb
    name: str
    path: str
    reason: str
    fields: tuple[FieldChange, ...] = ()
    moves_cursor: bool = False
    # Of those that it waits for, only successes from now on count.
    waits_anew: bool = False
    before_digest: str | None = None
    after_digest: str | None = None
    removal: Removed | None = None  # who removed the file, for a deletion; None: git cannot tell
    is_drift: bool = False  # somebody changed it by hand, git did not
    looks_like: str | None = None  # the other name of what is likely a rename


@dataclass(frozen=True, slots=True)
class Plan:
    """`changes` is what will be done, and holds nothing that `refusals` name.

    `kept`: configs that are not in PATH, with prune off. `held`: names that keep their last good state, for their file
    has a fault. `drifted`: changes made by hand that are reported and left. `withheld`: what would be done, were the
    whole pass not refused, or the source not pinned; then `changes` is empty, and `pin` is the line that says why.
    """

    changes: tuple[Change, ...]
    unchanged: int
    refusals: tuple[Refusal, ...] = ()
    kept: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    drifted: tuple[Change, ...] = ()
    withheld: tuple[Change, ...] = ()
    pin: str | None = None

    @property
    def has_changes(self) -> bool:
        return bool(self.changes)

    def counts(self) -> dict[Verb, int]:
        verbs = [change.verb for change in self.changes]
        return {verb: verbs.count(verb) for verb in VERBS}
