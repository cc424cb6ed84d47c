"""What an outcome comes to for each name, and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.schedule import MOST_COUNTED
from reconciler.simulate.model import Outcome
from reconciler.simulate.pileups import busiest_minute, fires_by_minute

NOTHING = timedelta(0)


@dataclass(slots=True)
class Summary:
    """One name: how often it ran, and what did not go as the schedule says.

    `beside`: runs that began while another of the name was under way. `skipped`: instants by reason. `longest_wait`:
    from when a run was due to its start, or to the end of the simulation where it never started (`unstarted`).
    """

    name: str
    fires: int = 0
    beside: int = 0
    replaced: int = 0
    cut_short: int = 0
    unstarted: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    longest_wait: timedelta = NOTHING

    @property
    def is_smooth(self) -> bool:
        """Whether every instant ran, on time and whole."""
        troubles = (self.beside, self.replaced, self.cut_short, self.unstarted, self.longest_wait)
        return not self.skipped and not any(troubles)


@dataclass(frozen=True, slots=True)
class Totals:
    """The whole outcome. `minutes`: how many runs were due in each, and `busiest` of them; None without a run."""

    fires: int
    skipped: Mapping[str, int]
    unstarted: int
    most_async: int
    most_worker: int
    minutes: Mapping[datetime, int]
    busiest: tuple[datetime, int] | None


def summaries(names: Iterable[str], outcome: Outcome, end: datetime) -> list[Summary]:
    """One a name, in the order of `names`."""
    found = {name: Summary(name) for name in names}
    over: dict[str, datetime] = {}
    for run in outcome.ran:
        one = found[run.name]
        one.fires += 1
        if run.started_at > run.due_at:
            one.longest_wait = max(one.longest_wait, run.waited)
        one.replaced += run.ending == "replaced"
        one.cut_short += run.ending == "cut short"
        until = over.get(run.name)
        one.beside += until is not None and run.started_at < until
        over[run.name] = run.ended_at if until is None else max(until, run.ended_at)
    for skip in outcome.skips:
        skipped = found[skip.name].skipped
        # Where they were too many to count there are at least so many.
        skipped[skip.reason] = skipped.get(skip.reason, 0) + (MOST_COUNTED if skip.count is None else skip.count)
    for left in outcome.unstarted:
        one = found[left.name]
        one.unstarted += 1
        one.longest_wait = max(one.longest_wait, end - left.due_at)
    return list(found.values())


def totals(outcome: Outcome, summed: Iterable[Summary]) -> Totals:
    """All of it in a few numbers."""
    skipped: Counter[str] = Counter()
    for one in summed:
        skipped.update(one.skipped)
    minutes = fires_by_minute(outcome.ran)
    return Totals(
        fires=len(outcome.ran),
        skipped=dict(sorted(skipped.items())),
        unstarted=len(outcome.unstarted),
        most_async=outcome.most_async,
        most_worker=outcome.most_worker,
        minutes=minutes,
        busiest=busiest_minute(minutes),
    )
