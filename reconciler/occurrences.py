"""What is due, what is decided against and why, and when to look again.

Values in, values out: the cursor, the spec, the pauses and `now` go in, a `Decision` comes out. Nothing here knows
who asks, which runs are under way, or how a decision is kept: PostgreSQL settles that when it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from reconciler.durations import format_duration
from reconciler.schedule import Schedule
from reconciler.schedule.jitter import jitter_of
from reconciler.spec import TaskSpec

# Up to here a start counts as on time; beyond, it is a missed run that is made up for.
ON_TIME = timedelta(seconds=30)
# `missed: latest` makes up for nothing older than this.
STILL_GOOD = timedelta(hours=24)
TICK = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


class Fire(NamedTuple):
    """An instant to run; `trigger` is `schedule`, or `catch_up` where it comes late.

    `waits`: it is one of several that are made up for, and takes its turn with the other waiting work instead of
    starting now. `start_by`: later than that it is not started any more.
    """

    scheduled_for: datetime
    trigger: str
    waits: bool = False
    turn: int = 0
    start_by: datetime | None = None


class Decision(NamedTuple):
    """Every instant up to `through` is decided: these fire, those are skipped; `next_run` is the first one after."""

    through: datetime
    fires: tuple[Fire, ...]
    skips: tuple[Skip, ...]
    next_run: datetime | None

    @property
    def is_empty(self) -> bool:
        return not self.fires and not self.skips


def decide(spec: TaskSpec, through: datetime, now: datetime, pauses: Sequence[Pause] = ()) -> Decision:
    """The verdict on every instant in (through, now], by the spec's own `missed` rule and its deadline.

    A pause that still holds is the caller's business: nothing may be decided under it. Costs the same after a
    minute and after a year. An instant whose jitter has not passed yet is left for later.
    """
    schedule = spec.when()
    if schedule is None:
        return Decision(through, (), (), None)
    first = schedule.next_after(through)
    if first is None or wake_at(spec, first) > now:
        return Decision(through, (), (), first)
    following = schedule.next_after(first)
    is_only = following is None or following > now
    last = first if is_only else _last_due(spec, schedule, through, now)
    if last is None:
        return Decision(through, (), (), first)
    good, why_not = _made_up_for(spec, schedule, through, last, now, pauses)
    if is_only and good and not spec.deadline.start:  # nearly always
        return Decision(last, _fires(spec, good, now), (), following)
    alive = [instant for instant in good if not _is_over(spec, instant, now)] if spec.deadline.start else good
    # Three stretches one after the other: missed, too late to start, and those that fire; pauses cut across them.
    missed_until = good[-1] - TICK if good else last
    late_until = missed_until if alive is good else alive[-1] - TICK if alive else last
    skips = list(_skips(spec.name, schedule, through, missed_until, pauses, ("missed", why_not)))
    if alive is not good and missed_until < late_until:
        too_late = ("deadline", not_started_within(spec.deadline.start))
        skips += _skips(spec.name, schedule, missed_until, late_until, pauses, too_late)
    if pauses and late_until < last:
        skips += _skips(spec.name, schedule, late_until, last, pauses, None)
    return Decision(last, _fires(spec, alive, now), tuple(skips), schedule.next_after(last))


def wake_at(spec: TaskSpec, next_run: datetime) -> datetime:
    """When to look at `next_run`: itself, or later by its jitter, never as late as the instant after it."""
    if not spec.jitter:
        return next_run
    schedule = spec.when()
    following = schedule.next_after(next_run) if schedule else None
    bound = following - next_run if following else spec.jitter
    return next_run + jitter_of(spec.name, next_run, spec.jitter, bound)


def start_by(spec: TaskSpec, scheduled_for: datetime) -> datetime | None:
    """The last moment at which that instant may still start; its jitter does not count against it."""
    return wake_at(spec, scheduled_for) + spec.deadline.start if spec.deadline.start else None


def not_started_within(length: timedelta | None) -> str:
    """What a skip says of an instant that was too late to start, by its spec's `deadline.start`."""
    return f"not started within {format_duration(length)}" if length else "not started in time"


