"""Which runners there are, and whether they still count.

A beat is a counter, never a time: it is alive as long as another reader sees it change. What a standstill means is
decided by that reader, on its own clock. `seen_at` and `ended_at` are for people: when a runner was there. A row
stays when its runner has gone, so whoever asks for runners means those without an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from reconciler.db.link import Link, Statements

# Registering is a beat, too: whoever saw that beat stand still, and counted the runner as dead, would do so again.
REGISTER = """
insert into runners (id, host, pid, queues, tasks, lease)
values (%(id)s, %(host)s, %(pid)s, %(queues)s, %(tasks)s, %(lease)s)
on conflict (id) do update
set tasks = excluded.tasks, beat = runners.beat + 1, seen_at = greatest(runners.seen_at, clock_timestamp()),
    ended_at = null, ending = null
"""

# The reader's own beat, the server's clock, everybody else's beat, and its claims that it does not know of: won by a
# statement whose answer was lost, and never started. Young ones may still be on their way to it. What it holds and does
# not own was taken over. An owner of claims that has no row counts with a beat that never moves: it had been forgotten,
# won something all the same, and died before it could say that it lives. What was last seen never goes back: where
# the server's clock does, this is how one can tell.
BEAT = """
with mine as (
    update runners set beat = beat + 1, seen_at = greatest(seen_at, clock_timestamp())
    where id = %(id)s and ended_at is null
    returning beat
), stray as (
    select c.name, c.scheduled_for from task_claims c
    where %(is_all)s and c.runner_id = %(id)s and c.token <> all(%(held)s::uuid[])
      and c.claimed_at < clock_timestamp() - interval '10 seconds'
    order by c.name, c.scheduled_for
    for update skip locked
), owners as (
    select id, beat, lease from runners where id <> %(id)s and ended_at is null
    union all
    select distinct c.runner_id, -1, coalesce((select lease from runners where id = %(id)s), 30000)
    from task_claims c
    where c.runner_id is not null and c.runner_id <> %(id)s
      and not exists (select from runners r where r.id = c.runner_id and r.ended_at is null)
), returned as (
    update task_claims c set runner_id = null, token = null, started_at = null, progress = null
    from stray s where c.name = s.name and c.scheduled_for = s.scheduled_for
    returning c.name
)
select clock_timestamp(), (select beat from mine), (select count(*) from returned),
       (select coalesce(jsonb_agg(jsonb_build_array(id, beat, lease)), '[]') from owners),
       (select coalesce(array_agg(h.token), '{}') from unnest(%(held)s::uuid[]) as h(token)
        where h.token not in (select c.token from task_claims c where c.runner_id = %(id)s and c.token is not null))
"""

# Only for its own use: none of its runs goes on, and what became of them is written.
LEAVE = """
with rest as (
    select c.name, c.scheduled_for from task_claims c where c.runner_id = %(id)s
    order by c.name, c.scheduled_for
    for update
), returned as (
    update task_claims c set runner_id = null, token = null, started_at = null, progress = null
    from rest r where c.name = r.name and c.scheduled_for = r.scheduled_for
)
update runners set seen_at = greatest(seen_at, clock_timestamp()), ended_at = clock_timestamp(), ending = 'stopped'
where id = %(id)s and ended_at is null
"""

DIED = """
update runners set ended_at = clock_timestamp(), ending = 'died'
where id = %(id)s and ended_at is null and (%(seen)s::int8 is null or beat = %(seen)s::int8)
  and not exists (select from task_claims where runner_id = %(id)s)
