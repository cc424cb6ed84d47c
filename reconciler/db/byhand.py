"""What a person asks of an occurrence: one more of it, one of the past again, or none of it any more.

What is asked for waits like any other work until a runner takes it; what is to end is ended by its runner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from reconciler.db.link import Link

# A scheduled instant is a whole second: what a person asks for is never on one, and so takes the place of none.
# Not on an instant that already has its row either, which could not be written a second time. Between names the newest
# goes first; of one name it stands behind what was asked for before it.
TRIGGER = """
with moment as (
    select case when at = date_trunc('second', at) then at + interval '1 ms' else at end as at
    from (select date_trunc('milliseconds', clock_timestamp()) as at) as now
)
insert into task_claims (name, scheduled_for, task, queue, priority, turn, trigger, digest, exclusive, params, replays,
                         follow, actor)
select c.name, m.at, c.spec ->> 'task', c.spec ->> 'queue', (c.spec ->> 'priority')::int,
       greatest(- (extract(epoch from m.at) * 1000000)::bigint, before.turn + 1), %(trigger)s, c.digest,
       c.spec ->> 'overlap' <> 'allow' and not %(beside)s, %(params)s, %(replays)s, %(follow)s, %(actor)s
from task_configs c
cross join moment m
left join lateral (
    select t.turn from task_claims t
    where t.name = c.name and t.runner_id is null and t.trigger in ('manual', 'rerun')
    order by t.scheduled_for desc limit 1
) before on true
where c.name = %(name)s
  and not exists (select from task_executions e where e.name = c.name and e.scheduled_for = m.at)
on conflict do nothing
returning scheduled_for
"""

# What runs, or waits for another attempt, is told; what never began goes, and a skip says why. Ordered, so that two
# who cancel take the same claims in the same order.
CANCEL = """
with meant as materialized (
    select c.name, c.scheduled_for, c.runner_id is null and c.attempts = '[]' as is_fresh
    from task_claims c
    where c.name = %(name)s
      and (%(at)s::timestamptz is null or c.scheduled_for = %(at)s or c.replays = %(at)s)
    order by c.name, c.scheduled_for
    for update
), asked as (
    update task_claims c set cancel_requested = %(why)s
    from meant m
    where c.name = m.name and c.scheduled_for = m.scheduled_for and not m.is_fresh and c.cancel_requested is null
), dropped as (
    delete from task_claims c using meant m
    where c.name = m.name and c.scheduled_for = m.scheduled_for and m.is_fresh
), told as (
    insert into task_skips (name, first, last, count, reason, detail)
    select m.name, m.scheduled_for, m.scheduled_for, 1, 'cancelled', %(why)s from meant m where m.is_fresh
    on conflict do nothing
)
select scheduled_for, is_fresh from meant order by scheduled_for
"""

# The start of every `why` of a person: by that their cancelled runs are told from those that failed.
CANCELLED_BY = "cancelled by "
# So many milliseconds in a row are hardly ever all taken.
TRIES = 5


async def trigger(
    link: Link,
    name: str,
    params: Mapping[str, Any] | None = None,
    trigger: str = "manual",
    *,
    replays: datetime | None = None,
    beside: bool = False,
    follow: bool = False,
    actor: str | None = None,
) -> datetime | None:
    """Add waiting work for `name`, due at once, with `params` over the spec's; returns its instant, None if unknown.

    `replays` is the nominal instant of a rerun. `beside`: it may run while another one does. `follow`: its output is
    published as it comes.
    """
    values = {
        "name": name,
        "trigger": trigger,
        "params": None if params is None else Jsonb(dict(params)),
        "replays": replays,
        "beside": beside,
        "follow": follow,
        "actor": actor,
    }
    for _ in range(TRIES):
        if rows := await link.run(TRIGGER, values):
            return rows[0][0]  # type: ignore[no-any-return]
        await asyncio.sleep(0.002)  # this very millisecond is another's
    return None


async def cancel(link: Link, name: str, at: datetime | None, why: str) -> dict[datetime, bool]:
    """End what runs or waits under a name, or only `at`; of each instant whether it had not begun, and is gone at once.

    The others are ended by their runner, which writes the final row with `why` in it, which begins with
    `CANCELLED_BY` where a person asked.
    """
    return dict(await link.run(CANCEL, {"name": name, "at": at, "why": why}))
