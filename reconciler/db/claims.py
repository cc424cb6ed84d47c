"""Occurrences that are decided and not finished: how they are won, at their instant or out of what waits.

Each public function is one statement and so one transaction, save where a limit has to be counted first. A claim
belongs to whoever holds its token: a statement that names a token which is no longer there changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from psycopg.errors import LockNotAvailable, UniqueViolation

from reconciler.db.claimrows import (
    COLUMNS,
    Claim,
    Move,
    Returned,
    Wanted,
    fire_columns,
    move_columns,
    skip_columns,
)
from reconciler.db.decision import FULL, PLAIN
from reconciler.db.link import Link, Statements, Transaction
from reconciler.occurrences import Skip

__all__ = ["Claim", "Decided", "Move", "Returned", "Wanted", "decide", "pick_up", "pick_up_limited", "record_skips"]

RECORD_SKIPS = """
insert into task_skips (name, first, last, count, reason, detail)
select s.name, s.first, s.last, s.count, s.reason, s.detail
from unnest(
    %(skip_names)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[], %(counts)s::int8[],
    %(reasons)s::text[], %(details)s::text[]
) as s(name, first, last, count, reason, detail)
order by 1, 2
on conflict do nothing
"""

# Waiting work whose time has come and whose task is known here, one of a name at a time where it is exclusive. The
# name's cursor is locked so that it is not decided at the same moment; the unique index has the last word.
# What has not been tried yet waits for a retry in back-off, too; two retries would wait for each other for ever.
# Of a long backlog only the oldest is looked at closely: the others are told apart by one step in the primary key
# (`is true` keeps the planner off the indexes of what waits, in which it would step over all of it).
# Queue by queue, for only then does the index give them in their order.
PICK_UP = f"""
with ready as (
    select w.*
    from unnest(%(queues)s::text[]) as q(queue)
    cross join lateral (
        select c.name, c.scheduled_for, c.priority, c.turn, c.exclusive
        from task_claims c
        join task_cursors k on k.name = c.name
        where c.runner_id is null and c.queue = q.queue and c.task = any(%(tasks)s::text[])
          and c.not_before <= statement_timestamp() and c.cancel_requested is null
          and (c.start_by is null or c.attempts <> '[]'::jsonb or c.start_by >= statement_timestamp())
          and not (c.exclusive and exists (
            select from task_claims r where r.name = c.name and r.exclusive and r.runner_id is not null))
          and not (c.exclusive and c.attempts = '[]'::jsonb and (
            exists (
              select from task_claims r where r.name = c.name and r.exclusive and r.attempts <> '[]'::jsonb)
            or exists (
              select from task_claims r
              where r.name = c.name and r.scheduled_for < c.scheduled_for and r.exclusive
                and (r.runner_id is null) is true and r.queue = c.queue and r.task = c.task
                and r.priority = c.priority and r.turn < c.turn
                and r.not_before <= statement_timestamp() and r.cancel_requested is null
                and (r.start_by is null or r.start_by >= statement_timestamp()))))
        order by c.priority desc, c.turn
        limit %(limit)s
        for update of c, k skip locked
    ) as w
), chosen as (
    select name, scheduled_for from (
        select name, scheduled_for, exclusive, priority, turn,
               row_number() over (partition by name order by priority desc, turn, scheduled_for) as place
        from ready) as ranked
    where place = 1 or not exclusive
    order by priority desc, turn
    limit %(limit)s
)
update task_claims c
set runner_id = %(runner)s, token = gen_random_uuid(), claimed_at = clock_timestamp(), started_at = clock_timestamp()
from chosen w
where c.name = w.name and c.scheduled_for = w.scheduled_for
returning {COLUMNS}
"""

# Which of these queues have work whose time has come: an idle one costs no more than this.
STIRRING = """
select q.queue from unnest(%(queues)s::text[]) as q(queue)
where exists (
    select from task_claims c
    where c.runner_id is null and c.queue = q.queue and c.not_before <= statement_timestamp())
