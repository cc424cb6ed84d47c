"""Occurrences that were won: how they end, as one final row or handed back for another attempt.

Each public function is one statement and so one transaction. A claim belongs to whoever holds its token: a statement
that names a token which is no longer there changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from reconciler.db.claimrows import COLUMNS, Claim, Returned, record_columns, return_columns
from reconciler.db.link import Link

# Answers what was not written: of the tokens that are absent each has its row, by this or an earlier, unanswered call.
# Planned once, as `decision.PLAIN` is, and so left no choice; with incidents it is planned each time.
# Claims are deleted in the order of `held`, so that no two statements wait for each other, by the place at which this
# one sees them. `again`: one was touched meanwhile, and has moved: whose it is now the next look will tell.
FINISHING = """
with done as materialized (
    select * from unnest(
        %(names)s::text[], %(instants)s::timestamptz[], %(tokens)s::uuid[], %(tasks)s::text[],
        %(started_at)s::timestamptz[], %(finished_at)s::timestamptz[], %(is_success)s::bool[], %(errors)s::text[],
        %(tracebacks)s::text[], %(results)s::jsonb[], %(logs)s::text[], %(attempts)s::jsonb[], %(runners)s::text[],
        %(revisions)s::text[]
    ) as d(name, scheduled_for, token, task, started_at, finished_at, is_success, error, traceback, result, log,
           attempts, runner, revision)
), held as materialized (
    select d.*, c.place
    from (select * from done order by name, scheduled_for) d
    cross join lateral (
        select c.ctid as place from task_claims c
        where c.name = d.name and c.scheduled_for = d.scheduled_for and c.token = d.token
        offset 0) c
), gone as (
    delete from task_claims c using held h
    where c.ctid = h.place
    returning h.*, c.trigger, c.replays, c.digest, c.actor
), written as (
    insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, error, traceback,
                                 result, log, attempts, trigger, replays, runner, token, digest, revision, actor)
    select g.name, g.scheduled_for, g.task, g.started_at, g.finished_at, g.is_success, g.error, g.traceback,
           nullif(g.result, 'null'::jsonb), g.log, coalesce(g.attempts, '[]'), g.trigger, g.replays, g.runner, g.token,
           g.digest, g.revision, g.actor
    from gone g
    on conflict do nothing
    returning token, name, scheduled_for, is_success, error, finished_at
)"""

# A failure is told once, until something of the name succeeds, which also ends that it was missed or long silent.
INCIDENTS = """, opened as (
    insert into incidents (name, kind, scheduled_for, detail)
    select w.name, 'failure', w.scheduled_for, left(split_part(w.error, E'\\n', 1), 1000)
    from written w
    where not w.is_success
    order by w.name
    on conflict (name, kind) where closed_at is null do nothing
), over as (
    select i.id, w.finished_at from incidents i
    join written w on w.name = i.name and w.is_success
    where i.closed_at is null and i.kind in ('failure', 'missed', 'silence')
    order by i.id
    for update of i
), closed as (
    update incidents i
    set closed_at = clock_timestamp(), due_at = clock_timestamp(), tries = 0,
        closing = 'succeeded at ' || to_char(o.finished_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    from over o where i.id = o.id
)"""

UNWRITTEN = """
select d.token, d.token in (select token from held) and d.token not in (select token from gone) as again
from done d
where d.token not in (select token from written)
  and not exists (
    select from task_executions e
    where e.name = d.name and e.scheduled_for = d.scheduled_for and e.token = d.token offset 0)
"""

FINISH = FINISHING + UNWRITTEN
FINISH_AND_TELL = FINISHING + INCIDENTS + UNWRITTEN

# The token goes: whoever ran it until now, and was only counted as dead, writes nothing about it any more.
HAND_BACK = """
with back as (
    select c.name, c.scheduled_for, b.token, b.not_before, b.attempts
    from unnest(
        %(names)s::text[], %(instants)s::timestamptz[], %(tokens)s::uuid[], %(not_before)s::timestamptz[],
        %(attempts)s::jsonb[]
    ) as b(name, scheduled_for, token, not_before, attempts)
    join task_claims c on c.name = b.name and c.scheduled_for = b.scheduled_for and c.token = b.token
    order by c.name, c.scheduled_for
    for update of c
)
update task_claims c
set runner_id = null, token = null, started_at = null, progress = null, not_before = b.not_before,
    attempts = b.attempts
from back b
where c.name = b.name and c.scheduled_for = b.scheduled_for
returning b.token
"""

OWNED = "select c.token from task_claims c where c.token = any(%(tokens)s::uuid[]) and c.runner_id = %(runner)s"

OF_RUNNER = f"""
select {COLUMNS} from task_claims c
where c.runner_id = %(runner)s
  and (%(seen)s::int8 is null or not exists (
    select from runners r where r.id = %(runner)s and r.ended_at is null and r.beat <> %(seen)s::int8))
order by c.name, c.scheduled_for
"""

# Nobody touches a claim under way so often that it is missed each time.
ROUNDS = 10


async def finish(link: Link, records: Sequence[Mapping[str, Any]], *, is_told: bool = False) -> set[UUID]:
    """Turn owned claims into execution rows; returns the tokens that have theirs, the others were lost.

    `is_told`: somebody wants to hear of these. Each name may be among them once: a failure opens an incident where
    none is open, a success closes what is. Safe to repeat after an answer that never came.
    """
    statement, found = FINISH_AND_TELL if is_told else FINISH, set[UUID]()
    for _ in range(ROUNDS):
        unwritten: dict[UUID, bool] = dict(await link.run(statement, record_columns(records), by_index=not is_told))
        found.update(record["token"] for record in records if record["token"] not in unwritten)
        records = [record for record in records if unwritten.get(record["token"])]
        if not records:
            break
    return found


async def hand_back(link: Link, claims: Sequence[Returned]) -> set[UUID]:
    """Give claims back unowned; returns the tokens that were still theirs who called."""
    return {token for (token,) in await link.run(HAND_BACK, return_columns(claims))}


async def owned(link: Link, runner_id: UUID, tokens: Iterable[UUID]) -> set[UUID]:
    """Which of these tokens are really held: the answer to a decision whose reply was lost."""
    return {token for (token,) in await link.run(OWNED, {"runner": runner_id, "tokens": list(tokens)})}


async def of_runner(link: Link, runner_id: UUID, seen: int | None = None) -> list[Claim]:
    """Everything that a runner owns; nothing where its beat is another than `seen` by now: then it lives."""
    return [Claim(*row) for row in await link.run(OF_RUNNER, {"runner": runner_id, "seen": seen})]
