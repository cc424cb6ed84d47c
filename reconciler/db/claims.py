"""Occurrences that are decided and not finished: how they are won, at their instant or out of what waits.

Each public function is one statement and so one transaction. A claim belongs to whoever holds its token: a statement
that names a token which is no longer there changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from psycopg.errors import UniqueViolation

from reconciler.db.claimrows import COLUMNS, Claim, Move, Returned, Wanted, as_rows
from reconciler.db.link import Link, Transaction
from reconciler.occurrences import Skip

__all__ = ["Claim", "Move", "Returned", "Wanted", "decide", "pick_up", "record_skips"]

# `not in` a CTE is hashed, where a join or `not exists` would be a nested loop by the planner's guess of its size.
# The overlap rule is the unique index on owned exclusive claims; a retry in back-off holds no slot and is looked for
# here. A name whose cursor, digest or pause is not what the runner saw moves nowhere and gets nothing.
DECIDE = """
with wanted as materialized (
    select * from jsonb_to_recordset(%(moves)s) as m(name text, digest text, seen timestamptz, through timestamptz)
), locked as (
    select k.name, w.through, w.digest
    from wanted w
    join task_configs c on c.name = w.name and c.digest = w.digest
    join task_cursors k on k.name = w.name and k.through = w.seen
    where (c.spec ->> 'suspend') is distinct from 'true'
      and not exists (
        select from task_overrides o
        where o.name = w.name and o.kind = 'pause' and o.ended_at is null
          and (o.expires_at is null or o.expires_at > clock_timestamp()))
    order by k.name
    for update of k skip locked
), moved as (
    update task_cursors k set through = l.through from locked l where k.name = l.name returning k.name, l.digest
), fires as materialized (
    select f.*, m.digest
    from jsonb_to_recordset(%(fires)s) as f(
        name text, scheduled_for timestamptz, task text, token uuid, queue text, priority int, trigger text,
        exclusive bool)
    join moved m on m.name = f.name
), busy as (
    select f.name, min(c.scheduled_for) as scheduled_for
    from fires f
    join task_claims c on c.name = f.name and c.exclusive
     and (c.runner_id is not null or c.attempts <> '[]'::jsonb)
    where f.exclusive
    group by f.name
), claimed as (
    insert into task_claims (name, scheduled_for, task, token, runner_id, not_before, queue, priority, trigger, digest,
                             exclusive, claimed_at, started_at)
    select f.name, f.scheduled_for, f.task, f.token, %(runner)s, f.scheduled_for, f.queue, f.priority, f.trigger,
           f.digest, f.exclusive, clock_timestamp(), clock_timestamp()
    from fires f
    where f.name not in (select name from busy)
      and not exists (
        select from task_executions e where e.name = f.name and e.scheduled_for = f.scheduled_for)
    order by f.name, f.scheduled_for
    on conflict do nothing
    returning name, scheduled_for, token
), skipped as (
    insert into task_skips (name, first, last, count, reason, detail)
    select s.name, s.first, s.last, s.count, s.reason, s.detail
    from jsonb_to_recordset(%(skips)s) as s(
        name text, first timestamptz, last timestamptz, count bigint, reason text, detail text)
    join moved m on m.name = s.name
    union all
    select f.name, f.scheduled_for, f.scheduled_for, 1, 'overlap',
           coalesce('the run of ' || to_char(b.scheduled_for at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                    || ' was still going', 'another run was under way')
    from fires f
    left join busy b on b.name = f.name
    where f.token not in (select token from claimed)
    order by 1, 2
    on conflict do nothing
)
select name, null::uuid from moved union all select name, token from claimed
"""

RECORD_SKIPS = """
insert into task_skips (name, first, last, count, reason, detail)
select s.name, s.first, s.last, s.count, s.reason, s.detail
from jsonb_to_recordset(%(skips)s) as s(
    name text, first timestamptz, last timestamptz, count bigint, reason text, detail text)
order by 1, 2
on conflict do nothing
"""

# Waiting work whose time has come and whose task is known here, one of a name at a time where it is exclusive. The
# name's cursor is locked so that it is not decided at the same moment; the unique index has the last word.
PICK_UP = f"""
with ready as (
    select c.name, c.scheduled_for, c.priority, c.turn, c.exclusive
    from task_claims c
    join task_cursors k on k.name = c.name
    where c.runner_id is null and c.queue = any(%(queues)s::text[]) and c.not_before <= statement_timestamp()
      and not (c.exclusive and exists (
        select from task_claims r where r.name = c.name and r.exclusive and r.runner_id is not null))
      and c.task = any(%(tasks)s::text[])
    order by c.priority desc, c.turn
    limit %(limit)s
    for update of c, k skip locked
), chosen as (
    select name, scheduled_for from (
        select name, scheduled_for, exclusive,
               row_number() over (partition by name order by priority desc, turn, scheduled_for) as place
        from ready) as ranked
    where place = 1 or not exclusive
)
update task_claims c
set runner_id = %(runner)s, token = gen_random_uuid(), claimed_at = clock_timestamp(), started_at = clock_timestamp()
from chosen w
where c.name = w.name and c.scheduled_for = w.scheduled_for
returning {COLUMNS}
"""


async def decide(
    link: Link, runner_id: UUID, moves: Sequence[Move], fires: Sequence[Wanted], skips: Sequence[Skip]
) -> tuple[set[str], set[UUID]]:
    """Move the cursors that are still where they were seen; returns the names moved and the tokens won.

    Whoever moved a cursor has decided. A fire of a moved name that is not won was skipped, and the skip is recorded.
    """
    params = {"runner": runner_id, "moves": as_rows(moves), "fires": as_rows(fires), "skips": as_rows(skips)}
    rows = await link.run(DECIDE, params)
    return {name for name, _ in rows}, {token for _, token in rows if token is not None}


async def record_skips(tx: Transaction, skips: Sequence[Skip]) -> None:
    """Write what was decided against outside of a runner, as by an edit."""
    await tx.run(RECORD_SKIPS, {"skips": as_rows(skips)})


async def pick_up(link: Link, runner_id: UUID, queues: Iterable[str], tasks: Iterable[str], limit: int) -> list[Claim]:
    """Own up to `limit` waiting claims that are due, most urgent first (the higher `priority`), then oldest."""
    params = {"runner": runner_id, "queues": list(queues), "tasks": list(tasks), "limit": limit}
    try:
        return [Claim(*row) for row in await link.run(PICK_UP, params)]
    except UniqueViolation:
        # Another runner decided the same name between this statement's snapshot and its lock; the next try sees it.
        return []
