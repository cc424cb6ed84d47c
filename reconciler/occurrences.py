"""What is due, what is decided against and why, and when to look again.

Values in, values out: the cursor, the spec, the pauses and `now` go in, a `Decision` comes out. Nothing here knows
who asks, which runs are under way, or how a decision is kept: PostgreSQL settles that when it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from reconciler.schedule import Schedule
from reconciler.schedule.jitter import fraction_of, jitter_of
from reconciler.spec import Retries, TaskSpec

# Up to here a start counts as on time; beyond, it is a missed run that is made up for.
ON_TIME = timedelta(seconds=30)
# `missed: latest` makes up for nothing older than this.
STILL_GOOD = timedelta(hours=24)
TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Pause:
    """From `since` until just before `until`, nothing of a name fires; None: not ended yet."""

    since: datetime
    until: datetime | None
    reason: str | None = None
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Skip:
    """The instants from `first` to `last` that were decided against; `count` None means too many to count."""

    name: str
    first: datetime
    last: datetime
    count: int | None
    reason: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Fire:
    """An instant to run now; `trigger` is `schedule`, or `catch_up` where it comes late."""

    scheduled_for: datetime
    trigger: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Every instant up to `through` is decided: these fire, those are skipped; `next_run` is the first one after."""

    through: datetime
    fires: tuple[Fire, ...]
    skips: tuple[Skip, ...]
    next_run: datetime | None

    @property
    def is_empty(self) -> bool:
        return not self.fires and not self.skips


def decide(spec: TaskSpec, through: datetime, now: datetime, pauses: Sequence[Pause] = ()) -> Decision:
    """The verdict on every instant in (through, now], by the spec's own `missed` rule.

    A pause that still holds is the caller's business: nothing may be decided under it. Costs the same after a
    minute and after a year. An instant whose jitter has not passed yet is left for later.
    """
    schedule = spec.when()
    if schedule is None:
        return Decision(through, (), (), None)
    last = _last_due(spec, schedule, through, now)
    if last is None:
        return Decision(through, (), (), schedule.next_after(through))
    fires = () if _pause_at(last, pauses) else _fires(spec, last, now)
    end = last - TICK if fires else last
    return Decision(last, fires, tuple(_skips(spec.name, schedule, through, end, pauses)), schedule.next_after(last))


def wake_at(spec: TaskSpec, next_run: datetime) -> datetime:
    """When to look at `next_run`: itself, or later by its jitter, never as late as the instant after it."""
    if not spec.jitter:
        return next_run
    schedule = spec.when()
    following = schedule.next_after(next_run) if schedule else None
    bound = following - next_run if following else spec.jitter
    return next_run + jitter_of(spec.name, next_run, spec.jitter, bound)


def again_at(retries: Retries, name: str, scheduled_for: datetime, attempt: int, now: datetime) -> datetime | None:
    """When the attempt after failed number `attempt` may start; None when none is left.

    The back-off doubles up to its maximum, spread by a fifth either way so that many failures do not return at once.
    """
    if attempt >= retries.attempts:
        return None
    doubled: timedelta = retries.backoff * (1 << min(attempt - 1, 20))
    backoff = min(doubled, retries.max_backoff)
    return now + backoff * (0.8 + 0.4 * fraction_of(f"{name}@{scheduled_for.isoformat()}#{attempt}"))


def _last_due(spec: TaskSpec, schedule: Schedule, through: datetime, now: datetime) -> datetime | None:
    last = schedule.last_until(now, through)
    while last is not None and wake_at(spec, last) > now:
        last = schedule.last_until(last - TICK, through)
    return last


def _fires(spec: TaskSpec, last: datetime, now: datetime) -> tuple[Fire, ...]:
    late = now - wake_at(spec, last)
    if late <= ON_TIME:
        return (Fire(last, "schedule"),)
    if spec.missed == "skip" or late > STILL_GOOD:
        return ()
    return (Fire(last, "catch_up"),)


def _skips(name: str, schedule: Schedule, after: datetime, end: datetime, pauses: Sequence[Pause]) -> Iterator[Skip]:
    for start, stop, pause in _stretches(after, end, pauses):
        reason, detail = ("paused", _pause_text(pause)) if pause else ("missed", None)
        skip = skip_between(name, schedule, start, stop, reason, detail)
        if skip is not None:
            yield skip


def skip_between(
    name: str, schedule: Schedule, after: datetime, until: datetime, reason: str, detail: str | None = None
) -> Skip | None:
    """The instants in (after, until] as one skip; None when there is none."""
    last = schedule.last_until(until, after)
    first = schedule.next_after(after)
    if last is None or first is None:
        return None
    return Skip(name, first, last, schedule.count(after, until), reason, detail)


def _stretches(
    after: datetime, end: datetime, pauses: Sequence[Pause]
) -> Iterator[tuple[datetime, datetime, Pause | None]]:
    """(after, end] cut where pauses begin and end, each piece with the pause that covers it."""
    edges = {after, end}
    for pause in pauses:
        edges.add(min(max(pause.since - TICK, after), end))
        edges.add(min(max(pause.until - TICK, after), end) if pause.until else end)
    ordered = sorted(edges)
    for start, stop in pairwise(ordered):
        yield start, stop, _pause_at(stop, pauses)


def _pause_at(moment: datetime, pauses: Sequence[Pause]) -> Pause | None:
    for pause in pauses:
        if pause.since <= moment and (pause.until is None or moment < pause.until):
            return pause
    return None


def _pause_text(pause: Pause) -> str:
    return ": ".join(filter(None, (f"paused by {pause.actor}" if pause.actor else "paused", pause.reason)))
