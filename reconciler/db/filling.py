"""Which instants of a name are to be run after all, and that one of them is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from reconciler.db.executions import COLUMNS, TaskExecution
from reconciler.db.link import Link, Statements

# An instant of the schedule itself, as long as nobody has run it or is about to. Those of one name go in the order in
# which they are added.
FILL = """
insert into task_claims (name, scheduled_for, task, queue, priority, turn, trigger, digest, exclusive, actor)
select c.name, %(at)s, c.spec ->> 'task', c.spec ->> 'queue', (c.spec ->> 'priority')::int,
       greatest(- (extract(epoch from %(at)s) * 1000000)::bigint, w.behind), 'backfill', c.digest,
       c.spec ->> 'overlap' <> 'allow' and not %(beside)s, %(actor)s
from task_configs c
cross join lateral (
    select max(t.turn) + 1 as behind from task_claims t
    where t.name = c.name and t.trigger = 'backfill' and t.runner_id is null and t.attempts = '[]'
) w
where c.name = %(name)s
  and not exists (select from task_executions e where e.name = c.name and e.scheduled_for = %(at)s)
on conflict do nothing
returning scheduled_for
"""

TAKEN = """
select scheduled_for from task_executions
where name = %(name)s and scheduled_for >= %(first)s and scheduled_for <= %(last)s
union all
select scheduled_for from task_claims
where name = %(name)s and scheduled_for >= %(first)s and scheduled_for <= %(last)s
"""

# A rerun is judged with what it replays, never by itself.
FAILED = """
select f.scheduled_for from task_executions f
where f.name = %(name)s and not f.is_success and f.replays is null
  and f.scheduled_for >= %(first)s and f.scheduled_for <= %(last)s
  and not coalesce((
    select r.is_success from task_executions r
    where r.name = f.name and r.replays is not null and r.replays = f.scheduled_for
    order by r.scheduled_for desc limit 1), false)
  and f.scheduled_for not in (
    select c.replays from task_claims c where c.name = %(name)s and c.replays is not null)
order by f.scheduled_for
limit %(limit)s
"""

NEAREST = """
(select scheduled_for from task_executions
 where name = %(name)s and scheduled_for <= %(at)s order by scheduled_for desc limit 2)
union all
(select scheduled_for from task_executions
 where name = %(name)s and scheduled_for > %(at)s order by scheduled_for limit 2)
order by 1
"""

STILL_CLAIMED = """
select scheduled_for from task_claims where name = %(name)s and scheduled_for = any(%(instants)s::timestamptz[])
"""

ENDED = f"""
select {COLUMNS} from task_executions where name = %(name)s and scheduled_for = any(%(instants)s::timestamptz[])
"""

BORN = "select coalesce(min(applied_at), %(created)s) from task_revisions where name = %(name)s"


async def fill(link: Link, name: str, at: datetime, *, beside: bool, actor: str) -> bool:
    """Add the scheduled instant `at` as waiting work; False where it has run, waits or runs, or the name is gone."""
    values = {"name": name, "at": at, "beside": beside, "actor": actor}
    return bool(await link.run(FILL, values))


async def taken(link: Statements, name: str, first: datetime, last: datetime) -> set[datetime]:
    """The instants from `first` to `last` that have a final row or a claim."""
    return {at for (at,) in await link.run(TAKEN, {"name": name, "first": first, "last": last})}


async def failed(link: Statements, name: str, first: datetime, last: datetime, limit: int) -> list[datetime]:
    """The instants that failed and whose last rerun did not succeed, oldest first; none that is being rerun."""
    values = {"name": name, "first": first, "last": last, "limit": limit}
    return [at for (at,) in await link.run(FAILED, values)]


async def born(link: Statements, name: str, created: datetime) -> datetime:
    """When a name first came into force, as far as is kept; `created` where nothing is."""
    [(at,)] = await link.run(BORN, {"name": name, "created": created})
    return at  # type: ignore[no-any-return]


async def nearest(link: Statements, name: str, at: datetime) -> list[datetime]:
    """Up to two instants before `at` and two after it that have a final row."""
    return [found for (found,) in await link.run(NEAREST, {"name": name, "at": at})]


async def became(
    link: Statements, name: str, instants: Sequence[datetime]
) -> tuple[set[datetime], dict[datetime, TaskExecution]]:
    """Which of these instants still run or wait, and the final rows of those that ended; the rest was dropped."""
    params = {"name": name, "instants": list(instants)}
    # Claims first: what ends between the two reads has its row by the second one.
    claims = {at for (at,) in await link.run(STILL_CLAIMED, params)}
    rows = [TaskExecution(*row) for row in await link.run(ENDED, params)]
    return claims, {row.scheduled_for: row for row in rows}
