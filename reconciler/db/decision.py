"""How a batch of decisions is written: the two forms of the one statement that moves cursors and hands out claims.

`PLAIN` is for occurrences that start now or are skipped. `FULL` knows what may have to wait, too: a backlog, a queue
with a limit, `overlap: queue` and `replace`. Both apply the rule of `reconciler.overlap`, and answer only what did
not go as it was wanted.

`PLAIN` is planned once, with whatever the tables hold at that moment, and perhaps with nothing in them: so it leaves
the planner no choice. A table is reached from each row of a CTE through `lateral` with `offset 0`, which only an index
can answer, or by the place of a row that is locked; two CTEs meet in `not in`, which is hashed. `FULL` is planned anew
each time.
"""

from __future__ import annotations

from reconciler.overlap import REPLACED_BY


def _written(instant: str) -> str:
    return f"""to_char({instant} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""


# A pause that stands in the way: one that is active, or for what is remembered any that the runner may not know of.
def _is_in_the_way(pause: str, move: str) -> str:
    return f"""case when {move}.is_remembered
        then coalesce(least({pause}.ended_at, {pause}.expires_at), 'infinity') > {move}.seen
        else {pause}.ended_at is null and ({pause}.expires_at is null or {pause}.expires_at > clock_timestamp())
        end"""


# A name whose cursor, digest or pause is not what the runner saw moves nowhere and gets nothing.
_MOVED = f"""
with wanted as materialized (
    select * from unnest(
        %(names)s::text[], %(digests)s::text[], %(seen)s::timestamptz[], %(through)s::timestamptz[],
        %(revisions)s::text[], %(remembered)s::bool[]
    ) as m(name, digest, seen, through, revision, is_remembered)
), pauses as materialized (
    select o.selector, o.ended_at, o.expires_at from task_overrides o
    where o.name is null and o.kind = 'pause'
      and coalesce(least(o.ended_at, o.expires_at), 'infinity')
          > least(clock_timestamp(), (select min(w.seen) from wanted w))
), locked as (
    select w.name, w.through, k.place
    from (select * from wanted order by name) w
    cross join lateral (
        select from task_configs c
        where c.name = w.name and c.digest = w.digest and (c.spec ->> 'suspend') is distinct from 'true'
          and (not w.is_remembered or c.revision is not distinct from w.revision)
          and not exists (select from pauses o where c.spec -> 'labels' @> o.selector and {_is_in_the_way("o", "w")})
        offset 0) c
    cross join lateral (
        select k.ctid as place from task_cursors k where k.name = w.name and k.through = w.seen
        for update skip locked) k
    where not exists (
        select from task_overrides o where o.name = w.name and o.kind = 'pause' and {_is_in_the_way("o", "w")} offset 0)
), moved as (
    update task_cursors k set through = l.through from locked l where k.ctid = l.place returning l.name
), unmoved as materialized (
    select w.name from wanted w where w.name not in (select name from moved)
), fires as materialized (
    select * from unnest(
        %(fire_names)s::text[], %(fire_instants)s::timestamptz[], %(tasks)s::text[], %(tokens)s::uuid[],
        %(queues)s::text[], %(priorities)s::int8[], %(triggers)s::text[], %(exclusive)s::bool[],
        %(turns)s::int8[], %(start_bys)s::timestamptz[], %(fire_digests)s::text[]{{more_values}}
    ) as f(name, scheduled_for, task, token, queue, priority, trigger, exclusive, turn, start_by, digest{{more}})
    where f.name not in (select name from unmoved)
)"""
_PLAINLY_MOVED = _MOVED.format(more_values="", more="")
_FULLY_MOVED = _MOVED.format(
    more_values=", %(overlaps)s::text[], %(waits)s::bool[], %(backlogs)s::bool[]", more=", overlap, waits, is_backlog"
)

# Claims that an instant of the same name does not run beside: owned, in back-off (it holds no slot, and the unique
# index does not see it), or due by the schedule and not started.
_IS_BUSY = """c.exclusive and (
        c.runner_id is not null or c.attempts <> '[]'::jsonb or c.trigger in ('schedule', 'catch_up'))"""
_IS_WAITING = "c.runner_id is null and c.attempts = '[]'::jsonb"

_BUSY = f"""
    cross join lateral (
        select min(c.scheduled_for) filter (where {_IS_WAITING}) as waiting,
               min(c.scheduled_for) filter (where not ({_IS_WAITING})) as going
        from task_claims c
        where f.exclusive and c.name = f.name and {_IS_BUSY}) b"""

# The unique index on owned exclusive claims has the last word; who has a row already does not run again.
_HAS_NO_ROW = """not exists (
        select from task_executions e where e.name = f.name and e.scheduled_for = f.scheduled_for offset 0)"""
_CLAIMED = f"""
    insert into task_claims (name, scheduled_for, task, token, runner_id, not_before, queue, priority, trigger, digest,
                             exclusive, claimed_at, started_at, turn, start_by)
    select f.name, f.scheduled_for, f.task, f.token, %(runner)s, f.scheduled_for, f.queue, f.priority, f.trigger,
           f.digest, f.exclusive, clock_timestamp(), clock_timestamp(), f.turn, f.start_by
    from {{fires}}
      and {_HAS_NO_ROW}
    order by f.name, f.scheduled_for
    on conflict do nothing
    returning token"""

_GIVEN = """
    select s.name, s.first, s.last, s.count, s.reason, s.detail
    from unnest(
        %(skip_names)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[], %(counts)s::int8[],
        %(reasons)s::text[], %(details)s::text[]
    ) as s(name, first, last, count, reason, detail)
    where s.name not in (select name from unmoved)"""

# What has a row or a claim of another kind at that very instant gets its verdict from there.
_OVERLAPPED = f"""
    select f.name, f.scheduled_for, f.scheduled_for, 1, 'overlap',
           coalesce('the run of ' || {_written("f.waiting")} || ' was still waiting',
                    'the run of ' || {_written("f.going")} || ' was still going', 'another run was under way')
    from lost f
    where {_HAS_NO_ROW}
      and not exists (
        select from task_claims c where c.name = f.name and c.scheduled_for = f.scheduled_for offset 0)"""

# What was written, not what was wanted: a skip that stood already is not one more.
_ANSWER = """
select name, null::uuid as token, 'unmoved' as note, null::bigint as count from unmoved
union all select null, token, 'lost', null from fires where token not in (select token from claimed)
union all select reason, null, 'skipped', sum(coalesce(count, 1))::bigint from skipped group by reason"""

PLAIN = f"""{_PLAINLY_MOVED}, busy as (
    select f.name from fires f
    where f.exclusive and exists (select from task_claims c where c.name = f.name and {_IS_BUSY} offset 0)
), claimed as ({_CLAIMED.format(fires="fires f where f.name not in (select name from busy)")}
), lost as materialized (
    select f.name, f.scheduled_for, b.waiting, b.going
    from (select * from fires f where f.token not in (select token from claimed)) f{_BUSY}
), skipped as (
    insert into task_skips (name, first, last, count, reason, detail){_GIVEN}
    union all{_OVERLAPPED}
    order by 1, 2
    on conflict do nothing
    returning reason, count
){_ANSWER}
"""

# `replaced` locks what it reads, and so sees a claim that was picked up a moment ago as what it is now.
FULL = f"""{_FULLY_MOVED}, replaced as materialized (
    select f.name, f.instant, r.scheduled_for, r.is_waiting
    from (
        select f.name, {_written("min(f.scheduled_for)")} as instant
        from fires f where f.overlap = 'replace' group by f.name order by f.name) f
    cross join lateral (
        select c.scheduled_for, {_IS_WAITING} as is_waiting
        from task_claims c
        where c.name = f.name and {_IS_BUSY}
        order by c.scheduled_for
        for update of c) r
), asked as (
    update task_claims c set cancel_requested = '{REPLACED_BY}' || r.instant
    from replaced r
    where c.name = r.name and c.scheduled_for = r.scheduled_for and not r.is_waiting and c.cancel_requested is null
    returning c.name
), dropped as (
    delete from task_claims c
    using replaced r
    where c.name = r.name and c.scheduled_for = r.scheduled_for and r.is_waiting
    returning c.name, c.scheduled_for, r.instant
), judged as materialized (
    select f.*, b.waiting, b.going,
        case
            when f.overlap = 'replace' then f.waits or f.name in (select name from replaced)
            when b.waiting is not null then null
            when b.going is null then f.waits
            when f.overlap = 'queue' or f.is_backlog then true
        end as has_to_wait
    from fires f{_BUSY}
), claimed as ({_CLAIMED.format(fires="judged f where not f.has_to_wait")}
), queued as (
    insert into task_claims (name, scheduled_for, task, not_before, queue, priority, trigger, digest, exclusive, turn,
                             start_by)
    select f.name, f.scheduled_for, f.task, f.scheduled_for, f.queue, f.priority, f.trigger, f.digest, f.exclusive,
           greatest(f.turn, b.turn + row_number() over (partition by f.name order by f.scheduled_for)), f.start_by
    from judged f
    cross join lateral (
        select max(c.turn) as turn from task_claims c
        where f.has_to_wait and not f.exclusive and c.name = f.name and c.trigger in ('schedule', 'catch_up')
          and {_IS_WAITING}) b
    where (f.has_to_wait or not f.has_to_wait and f.overlap in ('queue', 'replace')
                            and f.token not in (select token from claimed))
      and {_HAS_NO_ROW}
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
){_ANSWER}
union all (select null, null, 'waits', null from queued limit 1)
union all (select null, null, 'asked', null from asked limit 1)
"""
