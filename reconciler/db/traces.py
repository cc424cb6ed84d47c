"""What is asked of PostgreSQL about one name's past: a statement for each kind of row (see `evidence`).

Each goes by an index and stops at a limit, so that a long history costs no more than a short one.
"""

from __future__ import annotations

CURSOR = """
select clock_timestamp(), (select through from task_cursors where name = %(name)s),
       (select scheduled_for from task_executions where name = %(name)s order by scheduled_for limit 1)
"""

# What was removed names no commit: the sync of its source that removed something at that moment does.
REVISIONS = """
select r.digest, r.spec, r.applied_at, r.removed_at, s.revision, s.author, s.subject, s.actor,
       gone.revision, gone.author, gone.subject, gone.actor, gone.actor is not null
from (
    (select * from task_revisions where name = %(name)s and applied_at < %(since)s
     order by applied_at desc, id desc limit %(around)s)
    union all
    (select * from task_revisions where name = %(name)s and applied_at >= %(since)s
     order by applied_at, id limit %(limit)s)
) as r
left join syncs s on s.id = r.sync_id
left join lateral (
    select g.revision, g.author, g.subject, g.actor
    from syncs g
    where r.removed_at is not null and g.source = s.source and g.deleted > 0 and g.started_at <= r.removed_at
    order by g.started_at desc limit 1
) as gone on true
order by r.applied_at, r.id
"""

CLAIMS = """
select c.scheduled_for, c.trigger, c.queue, c.not_before, case when c.runner_id is not null then c.started_at end,
       n.host || ':' || n.pid, c.attempts, c.replays, c.actor, c.exclusive, c.start_by, c.progress, c.cancel_requested
from task_claims c
left join runners n on n.id = c.runner_id
where c.name = %(name)s
order by c.scheduled_for limit %(limit)s
"""

SKIP_COLUMNS = "first, last, count, reason, detail"
# Newest first: what begins in the range, then what may reach into it.
SKIPS_BEFORE = f"""
(select {SKIP_COLUMNS} from task_skips where name = %(name)s and first > %(since)s and first <= %(until)s
 order by first desc limit %(limit)s)
union all
(select * from (
    select {SKIP_COLUMNS} from task_skips where name = %(name)s and first <= %(since)s
    order by first desc limit %(behind)s) as behind
 where last >= %(since)s or %(is_one)s)
"""
SKIPS_AFTER = f"""
select {SKIP_COLUMNS} from task_skips where name = %(name)s and first > %(until)s order by first limit %(limit)s
"""

RUN_COLUMNS = """scheduled_for, started_at, finished_at, is_success, trigger, error, attempts, replays, runner, actor,
       digest, revision"""
RUNS_BEFORE = f"""
select {RUN_COLUMNS} from task_executions
where name = %(name)s and scheduled_for <= %(until)s and (scheduled_for > %(since)s or %(is_one)s)
order by scheduled_for desc limit %(limit)s
"""
RUNS_AFTER = f"""
select {RUN_COLUMNS} from task_executions where name = %(name)s and scheduled_for > %(until)s
order by scheduled_for limit %(limit)s
"""
RUNS_AT = f"""
select {RUN_COLUMNS} from task_executions where name = %(name)s and scheduled_for = any(%(instants)s::timestamptz[])
"""
# The condition of the partial index, word for word.
RERUNS = f"""
select {RUN_COLUMNS} from task_executions
where name = %(name)s and replays = any(%(instants)s::timestamptz[]) and replays is not null
order by replays, scheduled_for limit %(limit)s
"""

OF_NAME = """
select created_at, least(ended_at, expires_at), actor, reason, null::jsonb from task_overrides
where name = %(name)s and kind = 'pause' and created_at <= %(until)s
  and coalesce(least(ended_at, expires_at), 'infinity') > %(since)s
order by created_at desc limit %(limit)s
"""
# Few, and soon forgotten.
OF_LABELS = """
select created_at, least(ended_at, expires_at), actor, reason, selector from task_overrides
where name is null and kind = 'pause' and created_at <= %(until)s
  and coalesce(least(ended_at, expires_at), 'infinity') > %(since)s
order by created_at desc limit %(limit)s
"""

# Who could have run it, one that has gone too; who has not been seen for long was gone from then on.
RUNNERS = """
select host || ':' || pid, started_at,
       case when ended_at is not null then least(ended_at, case ending when 'died' then seen_at else ended_at end)
            when seen_at < clock_timestamp() - make_interval(secs => lease * %(leases)s / 1000.0) then seen_at end,
       ending
from runners
where (started_at <= %(until)s or ended_at is null) and tasks ?| %(tasks)s::text[] and queues ?| %(queues)s::text[]
order by started_at desc limit %(limit)s
"""

OUTAGES = """
select runner, what, began_at, ended_at from outages
where ended_at >= %(since)s and began_at <= %(until)s
order by ended_at limit %(limit)s
"""

NAMES = """
with recursive known as (
    (select name from task_revisions order by name limit 1)
    union all
    select (select r.name from task_revisions r where r.name > k.name order by r.name limit 1) from known k
    where k.name is not null
)
select name from known where name is not null
"""

IS_KNOWN = """
select exists (select from task_revisions where name = %(name)s)
    or exists (select from task_configs where name = %(name)s)
"""