"""

# Counted under a lock, by a statement of its own: the snapshot of the one that waits for the lock is too old. A
# process that stops in the middle, as by SIGSTOP, is cut off, or the queue would stand still with it.
LOCK = """
select pg_advisory_xact_lock(hashtextextended(%(queue)s, 7217)),
       set_config('idle_in_transaction_session_timeout', '2s', true)
"""
OWNED = "select count(*) from task_claims c where c.runner_id is not null and c.queue = %(queue)s"
# Another runner is picking up in that queue at this very moment: so long it is waited for.
TURN = timedelta(milliseconds=100)


class Decided(NamedTuple):
    """What came of a batch: the names whose cursor moved, the tokens that were won.

    `is_waiting`: something of it waits for a runner now; `is_asked`: some runs are to end for it; `skipped`: how many
    instants were decided against, by reason.
    """

    moved: set[str]
    won: set[UUID]
    is_waiting: bool
    is_asked: bool
    skipped: dict[str, int]


async def decide(
    link: Link, runner_id: UUID, moves: Sequence[Move], fires: Sequence[Wanted], skips: Sequence[Skip]
) -> Decided:
    """Move the cursors that are still where they were seen, and hand out what fires.

    Whoever moved a cursor has decided. A fire of a moved name that is not won waits, or was skipped, and the skip is
    recorded.
    """
    is_plain = not any(fire.waits or fire.overlap in ("queue", "replace") for fire in fires)
    digests = {move.name: move.digest for move in moves}
    params = {"runner": runner_id, **move_columns(moves), **fire_columns(fires, digests), **skip_columns(skips)}
    rows = await link.run(PLAIN if is_plain else FULL, params, by_index=is_plain)
    notes = {note for _, _, note, _ in rows}
    unmoved = {name for name, _, note, _ in rows if note == "unmoved"}
    lost = {token for _, token, note, _ in rows if note == "lost"}
    won = {fire.token for fire in fires if fire.token not in lost and fire.name not in unmoved}
    skipped = {reason: count for reason, _, note, count in rows if note == "skipped"}
    return Decided(digests.keys() - unmoved, won, "waits" in notes, "asked" in notes, skipped)


async def record_skips(tx: Transaction, skips: Sequence[Skip]) -> None:
    """Write what was decided against outside of a runner, as by an edit."""
    await tx.run(RECORD_SKIPS, skip_columns(skips))


async def pick_up(
    link: Statements, runner_id: UUID, queues: Iterable[str], tasks: Iterable[str], limit: int
) -> list[Claim]:
    """Own up to `limit` waiting claims that are due, most urgent first (the higher `priority`), then by turn.

    Not those that are to end: `waiting.cancelled` has them.
    """
    params = {"runner": runner_id, "queues": list(queues), "tasks": list(tasks), "limit": limit}
    try:
        return [Claim(*row) for row in await link.run(PICK_UP, params)]
    except UniqueViolation:
        # Another runner decided the same name between this statement's snapshot and its lock; the next try sees it.
        return []


async def pick_up_limited(
    link: Link, runner_id: UUID, limits: Mapping[str, int], tasks: Sequence[str], limit: int
) -> list[Claim]:
    """The same from queues that have a limit, so many runs of each on all runners together."""
    picked: list[Claim] = []
    for (queue,) in await link.run(STIRRING, {"queues": list(limits)}):
        if len(picked) < limit:
            picked += await _from_limited(link, runner_id, queue, limits[queue], tasks, limit - len(picked))
    return picked


async def _from_limited(
    link: Link, runner_id: UUID, queue: str, most: int, tasks: Sequence[str], limit: int
) -> list[Claim]:
    params = {"runner": runner_id, "queues": [queue], "tasks": tasks}
    try:
        async with link.transaction(lock_timeout=TURN) as tx:
            await tx.run(LOCK, {"queue": queue})
            [(owned,)] = await tx.run(OWNED, {"queue": queue})
            if owned >= most:
                return []
            rows = await tx.run(PICK_UP, {**params, "limit": min(limit, most - owned)})
    except (UniqueViolation, LockNotAvailable):
        return []
    return [Claim(*row) for row in rows]
