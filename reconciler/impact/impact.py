"""What a plan comes to in fires: when each changed task runs before and after, and how the load moves.

Values in, values out; `now` is told. It reads no store: who asks brings the tasks that do not change, and needs them
only where `needs_held` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice, pairwise, takewhile
from typing import NamedTuple

from reconciler.durations import format_duration
from reconciler.impact.fires import fires_between, seconds
from reconciler.impact.load import busiest
from reconciler.impact.model import Changed, ChangeImpact, Impact, Side
from reconciler.impact.timing import Timing, timing_of
from reconciler.plan import Plan
from reconciler.schedule.zone import DAY
from reconciler.spec import TaskSpec

DAYS = 28
YEAR = timedelta(days=365)
SHOWN = 3
MOST_DETAILED = 200
MOST_AT_ONCE = 1000


def changed_of(plan: Plan, before: Mapping[str, TaskSpec], after: Mapping[str, TaskSpec]) -> list[Changed]:
    """The changes of a plan, those that are withheld too, with their specs by name."""
    return [
        Changed(
            change.name,
            change.verb,
            before.get(change.name),
            None if change.verb == "delete" else after.get(change.name),
            change.moves_cursor,
        )
        for change in (*plan.changes, *plan.withheld)
    ]


def needs_before(plan: Plan) -> list[str]:
    """Names of which `changed_of` needs the spec in force."""
    return [change.name for change in (*plan.changes, *plan.withheld) if change.verb != "create"]


def needs_held(changes: Iterable[Changed]) -> bool:
    """Whether any instant changes, so that the totals have to be counted: then `impact_of` needs all other tasks."""
    return any(_is_retimed(change) for change in changes)


def impact_of(changes: Sequence[Changed], held: Iterable[TaskSpec] | Mapping[Timing, int], now: datetime) -> Impact:
    """What these changes come to; `held`: all tasks of the source that stay as they are, or how many of each timing.

    Names in `held` must not be among the changes. Of very many changes the first are looked at one by one.
    """
    details = {change.name: _detailed(change, now) for change in changes[:MOST_DETAILED]}
    at_once = sum(_at_once(change, now) for change in changes)
    more = max(0, len(changes) - MOST_DETAILED)
    if not needs_held(changes):
        return Impact(details, at_once, more=more)
    begin = seconds(now) + 1
    there, before, after = (
        _load(counted, begin)
        for counted in (
            held if isinstance(held, Mapping) else _counted(held),
            _counted(change.before for change in changes),
            _counted(change.after for change in changes),
        )
    )
    per_day = there.per_day + before.per_day, there.per_day + after.per_day
    is_exact = there.is_exact and before.is_exact and after.is_exact
    load = busiest(before.counted, after.counted, there.counted, begin)
    return Impact(details, at_once, per_day, is_exact, load, more)


class _Load(NamedTuple):
    """Some tasks by their timing, and how often all of them together fire a day."""

    counted: Mapping[Timing, int]
    per_day: float
    is_exact: bool


def _counted(specs: Iterable[TaskSpec | None]) -> Counter[Timing]:
    return Counter(timing for spec in specs if (timing := timing_of(spec)))


def _load(counted: Mapping[Timing, int], begin: int) -> _Load:
    """What nobody can read, since somebody wrote it by hand, counts as not there: it does not run either."""
    kept: dict[Timing, int] = {}
    total, is_exact = 0.0, True
    for timing, number in counted.items():
        try:
            count = fires_between(timing, begin, begin + DAYS * DAY)
        except ValueError:
            continue
        kept[timing] = number
        total += count.fires * number
        is_exact = is_exact and count.is_exact
    return _Load(kept, total / DAYS, is_exact)


def _is_retimed(change: Changed) -> bool:
    before, after = timing_of(change.before), timing_of(change.after)
    return _instants(before) != _instants(after)


def _instants(timing: Timing | None) -> Timing | None:
    """All that decides instants; None where there are none."""
    return timing._replace(is_spread=False) if timing and timing.fires else None


def _detailed(change: Changed, now: datetime) -> ChangeImpact:
    is_retimed = _is_retimed(change)
    return ChangeImpact(
        change.name,
        _side(change.before, now),
        _side(change.after, now),
        is_retimed,
        _at_once(change, now),
        tuple(_clock_changes(change.after, now)) if is_retimed else (),
        tuple(_warnings(change, is_retimed, now)),
    )


def _side(spec: TaskSpec | None, now: datetime) -> Side | None:
    if spec is None:
        return None
    how = _how(spec)
    schedule = spec.when()
    if how or schedule is None:
        return Side(spec.timezone, how=how)
    begin = seconds(now) + 1
    count = fires_between(timing_of(spec), begin, begin + DAYS * DAY)
    return Side(spec.timezone, tuple(islice(schedule.upcoming(now), SHOWN)), count.fires / DAYS, count.is_exact)


def _how(spec: TaskSpec) -> str | None:
    """Why it does not fire by its schedule."""
    if spec.suspend is True:
        return "suspended, does not fire"
    if spec.schedule:
        return None
    if spec.after:
        return f"runs after {', '.join(spec.after)}"
    return "has no schedule, runs when triggered"


def _at_once(change: Changed, now: datetime) -> int:
    """Instants that fire as soon as it is applied. A cursor that moves goes to now, and leaves nothing behind it.

    One that stays would find those that its new schedule has, and the old one had not.
    """
    spec = change.after
    if spec is None or change.moves_cursor or not _is_retimed(change):
        return 0
    return len(_due(spec, now) - _due(change.before, now))


def _due(spec: TaskSpec | None, now: datetime) -> set[datetime]:
    """The instants that a cursor which stayed behind would have to make up for; of very many the first."""
    schedule = spec.when() if spec and spec.is_scheduled else None
    if spec is None or schedule is None:
        return set()
    since = schedule.upcoming(now - spec.missed_within)
    return set(islice(takewhile(lambda instant: instant <= now, since), MOST_AT_ONCE))


def _clock_changes(spec: TaskSpec | None, now: datetime) -> Iterator[str]:
    if spec is None or not spec.is_scheduled or spec.timezone == "UTC":
        return
    from reconciler.simulate.clockchanges import clock_changes

    # From the hour on, so that the changes of a zone are found once for all tasks there.
    begin = now.replace(minute=0, second=0, microsecond=0)
    yield from map(str, clock_changes([spec], begin, begin + YEAR))


def _warnings(change: Changed, is_retimed: bool, now: datetime) -> Iterator[str]:
    spec, old = change.after, change.before
    if spec is None or not spec.is_scheduled:
        return
    schedule = spec.when()
    assert schedule is not None
    if is_retimed:
        yield from schedule.warnings
        if schedule.next_after(now) is None:
            yield f"never fires: {'ends_at is past' if spec.ends_at else 'no instant is left'}"
    if is_retimed or (old and (old.timeout, old.overlap) != (spec.timeout, spec.overlap)):
        yield from _overlaps(spec, now)


def _overlaps(spec: TaskSpec, now: datetime) -> Iterator[str]:
    """A hint where a run may take until the next instant, by its timeout; nobody knows how long it does take."""
    schedule = spec.when()
    if schedule is None or spec.timeout is None or spec.overlap == "allow":
        return
    instants = list(islice(schedule.upcoming(now), SHOWN + 1))
    gap = min((late - early for early, late in pairwise(instants)), default=None)
    if gap is not None and gap < spec.timeout:
        yield (
            f"may overlap: comes every {format_duration(gap)} and may take {format_duration(spec.timeout)}; "
            f"overlap: {spec.overlap} decides"
        )