"""

PLACE = "select host || ':' || pid from runners where id = %(id)s"

QUEUES = "select q from runners, jsonb_array_elements_text(queues) as q where id = %(id)s"

LISTING = """
select id, host, pid, queues, tasks, started_at, beat, lease, seen_at from runners
where ended_at is null
order by started_at, id
"""

# Two versions may run side by side: the one that started last is where the others are going.
CATALOGUE = """
select distinct on (t.name) t.name, t.entry
from runners r
cross join jsonb_each(r.tasks) as t(name, entry)
where r.ended_at is null
order by t.name, r.started_at desc, r.id
"""

NEWEST = "select max(seen_at), clock_timestamp() from runners"


@dataclass(frozen=True, slots=True)
class Beat:
    """What a runner learns when it beats; `mine` None: it was declared dead and its row ended. Leases in seconds.

    `lost`: tokens that it held when it asked, and that were not its own any more.
    """

    server_now: datetime
    mine: int | None
    returned: int
    others: dict[UUID, tuple[int, float]]
    lost: set[UUID]


@dataclass(frozen=True, slots=True)
class RunnerRow:
    """A runner that registered and has not ended; `lease` in milliseconds, `seen_at` its last beat."""

    id: UUID
    host: str
    pid: int
    queues: list[str]
    tasks: dict[str, Any]
    started_at: datetime
    beat: int
    lease: int
    seen_at: datetime

    @property
    def place(self) -> str:
        """Where it runs, as executions name it."""
        return f"{self.host}:{self.pid}"


async def register(
    link: Link,
    runner_id: UUID,
    *,
    host: str,
    pid: int,
    queues: Sequence[str],
    tasks: Mapping[str, Any],
    lease: float,
) -> None:
    """Announce a runner with the queues it serves, the tasks it has and its lease in seconds; again to renew tasks."""
    params = {
        "id": runner_id,
        "host": host,
        "pid": pid,
        "queues": Jsonb(list(queues)),
        "tasks": Jsonb(dict(tasks)),
    }
    await link.run(REGISTER, {**params, "lease": round(lease * 1000)})


async def beat(link: Link, runner_id: UUID, held: Iterable[UUID], *, is_all: bool = True) -> Beat:
    """Count up, and see how the others stand; `held` are the tokens that this runner knows of.

    `is_all` false: it is being given others at this moment, so none can be called unknown.
    """
    rows = await link.run(BEAT, {"id": runner_id, "held": list(held), "is_all": is_all})
    now, mine, returned, others, lost = rows[0]
    return Beat(now, mine, returned, {UUID(id_): (count, lease / 1000) for id_, count, lease in others}, set(lost))


async def leave(link: Link, runner_id: UUID) -> None:
    """Hand back, without an attempt, whatever this runner owns without its knowing, and note its end."""
    await link.run(LEAVE, {"id": runner_id})


async def note_death(link: Link, runner_id: UUID, seen: int | None = None) -> None:
    """Note the death of a runner that owns nothing any more, unless its beat is another than `seen` by now."""
    await link.run(DIED, {"id": runner_id, "seen": seen})


async def place(link: Link, runner_id: UUID) -> str:
    """Where a runner runs, as executions name it: `host:pid`, or its id where it never registered."""
    rows = await link.run(PLACE, {"id": runner_id})
    return str(rows[0][0]) if rows else str(runner_id)


async def queues(link: Link, runner_id: UUID) -> list[str]:
    """The queues that a runner serves, or served."""
    return [queue for (queue,) in await link.run(QUEUES, {"id": runner_id})]


async def listing(link: Link) -> list[RunnerRow]:
    """Every runner that has not ended, oldest first; a dead one stays until another has handed its work back."""
    return [RunnerRow(*row) for row in await link.run(LISTING)]


async def catalogue(link: Statements) -> dict[str, Any]:
    """What the runners that have not ended say of their tasks, by name; empty where there is none.

    `registry.catalogue.check_of` checks by it.
    """
    return dict(await link.run(CATALOGUE))


async def newest_sign(link: Statements) -> tuple[datetime | None, datetime]:
    """The latest moment at which any runner was seen, and the server's time: earlier where its clock went back."""
    [(seen, now)] = await link.run(NEWEST)
    return seen, now
