"""How does each config stand right now? One statement, one row a config, every part by its index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.db.configs import TaskConfig
from reconciler.db.link import Statements

# A config reads one row of each neighbour, whatever the length of the history behind it. A waiting claim counts even
# before its time: a retry in back-off waits too. Claims are counted without a condition on `runner_id`, which would
# lead the planner to a partial index that holds everybody's. Of several pauses the one that ends last is shown.
OVERVIEW = """
with known as materialized (
    select distinct jsonb_object_keys(tasks) as task from runners
)
select c.id, c.name, c.source, c.spec, c.digest, c.path, c.revision, c.created_at, c.updated_at,
       k.through,
       e.scheduled_for, e.started_at, e.finished_at, e.is_success, e.error, e.trigger,
       r.scheduled_for, r.started_at, n.host || ':' || n.pid,
       w.waiting, w.waiting_since,
       p.reason, p.actor, p.created_at, p.expires_at,
       t.task is not null
from task_configs c
left join task_cursors k on k.name = c.name
left join lateral (
    select x.scheduled_for, x.started_at, x.finished_at, x.is_success, left(x.error, 500) as error, x.trigger
    from task_executions x where x.name = c.name
    order by x.scheduled_for desc limit 1
) e on true
left join lateral (
    select count(*) filter (where x.runner_id is null) as waiting,
           min(x.scheduled_for) filter (where x.runner_id is null) as waiting_since,
           min(x.scheduled_for) filter (where x.runner_id is not null) as running
    from task_claims x where x.name = c.name
) w on true
left join task_claims r on r.name = c.name and r.scheduled_for = w.running
left join runners n on n.id = r.runner_id
left join lateral (
    select x.reason, x.actor, x.created_at, x.expires_at
    from task_overrides x
    where x.name = c.name and x.kind = 'pause' and x.ended_at is null
      and (x.expires_at is null or x.expires_at > clock_timestamp())
    order by x.expires_at desc nulls first, x.id desc limit 1
) p on true
left join known t on t.task = c.spec ->> 'task'
where %(names)s::text[] is null or c.name = any(%(names)s::text[])
order by c.name
"""


@dataclass(frozen=True, slots=True)
class LastRun:
    """The execution of the newest instant; `error` at most 500 characters of it."""

    scheduled_for: datetime
    started_at: datetime
    finished_at: datetime
    is_success: bool
    error: str | None
    trigger: str


@dataclass(frozen=True, slots=True)
class Running:
    """The oldest occurrence that a runner owns; `runner` is host and pid, None if it is not registered any more."""

    scheduled_for: datetime
    started_at: datetime | None
    runner: str | None


@dataclass(frozen=True, slots=True)
class Paused:
    """The pause in force; `until` None: until somebody resumes it."""

    reason: str | None
    actor: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    """One config with what surrounds it. `through` None: it has no cursor. `known_task`: some runner has its task."""

    config: TaskConfig
    through: datetime | None
    last: LastRun | None
    running: Running | None
    waiting: int
    waiting_since: datetime | None
    pause: Paused | None
    known_task: bool


async def overview(link: Statements, names: Sequence[str] | None = None) -> list[Overview]:
    """Every config, or those of `names` that exist, by name, as they were at one moment."""
    wanted = None if names is None else list(names)
    return [_overview(row) for row in await link.run(OVERVIEW, {"names": wanted})]


def _overview(row: tuple) -> Overview:  # type: ignore[type-arg]
    return Overview(
        config=TaskConfig(*row[:9]),
        through=row[9],
        last=LastRun(*row[10:16]) if row[10] is not None else None,
        running=Running(*row[16:19]) if row[16] is not None else None,
        waiting=row[19],
        waiting_since=row[20],
        pause=Paused(*row[21:25]) if row[22] is not None else None,
        known_task=row[25],
    )