def turn_of(scheduled_for: datetime, place: int = 0) -> int:
    """Where waiting work stands among that of its priority, the smallest first: newest first between names.

    The instants of one name that are made up for together all stand where the newest of them does, `place` counting
    from the oldest: within a name the oldest is first.
    """
    return place - (scheduled_for - EPOCH) // TICK


def _last_due(spec: TaskSpec, schedule: Schedule, through: datetime, now: datetime) -> datetime | None:
    last = schedule.last_until(now, through)
    while last is not None and wake_at(spec, last) > now:
        last = schedule.last_until(last - TICK, through)
    return last


def _made_up_for(
    spec: TaskSpec, schedule: Schedule, through: datetime, last: datetime, now: datetime, pauses: Sequence[Pause]
) -> tuple[list[datetime], str]:
    """The instants up to `last` that the missed rule runs, newest first, and why not the ones before them."""
    if spec.missed == "all":
        return _backlog(spec, schedule, through, last, now, pauses)
    late = now - wake_at(spec, last)
    is_paused = _pause_at(last, pauses) is not None
    if spec.missed == "skip":
        return [] if is_paused or late > ON_TIME else [last], "nothing is made up for"
    if late > STILL_GOOD and not is_paused:
        return [], f"more than {format_duration(STILL_GOOD)} late"
    return [] if is_paused else [last], "only the latest is made up for"


def _backlog(
    spec: TaskSpec, schedule: Schedule, through: datetime, last: datetime, now: datetime, pauses: Sequence[Pause]
) -> tuple[list[datetime], str]:
    """The same for `missed: all`: walks back from the newest, and never further than the limits reach."""
    found: list[datetime] = []
    instant: datetime | None = last
    # Jitter only ever makes an instant less late than it looks from here.
    floor = max(through, now - spec.missed_within - spec.jitter - TICK)
    while instant is not None:
        pause = _pause_at(instant, pauses)
        if pause is None:
            late = now - wake_at(spec, instant)
            if late > spec.missed_within and not (instant == last and late <= ON_TIME):
                break
            if len(found) == spec.missed_limit:
                return found, f"only the newest {spec.missed_limit} are made up for"
            found.append(instant)
        instant = schedule.last_until((pause.since if pause else instant) - TICK, floor)
    return found, f"more than {format_duration(spec.missed_within)} late"


def _is_over(spec: TaskSpec, instant: datetime, now: datetime) -> bool:
    end = start_by(spec, instant)
    return end is not None and now > end


def _fires(spec: TaskSpec, instants: Sequence[datetime], now: datetime) -> tuple[Fire, ...]:
    """Those instants, given newest first, in order; several of them wait for each other."""
    if not instants:
        return ()
    newest = instants[0]
    trigger = "schedule" if now - wake_at(spec, newest) <= ON_TIME else "catch_up"
    if len(instants) == 1:  # nearly always
        return (Fire(newest, trigger, False, turn_of(newest), start_by(spec, newest)),)
    return tuple(
        Fire(one, trigger if one is newest else "catch_up", True, turn_of(newest, place), start_by(spec, one))
        for place, one in enumerate(reversed(instants))
    )


def _skips(
    name: str,
    schedule: Schedule,
    after: datetime,
    end: datetime,
    pauses: Sequence[Pause],
    otherwise: tuple[str, str] | None,
) -> Iterator[Skip]:
    """The instants in (after, end] as skips: paused, or for the reason and detail `otherwise`; None: not skipped."""
    for start, stop, pause in _stretches(after, end, pauses):
        why = ("paused", _pause_text(pause)) if pause else otherwise
        skip = skip_between(name, schedule, start, stop, *why) if why else None
        if skip is not None:
            yield skip


def skip_between(
    name: str, schedule: Schedule, after: datetime, until: datetime, reason: str, detail: str | None = None
) -> Skip | None:
    """The instants in (after, until] as one skip; None when there is none."""
    last = schedule.last_until(until, after)
    first = schedule.next_after(after) if last is not None else None
    if last is None or first is None:
        return None
    return Skip(name, first, last, schedule.count(after, until), reason, detail)


def _stretches(
    after: datetime, end: datetime, pauses: Sequence[Pause]
) -> Iterator[tuple[datetime, datetime, Pause | None]]:
    """(after, end] cut where pauses begin and end, each piece with the pause that covers it."""
    if not pauses:
        yield after, end, None
        return
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
