"""How a batch of decisions is written: the two forms of the one statement that moves cursors and hands out claims.

`PLAIN` is for occurrences that start now or are skipped. `FULL` knows what may have to wait, too: a backlog, a queue
with a limit, `overlap: queue` and `replace`; that costs a tenth more, so it is kept for the batches that need it.
Both apply the rule of `reconciler.overlap`.
"""

from __future__ import annotations

from reconciler.overlap import REPLACED_BY


def _written(instant: str) -> str:
    return f"""to_char({instant} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""


# `not in` a CTE is hashed, where a join or `not exists` would be a nested loop by the planner's guess of its size.
# A name whose cursor, digest or pause is not what the runner saw moves nowhere and gets nothing.
_MOVED = """
with wanted as materialized (
    select * from jsonb_to_recordset(%(moves)s) as m(name text, digest text, seen timestamptz, through timestamptz)
), pauses as materialized (
    select o.selector from task_overrides o
    where o.name is null and o.kind = 'pause' and o.ended_at is null
      and (o.expires_at is null or o.expires_at > clock_timestamp())
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
      and not exists (select from pauses p where c.spec -> 'labels' @> p.selector)
    order by k.name
    for update of k skip locked
), moved as (
    update task_cursors k set through = l.through from locked l where k.name = l.name returning k.name, l.digest
), fires as materialized (
    select f.name, f.scheduled_for, f.task, f.token, f.queue, f.priority, f.trigger, f.exclusive, m.digest,
           coalesce(f.turn, 0) as turn, f.start_by, coalesce(f.overlap, 'skip') as overlap,
           coalesce(f.waits, false) as waits, coalesce(f.is_backlog, false) as is_backlog
    from jsonb_to_recordset(%(fires)s) as f(
        name text, scheduled_for timestamptz, task text, token uuid, queue text, priority int, trigger text,
        exclusive bool, turn bigint, start_by timestamptz, overlap text, waits bool, is_backlog bool)
    join moved m on m.name = f.name
)"""

# Claims that an instant of the same name does not run beside: owned, in back-off (it holds no slot, and the unique
# index does not see it), or due by the schedule and not started.
_IS_BUSY = """c.exclusive and (
        c.runner_id is not null or c.attempts <> '[]'::jsonb or c.trigger in ('schedule', 'catch_up'))"""
_IS_WAITING = "c.runner_id is null and c.attempts = '[]'::jsonb"

_BUSY = f"""
    select c.name, min(c.scheduled_for) filter (where {_IS_WAITING}) as waiting,
           min(c.scheduled_for) filter (where not ({_IS_WAITING})) as going
    from fires f
    join task_claims c on c.name = f.name and {_IS_BUSY}
    where f.exclusive
    group by c.name"""

# The unique index on owned exclusive claims has the last word; who has a row already does not run again.
_CLAIMED = """
    insert into task_claims (name, scheduled_for, task, token, runner_id, not_before, queue, priority, trigger, digest,
                             exclusive, claimed_at, started_at, turn, start_by)
    select f.name, f.scheduled_for, f.task, f.token, %(runner)s, f.scheduled_for, f.queue, f.priority, f.trigger,
           f.digest, f.exclusive, clock_timestamp(), clock_timestamp(), f.turn, f.start_by
    from {fires}
      and not exists (
        select from task_executions e where e.name = f.name and e.scheduled_for = f.scheduled_for)
    order by f.name, f.scheduled_for
    on conflict do nothing
    returning name, scheduled_for, token"""

_GIVEN = """
    select s.name, s.first, s.last, s.count, s.reason, s.detail
    from jsonb_to_recordset(%(skips)s) as s(
        name text, first timestamptz, last timestamptz, count bigint, reason text, detail text)
    join moved m on m.name = s.name"""

# What has a row or a claim of another kind at that very instant gets its verdict from there. From a CTE of the few that
# were lost, and said with `or`, which keeps the planner from joining: all fires would be looked up otherwise.
_OVERLAPPED = f"""
    select f.name, f.scheduled_for, f.scheduled_for, 1, 'overlap',
           coalesce('the run of ' || {_written("f.waiting")} || ' was still waiting',
                    'the run of ' || {_written("f.going")} || ' was still going', 'another run was under way')
    from lost f
    where not (
        exists (select from task_executions e where e.name = f.name and e.scheduled_for = f.scheduled_for)
        or exists (select from task_claims c where c.name = f.name and c.scheduled_for = f.scheduled_for))"""

# What was written, not what was wanted: a skip that stood already is not one more.
_COUNTED = """
union all select reason, null, 'skipped', sum(coalesce(count, 1))::bigint from skipped group by reason"""

PLAIN = f"""{_MOVED}, busy as ({_BUSY}
), claimed as ({_CLAIMED.format(fires="fires f where f.name not in (select name from busy)")}
), lost as materialized (
    select f.name, f.scheduled_for, b.waiting, b.going
    from fires f
    left join busy b on b.name = f.name
    where f.token not in (select token from claimed)
), skipped as (
    insert into task_skips (name, first, last, count, reason, detail){_GIVEN}
    union all{_OVERLAPPED}
    order by 1, 2
    on conflict do nothing
    returning reason, count
)
select name, null::uuid, null::text, null::bigint from moved
union all select name, token, null, null from claimed{_COUNTED}
"""

# `replaced` locks what it reads, and so sees a claim that was picked up a moment ago as what it is now.
FULL = f"""{_MOVED}, replaced as materialized (
    select c.name, c.scheduled_for, {_IS_WAITING} as is_waiting
    from task_claims c
    where c.name in (select f.name from fires f where f.overlap = 'replace') and {_IS_BUSY}
    order by c.name, c.scheduled_for
    for update of c
), replacing as (
    select f.name, {
    _written("min(f.scheduled_for)")
} as instant from fires f where f.overlap = 'replace' group by f.name
), asked as (
    update task_claims c set cancel_requested = '{REPLACED_BY}' || n.instant
    from replaced r
    join replacing n on n.name = r.name
    where c.name = r.name and c.scheduled_for = r.scheduled_for and not r.is_waiting and c.cancel_requested is null
    returning c.name
), dropped as (
    delete from task_claims c
    using replaced r
    join replacing n on n.name = r.name
    where c.name = r.name and c.scheduled_for = r.scheduled_for and r.is_waiting
    returning c.name, c.scheduled_for, n.instant
), busy as ({_BUSY}
), judged as materialized (
    select f.*, b.waiting, b.going,
        case
            when f.overlap = 'replace' then f.waits or f.name in (select name from replaced)
            when b.waiting is not null then null
            when b.going is null then f.waits
            when f.overlap = 'queue' or f.is_backlog then true
        end as has_to_wait
    from fires f
    left join busy b on b.name = f.name
), claimed as ({_CLAIMED.format(fires="judged f where not f.has_to_wait")}
), beside as (
    select c.name, max(c.turn) as turn
    from task_claims c
    where c.name in (select f.name from judged f where f.has_to_wait and not f.exclusive)
      and c.trigger in ('schedule', 'catch_up') and {_IS_WAITING}
    group by c.name
), queued as (
    insert into task_claims (name, scheduled_for, task, not_before, queue, priority, trigger, digest, exclusive, turn,
                             start_by)
    select f.name, f.scheduled_for, f.task, f.scheduled_for, f.queue, f.priority, f.trigger, f.digest, f.exclusive,
           greatest(f.turn, b.turn + row_number() over (partition by f.name order by f.scheduled_for)), f.start_by
    from judged f
    left join beside b on b.name = f.name
    where (f.has_to_wait or not f.has_to_wait and f.overlap in ('queue', 'replace')
                            and f.token not in (select token from claimed))
      and not exists (
        select from task_executions e where e.name = f.name and e.scheduled_for = f.scheduled_for)
    order by f.name, f.scheduled_for
    on conflict do nothing
    returning name, scheduled_for
), lost as materialized (
    select f.name, f.scheduled_for, f.waiting, f.going
    from judged f
    where f.token not in (select token from claimed)
      and (f.name, f.scheduled_for) not in (select name, scheduled_for from queued)
), skipped as (
    insert into task_skips (name, first, last, count, reason, detail){_GIVEN}
    union all
    select d.name, d.scheduled_for, d.scheduled_for, 1, 'overlap', '{REPLACED_BY}' || d.instant from dropped d
    union all{_OVERLAPPED}
    order by 1, 2
    on conflict do nothing
    returning reason, count
)
select name, null::uuid, null::text, null::bigint from moved
union all select name, token, null, null from claimed
union all (select name, null, 'waits', null from queued limit 1)
union all (select name, null, 'asked', null from asked limit 1){_COUNTED}
"""
