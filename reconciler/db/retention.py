"""What history is kept, and how the rest goes: in small transactions, so that a prune never holds anybody up.

A name's rows are kept as its own spec says (`history.keep`: how long; `history.keep_last`: how many at most), those
of a name without a config for a default time. The newest execution of a name always stays, and so does every
revision: a spec that once was in force can always be named.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.db.link import Statements
from reconciler.durations import parse_duration

KEEP = timedelta(days=30)
NAMES_AT_ONCE = 200

# The next names of a table, each found by one step in the index and not by reading its rows.
NAMES = """
with recursive found as (
    (select t.name, 1 as place from {table} t where t.name > %(after)s order by t.name limit 1)
    union all
    select n.name, f.place + 1 from found f
    cross join lateral (select t.name from {table} t where t.name > f.name order by t.name limit 1) as n
    where f.place < %(limit)s
)
select f.name, c.spec -> 'history' ->> 'keep', (c.spec -> 'history' ->> 'keep_last')::bigint
from found f
left join task_configs c on c.name = f.name
order by f.name
"""

# At most `each` rows a name, oldest first: what ended too long ago, and what is too many. The newest row is the last
# boundary there is. Two prunes at once skip each other's rows. Returns how many rows of which name went.
EXECUTIONS = """
with gone as (
    delete from task_executions e
    using (
        select v.name, v.scheduled_for
        from unnest(%(names)s::text[], %(befores)s::timestamptz[], %(keep_lasts)s::bigint[])
            as w(name, before, keep_last)
        cross join lateral (
            select x.scheduled_for from task_executions x where x.name = w.name
            order by x.scheduled_for desc limit 1
        ) as newest
        left join lateral (
            select x.scheduled_for from task_executions x where x.name = w.name and w.keep_last is not null
            order by x.scheduled_for desc offset w.keep_last - 1 limit 1
        ) as kept on true
        cross join lateral (
            select x.name, x.scheduled_for from task_executions x
            where x.name = w.name
              and x.scheduled_for < least(newest.scheduled_for, greatest(w.before, kept.scheduled_for))
              and (x.finished_at < w.before or x.scheduled_for < kept.scheduled_for)
            order by x.scheduled_for limit %(each)s
            for update skip locked
        ) as v
    ) as victims
    where e.name = victims.name and e.scheduled_for = victims.scheduled_for
    returning e.name
)
select name, count(*) from gone group by name
"""

SKIPS = """
with gone as (
    delete from task_skips s
    using (
        select v.name, v.first
        from unnest(%(names)s::text[], %(befores)s::timestamptz[]) as w(name, before)
        cross join lateral (
            select x.name, x.first from task_skips x
            where x.name = w.name and x.first < w.before and x.last < w.before
            order by x.first limit %(each)s
            for update skip locked
        ) as v
    ) as victims
    where s.name = victims.name and s.first = victims.first
    returning s.name
)
select name, count(*) from gone group by name
"""

# The last pass of a source stays, and every pass that a revision in the history names.
SYNCS = """
with gone as (
    delete from syncs where id in (
        select s.id from syncs s
        join (select source, max(id) as id from syncs group by source) last
          on last.source = s.source and last.id > s.id
        where s.finished_at < %(before)s
          and not exists (select from task_revisions r where r.sync_id = s.id)
        order by s.id limit %(limit)s
        for update of s skip locked)
    returning 1
)
select count(*) from gone
"""

# Whether a runner is alive is seen in its beat, and not here: only the caller knows that this age is beyond doubt.
RUNNERS = """
with gone as (
    delete from runners r
    where r.started_at < %(before)s and not exists (select from task_claims c where c.runner_id = r.id)
    returning 1
)
select count(*) from gone
"""


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows of each kind went."""

    executions: int
    skips: int
    syncs: int
    runners: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one name: what ended at `before` or later, at most `keep_last` rows."""

    name: str
    before: datetime
    keep_last: int | None


async def prune(
    link: Statements,
    now: datetime,
    *,
    keep: timedelta = KEEP,
    batch: int = 1000,
    runners_before: datetime | None = None,
) -> Pruned:
    """Remove history past its time, at most `batch` rows a transaction.

    `keep` is for names without a config and for syncs. Registered runners go only where `runners_before` is
    given: those started before it that own nothing.
    """
    executions = await _expire(link, EXECUTIONS, "task_executions", now, keep, batch)
    skips = await _expire(link, SKIPS, "task_skips", now, keep, batch)
    syncs = 0
    while gone := await _count(link, SYNCS, {"before": now - keep, "limit": batch}):
        syncs += gone
    runners = await _count(link, RUNNERS, {"before": runners_before}) if runners_before else 0
    return Pruned(executions, skips, syncs, runners)


async def _expire(link: Statements, statement: str, table: str, now: datetime, keep: timedelta, batch: int) -> int:
    removed = 0
    async for chunk in _names(link, table, now, keep):
        rest = chunk
        while rest:
            each = max(1, batch // len(rest))
            gone: dict[str, int] = dict(await link.run(statement, _asked(rest, each)))
            removed += sum(gone.values())
            # A name that gave all it was asked for may have more; fewer names then give more each.
            rest = [kept for kept in rest if gone.get(kept.name) == each]
    return removed


async def _names(link: Statements, table: str, now: datetime, keep: timedelta) -> AsyncIterator[list[Kept]]:
    after, statement = "", NAMES.format(table=table)
    while rows := await link.run(statement, {"after": after, "limit": NAMES_AT_ONCE}):
        after = rows[-1][0]
        yield [Kept(name, now - (parse_duration(own) if own else keep), last) for name, own, last in rows]


def _asked(kept: Sequence[Kept], each: int) -> dict[str, object]:
    return {
        "names": [one.name for one in kept],
        "befores": [one.before for one in kept],
        "keep_lasts": [one.keep_last for one in kept],
        "each": each,
    }


async def _count(link: Statements, statement: str, params: dict[str, object]) -> int:
    [(count,)] = await link.run(statement, params)
    return int(count)
