"""What follows from how runs ended: occurrences of those that wait for others' success, and pauses after failures.

Both are asked again and again, of what stands in the tables: whoever asks, and however often, each comes about once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.db.byhand import CANCELLED_BY
from reconciler.db.link import Link, Statements, Transaction
from reconciler.db.overrides import IS_ACTIVE, TURN
from reconciler.lines import first_line
from reconciler.overlap import REPLACED_BY

# From when an upstream's success counts, where nobody has said so yet: an earlier version did not.
BEGIN = """
update task_cursors k set after_through = clock_timestamp()
from task_configs c
where c.spec -> 'after' <> '[]'::jsonb and k.name = c.name and k.after_through is null
"""

# Never backwards, as cursors are.
WAIT_ANEW = """
update task_cursors set after_through = greatest(after_through, %(now)s) where name = any(%(names)s::text[])
"""

UPSTREAMS = """
select c.name, array(select jsonb_array_elements_text(c.spec -> 'after'))
from task_configs c where c.spec -> 'after' <> '[]'::jsonb
"""

# Two statements, since one with `names is null or …` would look at everybody for the sake of a few.
_OF_THESE = "c.name = any(%(names)s::text[])"

AWAITED = """
select u.upstream, (
    select e.scheduled_for from task_executions e
    where e.name = u.upstream and e.is_success and e.scheduled_for > k.after_through
    order by e.scheduled_for limit 1)
from task_configs c
join task_cursors k on k.name = c.name
cross join lateral jsonb_array_elements_text(c.spec -> 'after') with ordinality as u(upstream, place)
where c.name = %(name)s
order by u.place
"""

# The rule of `reconciler.after`, of all names at once. `until` is the instant at which the
# last of them did, and each counts with its newest success up to there. So what came after `until` is not used up, and
# names with the same schedule meet at each instant, however seldom anybody looks. The smallest of these successes is
# the occurrence's instant, a millisecond later where that one is taken. The cursor moves only with what it was moved
# for: a claim that another took the place of is tried again by the next call, which sees it. (`exists` would be hashed
# over the whole history where many come at once; a scalar subquery is not.)
FOLLOW = f"""
with followers as materialized (
    select c.name, c.digest, c.spec, k.after_through as seen, w.turn
    from task_configs c
    join task_cursors k on k.name = c.name and k.after_through is not null
    cross join lateral (
        select count(*) as waiting, max(m.turn) + 1 as turn
        from (select t.turn from task_claims t where t.name = c.name and t.trigger = 'after' and t.runner_id is null
              limit %(most)s) as m
    ) w
    where c.spec -> 'after' <> '[]'::jsonb and (c.spec ->> 'suspend') is distinct from 'true'
      and {_OF_THESE} and w.waiting < %(most)s
), reached as materialized (
    select f.*, r.until
    from followers f
    cross join lateral (
        select max(o.first) as until, bool_and(o.first is not null) as is_reached
        from jsonb_array_elements_text(f.spec -> 'after') as u(upstream)
        left join lateral (
            select e.scheduled_for as first from task_executions e
            where e.name = u.upstream and e.is_success and e.scheduled_for > f.seen
            order by e.scheduled_for limit 1
        ) o on true
    ) r
    where r.is_reached
), met as materialized (
    select r.*, n.instant
    from reached r
    cross join lateral (
        select min(o.newest) as instant
        from jsonb_array_elements_text(r.spec -> 'after') as u(upstream)
        cross join lateral (
            select e.scheduled_for as newest from task_executions e
            where e.name = u.upstream and e.is_success and e.scheduled_for > r.seen and e.scheduled_for <= r.until
            order by e.scheduled_for desc limit 1
        ) o
    ) n
), locked as materialized (
    select m.*
    from met m
    join task_cursors k on k.name = m.name and k.after_through = m.seen
    order by k.name
    for update of k skip locked
), judged as materialized (
    select l.*, p.detail, case
        when (select true from task_claims t where t.name = l.name and t.scheduled_for = l.instant) is null
         and (select true from task_executions e where e.name = l.name and e.scheduled_for = l.instant) is null
        then l.instant
        else (
            select at from generate_series(l.instant, l.instant + interval '1 s', interval '1 ms') as at
            where not exists (select from task_claims t where t.name = l.name and t.scheduled_for = at)
              and not exists (select from task_executions e where e.name = l.name and e.scheduled_for = at)
            order by at limit 1)
        end as at
    from locked l
    left join lateral (
        select 'paused by ' || o.actor || coalesce(': ' || o.reason, '') as detail
        from task_overrides o
        where o.kind = 'pause' and o.ended_at is null and (o.expires_at is null or o.expires_at > clock_timestamp())
          and (o.name = l.name or (o.name is null and l.spec -> 'labels' @> o.selector))
        order by o.created_at limit 1
    ) p on true
), claimed as (
    insert into task_claims (name, scheduled_for, task, queue, priority, turn, start_by, trigger, digest, exclusive)
    select j.name, j.at, j.spec ->> 'task', j.spec ->> 'queue', (j.spec ->> 'priority')::int,
           greatest(-(extract(epoch from j.at) * 1000000)::bigint, j.turn),
           clock_timestamp() + make_interval(secs => extract(epoch from regexp_replace(
               j.spec -> 'deadline' ->> 'start', '([a-z])([0-9])', '\\1 \\2', 'g')::interval)),
           'after', j.digest, j.spec ->> 'overlap' <> 'allow'
    from judged j where j.detail is null and j.at is not null
    order by j.name
    on conflict do nothing
    returning name, scheduled_for
), skipped as (
    insert into task_skips (name, first, last, count, reason, detail)
    select j.name, j.at, j.at, 1, 'paused', j.detail from judged j where j.detail is not null and j.at is not null
    order by j.name
    on conflict do nothing
), moved as (
    update task_cursors k set after_through = j.until
    from judged j
    where k.name = j.name and (j.detail is not null or j.name in (select name from claimed))
    returning k.name
)
select j.name, j.at, j.detail is null from judged j where j.name in (select name from moved) order by j.name
"""
FOLLOW_ALL = FOLLOW.replace(_OF_THESE, "true")

# Somebody wanted these to end, or something newer took their place: they have neither failed nor succeeded.
_IS_MEANT = f"""(not r.is_success and (
            starts_with(r.error, '{REPLACED_BY}') or starts_with(r.error, '{CANCELLED_BY}')))"""

# Names whose newest runs all failed, since the last pause ended and since they came to be. Most never failed so often,
# which an index of failures alone tells. The newest runs by instant are read by the primary key, a few more than
# needed, since they do not end in the order of their instants.
FAILING = f"""
with suspects as materialized (
    select c.name, c.created_at, (c.spec ->> 'pause_after_failures')::int as allowed
    from task_configs c
    where c.spec -> 'pause_after_failures' <> 'null'::jsonb and (c.spec ->> 'suspend') is distinct from 'true'
      and {_OF_THESE}
      and (c.spec ->> 'pause_after_failures')::int <= (
        select count(*) from (
            select from task_executions f where f.name = c.name and not f.is_success
            limit (c.spec ->> 'pause_after_failures')::int) as failures)
)
select c.name, c.allowed, n.error
from suspects c
cross join lateral (
    select greatest(c.created_at, (
        select max(least(o.ended_at, o.expires_at)) from task_overrides o where o.name = c.name and o.kind = 'pause'
    )) as at
) since
cross join lateral (
    select count(*) as runs, bool_and(not is_success) as all_failed,
           (array_agg(error order by finished_at desc))[1] as error
    from (
        select r.is_success, r.error, r.finished_at
        from (
            select e.is_success, e.error, e.finished_at from task_executions e
            where e.name = c.name and e.trigger <> 'backfill'
            order by e.scheduled_for desc
            limit c.allowed + 50
        ) r
        where r.finished_at > since.at and not {_IS_MEANT}
        order by r.finished_at desc
        limit c.allowed
    ) newest
) n
where n.runs >= c.allowed and n.all_failed
  and not exists (select from task_overrides where task_overrides.name = c.name and {IS_ACTIVE})
