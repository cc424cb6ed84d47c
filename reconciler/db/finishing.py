"""Occurrences that were won: how they end, as one final row or handed back for another attempt.

Each public function is one statement and so one transaction. A claim belongs to whoever holds its token: a statement
that names a token which is no longer there changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from reconciler.db.claimrows import COLUMNS, Claim, Returned, as_rows, plain
from reconciler.db.link import Link

# One row a token that this or an earlier, unanswered call has written; a token that is absent was lost to another.
FINISHING = """
with done as materialized (
    select * from jsonb_to_recordset(%(records)s) as d(
        name text, scheduled_for timestamptz, token uuid, task text, started_at timestamptz, finished_at timestamptz,
        is_success bool, error text, traceback text, result jsonb, log text, attempts jsonb, runner text, revision text)
), held as (
    select c.name, c.scheduled_for from task_claims c
    join done d on d.name = c.name and d.scheduled_for = c.scheduled_for and d.token = c.token
    order by c.name, c.scheduled_for
    for update of c
), gone as (
    delete from task_claims c using held h
    where c.name = h.name and c.scheduled_for = h.scheduled_for
    returning c.name, c.scheduled_for, c.token, c.trigger, c.replays, c.digest, c.actor
), written as (
    insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, error, traceback,
                                 result, log, attempts, trigger, replays, runner, token, digest, revision, actor)
    select g.name, g.scheduled_for, d.task, d.started_at, d.finished_at, d.is_success, d.error, d.traceback,
           nullif(d.result, 'null'::jsonb), d.log, d.attempts, g.trigger, g.replays, d.runner, g.token, g.digest,
           d.revision, g.actor
    from gone g join done d on d.token = g.token
    order by g.name, g.scheduled_for
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

WRITTEN = """
select token from written
union all
select e.token from task_executions e
join done d on d.name = e.name and d.scheduled_for = e.scheduled_for and d.token = e.token
"""

FINISH = FINISHING + WRITTEN
FINISH_AND_TELL = FINISHING + INCIDENTS + WRITTEN

# The token goes: whoever ran it until now, and was only counted as dead, writes nothing about it any more.
HAND_BACK = """
with back as (
    select c.name, c.scheduled_for, b.token, b.not_before, b.attempts
    from jsonb_to_recordset(%(claims)s) as b(
        name text, scheduled_for timestamptz, token uuid, not_before timestamptz, attempts jsonb)
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

OF_RUNNER = f"select {COLUMNS} from task_claims c where c.runner_id = %(runner)s order by c.name, c.scheduled_for"


async def finish(link: Link, records: Sequence[Mapping[str, Any]], *, is_told: bool = False) -> set[UUID]:
    """Turn owned claims into execution rows; returns the tokens that have theirs, the others were lost.

    `is_told`: somebody wants to hear of these. Each name may be among them once: a failure opens an incident where
    none is open, a success closes what is. Safe to repeat after an answer that never came.
    """
    statement = FINISH_AND_TELL if is_told else FINISH
    return {token for (token,) in await link.run(statement, {"records": Jsonb([plain(r) for r in records])})}


async def hand_back(link: Link, claims: Sequence[Returned]) -> set[UUID]:
    """Give claims back unowned; returns the tokens that were still theirs who called."""
    return {token for (token,) in await link.run(HAND_BACK, {"claims": as_rows(claims)})}


async def owned(link: Link, runner_id: UUID, tokens: Iterable[UUID]) -> set[UUID]:
    """Which of these tokens are really held: the answer to a decision whose reply was lost."""
    return {token for (token,) in await link.run(OWNED, {"runner": runner_id, "tokens": list(tokens)})}


async def of_runner(link: Link, runner_id: UUID) -> list[Claim]:
    """Everything that a runner owns."""
    return [Claim(*row) for row in await link.run(OF_RUNNER, {"runner": runner_id})]
