"""The words of an impact: one change as two specs, and what it comes to in fires. Values, and nothing that computes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.plan import Verb
from reconciler.spec import TaskSpec


@dataclass(frozen=True, slots=True)
class Changed:
    """One change of a plan with its specs: `before` is None for what is created, `after` for what is deleted.

    `moves_cursor`: instants count from the moment at which it is applied, as the plan says.
    """

    name: str
    verb: Verb
    before: TaskSpec | None
    after: TaskSpec | None
    moves_cursor: bool = True


@dataclass(frozen=True, slots=True)
class Side:
    """One task before, or after: its next instants in UTC, and how often it fires a day on average.

    `how`: why it does not fire by itself, in words; None where it does. `is_exact` False: the average is of one day.
    """

    timezone: str
    upcoming: tuple[datetime, ...] = ()
    per_day: float = 0.0
    is_exact: bool = True
    how: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeImpact:
    """What one change comes to. A side is None where there is no task.

    `is_retimed`: other instants than before, or the same of another zone. `at_once`: instants that would fire as soon
    as it is applied. `clock_changes` of the next year and `warnings` are lines about `after`, and empty where the
    change has nothing to do with them.
    """

    name: str
    before: Side | None
    after: Side | None
    is_retimed: bool
    at_once: int
    clock_changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Minute:
    """How many tasks start in the minute that begins `at`, before and after; `advice` on how to spread them."""

    at: datetime
    timezone: str
    before: int
    after: int
    is_peak: bool = False
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Impact:
    """What a plan comes to in fires.

    `changes`: by name, of the first changes of the plan only; `more` says how many are left out. `per_day`: fires of
    all tasks together, before and after, on average over the next 28 days; None where no instant changes, for then
    nobody counted. `load`: of the minutes of the next seven days that gain most, in order of time.
    """

    changes: dict[str, ChangeImpact]
    at_once: int
    per_day: tuple[float, float] | None = None
    is_exact: bool = True
    load: tuple[Minute, ...] = ()
    more: int = 0
