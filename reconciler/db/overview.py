"""How does each config stand right now? One statement, one row a config, every part by its index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.db.configs import TaskConfig
from reconciler.db.link import Statements
from reconciler.db.pending import COLUMNS as PENDING
from reconciler.db.pending import Pending

# A config reads one row of each neighbour, whatever the length of the history behind it. A waiting claim counts even
# before its time: a retry in back-off waits too. Claims are counted without a condition on `runner_id`, which would
# lead the planner to a partial index that holds everybody's. Of several pauses, of the name or of its labels, the one
# that ends last is shown.
OVERVIEW = """
with there as materialized (
    select queues, tasks from runners where ended_at is null
), known as materialized (
    select distinct jsonb_object_keys(tasks) as task from there
), served as materialized (
    select distinct t.task, q.queue
    from there, jsonb_object_keys(tasks) as t(task), jsonb_array_elements_text(queues) as q(queue)
), labelled as materialized (
    select id, selector, reason, actor, created_at, expires_at
    from task_overrides
    where name is null and kind = 'pause' and ended_at is null
      and (expires_at is null or expires_at > clock_timestamp())
)
select c.id, c.name, c.source, c.spec, c.digest, c.path, c.revision, c.created_at, c.updated_at,
       k.through,
       e.scheduled_for, e.started_at, e.finished_at, e.is_success, e.error, e.trigger,
       r.scheduled_for, r.started_at, n.host || ':' || n.pid, r.trigger, r.actor, jsonb_array_length(r.attempts) + 1,
       r.progress, r.cancel_requested, r.exclusive,
       w.waiting, w.waiting_since,
       p.reason, p.actor, p.created_at, p.expires_at, p.selector,
       t.task is not null, s.task is not null
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
    select * from (
        select x.id, x.selector, x.reason, x.actor, x.created_at, x.expires_at
        from task_overrides x
        where x.name = c.name and x.kind = 'pause' and x.ended_at is null
          and (x.expires_at is null or x.expires_at > clock_timestamp())
        union all
        select l.id, l.selector, l.reason, l.actor, l.created_at, l.expires_at
        from labelled l where c.spec -> 'labels' @> l.selector
    ) as covering
    order by expires_at desc nulls first, id desc limit 1
) p on true
left join known t on t.task = c.spec ->> 'task'
left join served s on s.task = c.spec ->> 'task' and s.queue = c.spec ->> 'queue'
where %(names)s::text[] is null or c.name = any(%(names)s::text[])
order by c.name
"""

# Of the names that have waiting work, the claim whose turn is next: a retry first, then what is taken first.
NEXT_WAITING = f"""
select distinct on (c.name) {PENDING}
from task_claims c left join runners n on n.id = c.runner_id
where c.runner_id is null and c.name = any(%(names)s::text[])
order by c.name, c.attempts = '[]', c.priority desc, c.turn, c.scheduled_for
"""

BUSY_QUEUES = """
select queue, count(*) from task_claims where runner_id is not null and queue = any(%(queues)s::text[]) group by queue
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
    """The oldest occurrence that a runner owns; `runner` is host and pid, None if it is not registered any more.

    `progress` is what the task said of itself last: fraction, text, at.
    """

    scheduled_for: datetime
    started_at: datetime | None
    runner: str | None
    trigger: str = "schedule"
    actor: str | None = None
    attempt: int = 1
    progress: dict[str, Any] | None = None
    cancel_requested: str | None = None
    exclusive: bool = True


@dataclass(frozen=True, slots=True)
class Paused:
    """The pause in force; `until` None: until somebody resumes it. With a `selector` it is one by label."""

    reason: str | None
    actor: str
    since: datetime
    until: datetime | None
    selector: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """One config with what surrounds it. `through` None: it has no cursor.

    `known_task`: some runner has its task; `is_served`: one of those looks at its queue, too.
    """

    config: TaskConfig
    through: datetime | None
    last: LastRun | None
    running: Running | None
    waiting: int
    waiting_since: datetime | None
    pause: Paused | None
    known_task: bool
    is_served: bool = True


async def overview(link: Statements, names: Sequence[str] | None = None) -> list[Overview]:
    """Every config, or those of `names` that exist, by name, as they were at one moment."""
    wanted = None if names is None else list(names)
    return [_overview(row) for row in await link.run(OVERVIEW, {"names": wanted})]


async def next_waiting(link: Statements, names: Sequence[str]) -> dict[str, Pending]:
    """The waiting claim of each of these names that comes first; a name without one is absent."""
    if not names:
        return {}
    found = [Pending(*row) for row in await link.run(NEXT_WAITING, {"names": list(names)})]
    return {one.name: one for one in found}


async def busy_queues(link: Statements, queues: Sequence[str]) -> dict[str, int]:
    """How many runs of each of these queues are under way, on all runners together; none: absent."""
    return dict(await link.run(BUSY_QUEUES, {"queues": list(queues)})) if queues else {}


def _overview(row: tuple) -> Overview:  # type: ignore[type-arg]
    return Overview(
        config=TaskConfig(*row[:9]),
        through=row[9],
        last=LastRun(*row[10:16]) if row[10] is not None else None,
        running=Running(*row[16:25]) if row[16] is not None else None,
        waiting=row[25],
        waiting_since=row[26],
        pause=Paused(*row[27:32]) if row[28] is not None else None,
        known_task=row[32],
        is_served=row[33],
    )