"""
FAILING_ALL = FAILING.replace(_OF_THESE, "true")

PAUSE = """
insert into task_overrides (name, kind, reason, actor) values (%(name)s, 'pause', %(reason)s, %(actor)s)
"""

ACTOR = "reconciler"
# A name for which so many occurrences wait gets no further one until it has made some of them.
MOST_WAITING = 100


@dataclass(frozen=True, slots=True)
class Followed:
    """An occurrence that came of the success of others; not `is_fired` where a pause made a skip of it."""

    name: str
    scheduled_for: datetime
    is_fired: bool


@dataclass(frozen=True, slots=True)
class Failing:
    """A name whose newest `failures` runs all failed, the last one with this error."""

    name: str
    failures: int
    error: str | None

    @property
    def reason(self) -> str:
        """One line, for the pause and whoever asks why."""
        last = first_line(self.error, 200)
        runs = "1 failure" if self.failures == 1 else f"{self.failures} failures in a row, the last"
        return f"{runs}: {last}" if last else runs.removesuffix(", the last")


async def begin(link: Link) -> None:
    """Count the successes of upstreams from now where they were never counted."""
    await link.run(BEGIN)


async def wait_anew(tx: Transaction, names: Sequence[str], now: datetime) -> None:
    """Count, for these names, only successes of instants after `now`: nothing of the past is followed."""
    if names:
        await tx.run(WAIT_ANEW, {"names": list(names), "now": now})


async def awaited(link: Statements, name: str) -> list[tuple[str, datetime | None]]:
    """Whom a name waits for, in its spec's order, each with its first success that is not used up; None: none yet."""
    return [(upstream, first) for upstream, first in await link.run(AWAITED, {"name": name})]


async def upstreams(link: Statements) -> dict[str, tuple[str, ...]]:
    """Whom each name waits for; names that wait for nobody are absent."""
    return {name: tuple(named) for name, named in await link.run(UPSTREAMS)}


async def follow(link: Link, names: Sequence[str] | None = None, most: int = MOST_WAITING) -> list[Followed]:
    """One more occurrence for each name (of `names`, or of all) whose upstreams have succeeded once more.

    There may be further ones: asked until nothing comes, all are there.
    """
    if names is None:
        return [Followed(*row) for row in await link.run(FOLLOW_ALL, {"most": most})]
    return [Followed(*row) for row in await link.run(FOLLOW, {"names": list(names), "most": most})]


async def failing(link: Link, names: Sequence[str] | None = None) -> list[Failing]:
    """The names (of `names`, or all) that their `pause_after_failures` wants paused, and that are not."""
    if names is None:
        return [Failing(*row) for row in await link.run(FAILING_ALL)]
    return [Failing(*row) for row in await link.run(FAILING, {"names": list(names)})]


async def pause_failing(link: Link, name: str) -> Failing | None:
    """Pause a name that is still failing, until somebody resumes it; None if another was quicker."""
    async with link.transaction() as tx:
        await tx.run(TURN, {"turn": name})
        rows = await tx.run(FAILING, {"names": [name]})
        if not rows:
            return None
        found = Failing(*rows[0])
        await tx.run(PAUSE, {"name": name, "reason": found.reason, "actor": ACTOR})
    return found
