"""Where work waits for room, how long and how much of it; and how the load lies over the hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from reconciler.simulate.model import Cause, Ran, Unstarted


@dataclass(frozen=True, slots=True)
class PileUp:
    """One stretch in which something always waited for the same thing.

    `runs` waited in it, `most` of them at once, the longest for `worst`: that was `name`. `what`: `async slots`,
    `worker processes`, or the queue or name that was full or busy.
    """

    cause: Cause
    what: str
    begin: datetime
    end: datetime
    runs: int
    most: int
    worst: timedelta
    name: str


@dataclass(slots=True)
class _Wait:
    begin: datetime
    end: datetime
    name: str


def pile_ups(
    ran: Iterable[Ran], unstarted: Iterable[Unstarted], queues: Mapping[str, str], end: datetime
) -> list[PileUp]:
    """The pile-ups, the worst first; `queues` says which queue each name goes to, `end` until when was looked."""
    waits: dict[tuple[Cause, str], list[_Wait]] = {}
    for run in ran:
        if run.cause is not None and run.started_at > run.due_at:
            what = _what(run.cause, run, queues)
            waits.setdefault((run.cause, what), []).append(_Wait(run.due_at, run.started_at, run.name))
    for one in unstarted:
        waits.setdefault((one.cause, _what(one.cause, one, queues)), []).append(_Wait(one.due_at, end, one.name))
    found = [pile for (cause, what), those in waits.items() for pile in _stretches(cause, what, those)]
    return sorted(found, key=lambda pile: (-pile.worst, pile.begin, pile.what))


def _what(cause: Cause, one: Ran | Unstarted, queues: Mapping[str, str]) -> str:
    if cause == "slots":
        return "async slots" if one.is_async else "worker processes"
    return {"queue": queues.get(one.name, ""), "overlap": one.name, "down": "outage"}[cause]


def _stretches(cause: Cause, what: str, waits: list[_Wait]) -> Iterable[PileUp]:
    waits.sort(key=lambda wait: (wait.begin, wait.end))
    group: list[_Wait] = []
    until = waits[0].end
    for wait in waits:
        if group and wait.begin > until:
            yield _pile(cause, what, group)
            group = []
        until = max(until, wait.end) if group else wait.end
        group.append(wait)
    yield _pile(cause, what, group)


def _pile(cause: Cause, what: str, group: Sequence[_Wait]) -> PileUp:
    worst = max(group, key=lambda wait: wait.end - wait.begin)
    most = _most([(wait.begin, wait.end) for wait in group])
    end = max(wait.end for wait in group)
    return PileUp(cause, what, group[0].begin, end, len(group), most, worst.end - worst.begin, worst.name)


def _most(spans: Iterable[tuple[datetime, datetime]]) -> int:
    steps = []
    for begin, end in spans:
        steps += [(begin, 1), (end, -1)]
    steps.sort()
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def fires_by_minute(ran: Iterable[Ran]) -> dict[datetime, int]:
    """How many runs were due in each minute, by its beginning, in UTC."""
    found: Counter[datetime] = Counter()
    for due_at, count in Counter([run.due_at for run in ran]).items():
        found[due_at.replace(second=0, microsecond=0)] += count
    return dict(sorted(found.items()))


def fires_by_hour(minutes: Mapping[datetime, int], zone: tzinfo = UTC) -> dict[datetime, int]:
    """The same for each hour of the clock in that zone."""
    found: Counter[datetime] = Counter()
    for minute, count in minutes.items():
        found[minute.astimezone(zone).replace(minute=0)] += count
    return dict(found)


def busiest_minute(minutes: Mapping[datetime, int]) -> tuple[datetime, int] | None:
    """The minute in which most runs were due, the first of such; None without any run."""
    return min(minutes.items(), key=lambda item: (-item[1], item[0]), default=None)
