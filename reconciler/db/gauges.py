"""How much there is, as numbers for a scrape: few statements, each by an index or over what is small."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.db.link import Link

BACKLOG = """
select queue,
       count(*) filter (where runner_id is null and not_before <= clock_timestamp()),
       count(*) filter (where runner_id is null and not_before > clock_timestamp()),
       count(*) filter (where runner_id is not null)
from task_claims group by queue order by queue
"""

TOTALS = """
select (select count(*) from task_configs),
       (select count(*) from task_overrides
        where ended_at is null and kind = 'pause' and (expires_at is null or expires_at > clock_timestamp())),
       (select count(*) from runners where ended_at is null),
       (select coalesce(jsonb_object_agg(kind, n), '{}')
        from (select kind, count(*) as n from incidents where closed_at is null group by kind) as o),
       (select count(*) from incidents where due_at is not null),
       (select coalesce(jsonb_object_agg(side, n), '{}')
        from (select side, count(*) as n from drifts where ended_at is null group by side) as d)
"""

# A name that has failed for a thousand runs has no success that is worth a longer look.
BY_NAME = """
select c.name, e.is_success, extract(epoch from clock_timestamp() - s.finished_at)::float8
from task_configs c
left join lateral (
    select x.is_success from task_executions x where x.name = c.name order by x.scheduled_for desc limit 1
) e on true
left join lateral (
    select x.finished_at from (
        select y.finished_at, y.is_success, y.scheduled_for from task_executions y
        where y.name = c.name order by y.scheduled_for desc limit 1000
    ) x
    where x.is_success order by x.scheduled_for desc limit 1
) s on true
order by c.name
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """One queue: claims that wait for a runner, that are in back-off, that run."""

    queue: str
    waiting: int
    backing_off: int
    running: int


@dataclass(frozen=True, slots=True)
class Totals:
    """All of an installation; `notices` wait to be sent; `drifts` are the open ones, by side."""

    tasks: int
    pauses: int
    runners: int
    incidents: dict[str, int]
    notices: int
    drifts: dict[str, int]


@dataclass(frozen=True, slots=True)
class NameFigures:
    """One config: whether its newest run succeeded, and how many seconds ago its newest success ended."""

    name: str
    is_success: bool | None
    success_age: float | None


async def backlog(link: Link) -> list[Backlog]:
    """Each queue that has claims."""
    return [Backlog(queue, *counts) for queue, *counts in await link.run(BACKLOG)]


async def totals(link: Link) -> Totals:
    """What there is altogether."""
    (row,) = await link.run(TOTALS)
    return Totals(*row)


async def by_name(link: Link) -> list[NameFigures]:
    """Every config by name; the caller sees to it that there are not too many."""
    return [NameFigures(*row) for row in await link.run(BY_NAME)]
