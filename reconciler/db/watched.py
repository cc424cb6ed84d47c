"""What the watcher of missed runs looks at: the names of whose runs somebody wants to hear, as they stand now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from reconciler.db.link import Link, Row
from reconciler.occurrences import Skip

# One row a config that asks to be told. A runner counts as there until it was silent for two leases. Claims and late
# skips are few beside the configs, so each is read once, and not once for each name.
WATCHED = """
with there as materialized (
    select n.id, n.queues, n.tasks from runners n
    where n.ended_at is null and n.seen_at > clock_timestamp() - n.lease * interval '2 milliseconds'
), served as materialized (
    select distinct q as queue, t as task
    from there, jsonb_array_elements_text(there.queues) as q, jsonb_object_keys(there.tasks) as t
), open as materialized (
    select name, array_agg(kind) as kinds from incidents where closed_at is null group by name
), claimed as materialized (
    select x.name,
           min(x.scheduled_for) filter (where x.runner_id is null and x.attempts = '[]') as waiting,
           min(x.not_before) filter (where x.runner_id is null and x.attempts = '[]') as since,
           bool_or(x.runner_id is not null) as is_running,
           min(x.scheduled_for) filter (where x.runner_id is not null and r.id is null) as lost,
           max(n.seen_at) filter (where x.runner_id is not null and r.id is null) as lost_seen
    from task_claims x
    left join there r on r.id = x.runner_id
    left join runners n on n.id = x.runner_id
    where x.trigger in ('schedule', 'catch_up', 'after')
    group by x.name
), late as materialized (
    select distinct on (name) name, first, last, count, reason, detail from task_skips
    where reason in ('missed', 'deadline') and last > clock_timestamp() - interval '1 day'
    order by name, first desc
)
select c.id, c.name, c.created_at, w.waiting, w.since, coalesce(w.is_running, false), w.lost, w.lost_seen,
       s.task is not null, k.first, k.last, k.count, k.reason, k.detail, coalesce(o.kinds, '{}'), clock_timestamp()
from task_configs c
left join claimed w on w.name = c.name
left join served s on s.queue = c.spec ->> 'queue' and s.task = c.spec ->> 'task'
left join late k on k.name = c.name and k.last >= c.created_at
left join open o on o.name = c.name
where c.spec -> 'notify' <> 'null'::jsonb
order by c.name
"""

# The newest success of each of these that matters: one beyond what the asker knows already, since which it has waited.
SUCCESSES = """
select w.name, e.scheduled_for, e.finished_at,
       (select max(r.removed_at) from task_revisions r
        where r.name = w.name and r.spec -> 'suspend' = 'true'::jsonb),
       (select max(least(o.ended_at, o.expires_at)) from task_overrides o
        join task_configs c on c.name = w.name
        where (o.name = w.name or o.name is null and c.spec -> 'labels' @> o.selector)
          and least(o.ended_at, o.expires_at) <= clock_timestamp())
from jsonb_to_recordset(%(rows)s) as w(name text, since timestamptz)
left join lateral (
    select x.scheduled_for, x.finished_at from task_executions x
    where x.name = w.name and x.is_success and (w.since is null or x.scheduled_for > w.since)
    order by x.scheduled_for desc limit 1
) e on true
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """One config of whose runs somebody wants to hear.

    `waiting`, `since`: its oldest occurrence that has not begun, and since when it might have. `lost`: its oldest
    whose runner is gone, last seen at `lost_seen`. `is_served`: some runner takes its queue and has its task. `skip`:
    the newest instants that came too late.
    """

    config_id: int
    name: str
    created_at: datetime
    waiting: datetime | None
    since: datetime | None
    is_running: bool
    lost: datetime | None
    lost_seen: datetime | None
    is_served: bool
    skip: Skip | None
    open: frozenset[str]


@dataclass(frozen=True, slots=True)
class Success:
    """A name's newest success, and when what last held it ended (a pause, a suspension)."""

    scheduled_for: datetime | None
    finished_at: datetime | None
    suspended_until: datetime | None
    paused_until: datetime | None


async def watched(link: Link) -> tuple[datetime | None, list[Watched]]:
    """PostgreSQL's time, and every config that asks to be told, by name; None and nothing where there is none."""
    rows = await link.run(WATCHED)
    return (rows[0][15] if rows else None), [_watched(row) for row in rows]


async def successes(link: Link, since: Mapping[str, datetime | None]) -> dict[str, Success]:
    """The newest success of each name; only one of an instant after `since` is looked for, where that is given."""
    rows = [{"name": name, "since": at.isoformat() if at else None} for name, at in since.items()]
    return {name: Success(*rest) for name, *rest in await link.run(SUCCESSES, {"rows": Jsonb(rows)})}


def _watched(row: Row) -> Watched:
    parts: Sequence[Any] = (*row[:9], Skip(row[1], *row[9:14]) if row[9] else None, frozenset(row[14]))
    return Watched(*parts)
