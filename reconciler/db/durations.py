"""How long the runs of each name took lately, by those that succeeded: what the next ones may be expected to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from reconciler.db.link import Statements

# The newest few rows of each name by its index, whatever lies behind them.
LATELY = """
select w.name, count(*), percentile_cont(array[0.5, 0.95]) within group (order by x.took)
from unnest(%(names)s::text[]) as w(name)
cross join lateral (
    select e.is_success, extract(epoch from e.finished_at - e.started_at)::float8 as took
    from task_executions e where e.name = w.name
    order by e.scheduled_for desc limit %(newest)s
) as x
where x.is_success
group by w.name
"""


@dataclass(frozen=True, slots=True)
class Took:
    """Of the `runs` newest that succeeded, half took up to `median`, and all but a twentieth up to `p95`."""

    runs: int
    median: timedelta
    p95: timedelta


async def durations(link: Statements, names: Sequence[str], newest: int = 50) -> dict[str, Took]:
    """By name, from its `newest` executions; names without a success among them are absent."""
    rows = await link.run(LATELY, {"names": list(names), "newest": newest})
    return {name: Took(runs, _length(median), _length(p95)) for name, runs, (median, p95) in rows}


def _length(seconds: float) -> timedelta:
    return timedelta(seconds=max(0.0, seconds))
