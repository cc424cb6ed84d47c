"""Which rows are past their time: one statement a table, each in a form that removes and one that only counts.

What a statement removes it takes oldest first, at most so many rows at once, past any row that another transaction
holds; and only while nobody else removes: the lock goes with the transaction. How long what is kept is not known here.
"""

from __future__ import annotations

from typing import Final

# The next names of a table, each found by one step in the index and not by reading its rows.
NAMES: Final = """
with recursive found as (
    (select t.name, 1 as place from {table} t where t.name > %(after)s order by t.name limit 1)
    union all
    select n.name, f.place + 1 from found f
    cross join lateral (select t.name from {table} t where t.name > f.name order by t.name limit 1) as n
    where f.place < %(limit)s
)
select f.name, c.spec -> 'history' ->> 'keep', (c.spec -> 'history' ->> 'keep_last')::bigint,
       c.spec -> 'history' ->> 'keep_logs'
from found f
left join task_configs c on c.name = f.name
order by f.name
"""

# The longest that any spec keeps anything.
KEEPS: Final = "select distinct spec -> 'history' ->> 'keep' from task_configs"

# By place in the table, whatever the planner guesses of the numbers: a join would one day read ten million rows.
REMOVE: Final = """
with turn as materialized (
    select pg_try_advisory_xact_lock(7216) as is_mine
), gone as (
    {change} where t.ctid = any (array(
        select v.place from turn cross join lateral ({victims}) as v where turn.is_mine))
    returning {name} as name
)
select turn.is_mine, g.name, g.count
from turn left join (select name, count(*) as count from gone group by name) as g on true
"""

COUNT: Final = "select true, v.name, count(*) from ({victims}) as v group by v.name"

# Of each name: what ended too long ago, and what is too many. The newest row is the last boundary there is.
EXECUTIONS: Final = """
select x.ctid as place, x.name
from unnest(%(names)s::text[], %(befores)s::timestamptz[], %(keep_lasts)s::bigint[]) as w(name, before, keep_last)
cross join lateral (
    select x.scheduled_for from task_executions x where x.name = w.name
    order by x.scheduled_for desc limit 1
) as newest
left join lateral (
    select x.scheduled_for from task_executions x where x.name = w.name and w.keep_last is not null
    order by x.scheduled_for desc offset w.keep_last - 1 limit 1
) as kept on true
cross join lateral (
    select x.ctid, x.name from task_executions x
    where x.name = w.name
      and x.scheduled_for < least(newest.scheduled_for, greatest(w.before, kept.scheduled_for))
      and (x.finished_at < w.before or x.scheduled_for < kept.scheduled_for)
    order by x.scheduled_for limit %(each)s {lock}
) as x
"""

# The condition of the partial index, word for word. What says nothing any more leaves the index.
LOGS: Final = """
select x.ctid as place, x.name
from unnest(%(names)s::text[], %(logs_befores)s::timestamptz[]) as w(name, before)
cross join lateral (
    select x.ctid, x.name from task_executions x
    where x.name = w.name and (x.log is not null or x.traceback is not null)
      and x.scheduled_for < w.before and x.finished_at < w.before
    order by x.scheduled_for limit %(each)s {lock}
) as x
where w.before is not null
"""

# To count: of the logs those whose rows do not go as well.
LOGS_OF_WHAT_STAYS: Final = f"select l.place, l.name from ({LOGS}) as l except ({EXECUTIONS})"

SKIPS: Final = """
select x.ctid as place, x.name
from unnest(%(names)s::text[], %(befores)s::timestamptz[]) as w(name, before)
cross join lateral (
    select x.ctid, x.name from task_skips x
    where x.name = w.name and x.first < w.before and x.last < w.before
    order by x.first limit %(each)s {lock}
) as x
"""

# A pause stays for as long as instants inside it are not decided.
PAUSES: Final = """
select x.ctid as place, x.name
from unnest(%(names)s::text[], %(befores)s::timestamptz[]) as w(name, before)
left join task_cursors k on k.name = w.name
cross join lateral (
    select x.ctid, x.name from task_overrides x
    where x.name = w.name and least(x.ended_at, x.expires_at) < least(w.before, k.through)
    order by x.created_at limit %(each)s {lock}
) as x
"""

SELECTED_PAUSES: Final = """
select x.ctid as place, ''::text as name from task_overrides x
where x.name is null and least(x.ended_at, x.expires_at) < %(longest_before)s
order by x.id limit %(limit)s {lock}
"""

# The last pass of a source stays, and every pass that a revision in the history names, or that deleted something: by
# those a rollback knows what was in force before them.
SYNCS: Final = """
select x.ctid as place, ''::text as name
from syncs x
join (select source, max(id) as id from syncs group by source) last on last.source = x.source and last.id > x.id
where x.finished_at < %(before)s and x.deleted = 0
  and not exists (select from task_revisions r where r.sync_id = x.id)
order by x.id limit %(limit)s {lock}
"""

RUNNERS: Final = """
select x.ctid as place, ''::text as name from runners x
where x.ended_at < %(before)s and not exists (select from task_claims c where c.runner_id = x.id)
order by x.ended_at limit %(limit)s {lock}
"""

OUTAGES: Final = """
select x.ctid as place, ''::text as name from outages x
where x.ended_at < %(before)s
order by x.ended_at limit %(limit)s {lock}
"""

DRIFTS: Final = """
select x.ctid as place, ''::text as name from drifts x
where x.ended_at < %(before)s
order by x.seen_at limit %(limit)s {lock}
"""

# What is still to be told of an incident is told first.
INCIDENTS: Final = """
select x.ctid as place, ''::text as name from incidents x
where x.closed_at < %(before)s and x.due_at is null
order by x.id limit %(limit)s {lock}
"""
