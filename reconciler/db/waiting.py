"""Waiting work that will never start: what is too late for its deadline, paused, or asked to end."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID

from reconciler.db.claimrows import COLUMNS, Claim
from reconciler.db.link import Link

# How long an instant had is in the spec that it was decided by, which history keeps. A pause is for what the schedule
# made due and what follows others: what somebody asked for by hand runs through it, and a retry belongs to a run that
# goes on. `lateral` makes the pauses lead, and then the names that they cover: without any there is nothing to read,
# and a few cost nothing however much waits of others.
SKIP = """
with late as (
    select c.name, c.scheduled_for, c.digest
    from task_claims c
    where c.runner_id is null and c.start_by is not null and c.start_by < statement_timestamp()
      and c.attempts = '[]'::jsonb and c.cancel_requested is null
    order by c.name, c.scheduled_for
    limit %(limit)s
    for update of c skip locked
), pauses as materialized (
    select o.name, o.selector, concat('paused by ', o.actor, ': ' || o.reason, ', while it waited') as detail
    from task_overrides o
    where o.kind = 'pause' and o.ended_at is null and (o.expires_at is null or o.expires_at > statement_timestamp())
), covered as (
    select p.name, p.detail from pauses p where p.name is not null
    union all
    select g.name, p.detail
    from pauses p
    cross join lateral (select c.name from task_configs c where c.spec -> 'labels' @> p.selector offset 0) g
    where p.name is null
), held as (
    select w.name, w.scheduled_for, v.detail
    from covered v
    cross join lateral (
        select c.name, c.scheduled_for
        from task_claims c
        where c.name = v.name and c.runner_id is null and c.trigger in ('schedule', 'catch_up', 'after')
          and c.attempts = '[]'::jsonb and c.cancel_requested is null
        limit %(limit)s
        for update of c skip locked
    ) as w
    limit %(limit)s
), ended as (
    select distinct on (e.name, e.scheduled_for) e.*
    from (
        select 1 as place, l.name, l.scheduled_for, 'deadline' as reason,
               coalesce('not started within ' || (
                   select r.spec #>> '{deadline,start}' from task_revisions r
                   where r.name = l.name and r.digest = l.digest limit 1), 'not started in time') as detail
        from late l
        union all
        select 2, h.name, h.scheduled_for, 'paused', h.detail from held h) as e
    order by e.name, e.scheduled_for, e.place
), gone as (
    delete from task_claims c using ended e
    where c.name = e.name and c.scheduled_for = e.scheduled_for
    returning c.name, c.scheduled_for, e.reason, e.detail
)
insert into task_skips (name, first, last, count, reason, detail)
select g.name, g.scheduled_for, g.scheduled_for, 1, g.reason, g.detail
from gone g
order by 1, 2
on conflict do nothing
returning reason
"""

# Of any queue and any task, since nothing is called, and whatever else its name is doing: so it is out of the way
# of the unique index.
CANCELLED = f"""
with asked as (
    select c.name, c.scheduled_for
    from task_claims c
    where c.runner_id is null and c.cancel_requested is not null
    order by c.name, c.scheduled_for
    limit %(limit)s
    for update of c skip locked
)
update task_claims c
set runner_id = %(runner)s, token = gen_random_uuid(), exclusive = false, claimed_at = clock_timestamp(),
    started_at = clock_timestamp()
from asked a
where c.name = a.name and c.scheduled_for = a.scheduled_for
returning {COLUMNS}
"""

# What only a runner of the past could take: its name has another task or queue now, or is gone, and nobody has what it
# was decided with. It would stand in the way of its name for ever. While no runner is there, nobody can tell.
GIVE_UP = """
with served as materialized (
    select distinct q as queue, t as task
    from runners n, jsonb_array_elements_text(n.queues) as q, jsonb_object_keys(n.tasks) as t
    where n.ended_at is null
), left_over as (
    select c.name, c.scheduled_for
    from task_claims c
    left join task_configs g on g.name = c.name
    where c.runner_id is null and c.cancel_requested is null and c.not_before < statement_timestamp() - %(patience)s
      and (g.name is null or g.spec ->> 'task' <> c.task or g.spec ->> 'queue' <> c.queue)
      and (c.queue, c.task) not in (select s.queue, s.task from served s)
      and (select count(*) from served) > 0
    order by c.name, c.scheduled_for
    limit %(limit)s
    for update of c skip locked
)
update task_claims c
set cancel_requested = concat('given up: no runner has the task ', quote_literal(c.task), ' in queue ',
                              quote_literal(c.queue), ' any more')
from left_over l
where c.name = l.name and c.scheduled_for = l.scheduled_for
returning c.name, c.cancel_requested
"""

ANY = "select exists (select from task_claims c where c.runner_id is null)"

BATCH = 1000
# A deployment that is rolled back, or a runner that is started again, is given so long.
PATIENCE = timedelta(minutes=10)


async def is_any(link: Link) -> bool:
    """Whether anything waits at all, for whatever reason: where nothing does, one look is enough to know it."""
    [(found,)] = await link.run(ANY, by_index=True)
    return bool(found)


async def skip(link: Link) -> Counter[str]:
    """Turn waiting work that is too late to start, or paused now, into skips: how many by reason; there may be more.

    So a resume finds nothing of the past.
    """
    return Counter(reason for (reason,) in await link.run(SKIP, {"limit": BATCH}))


async def give_up(link: Link, patience: timedelta = PATIENCE) -> list[tuple[str, str]]:
    """Ask for the end of what has waited so long for a task that no runner has any more: its name, and why."""
    rows = await link.run(GIVE_UP, {"limit": BATCH, "patience": patience})
    return [(name, why) for name, why in rows]


async def cancelled(link: Link, runner_id: UUID) -> list[Claim]:
    """Own what waits and was asked to end, retries in back-off above all: it is to be failed, not to be called."""
    return [Claim(*row) for row in await link.run(CANCELLED, {"runner": runner_id, "limit": BATCH})]
