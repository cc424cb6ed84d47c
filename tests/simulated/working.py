"""The pretended PostgreSQL, what is about claims that wait, run and end: `pick_up`, `waiting`, `finishing`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from reconciler.db.claimrows import Claim, Returned
from reconciler.db.underway import Asked
from reconciler.occurrences import Skip, not_started_within
from reconciler.spec import TaskSpec
from simulated.database import Database
from simulated.deciding import record_skips
from simulated.rows import ClaimRow, ExecutionRow


def claim_of(db: Database, row: ClaimRow) -> Claim:
    found = [r for r in db.tables.revisions if r.name == row.name and r.digest == row.digest]
    found.sort(key=lambda r: (r.applied_at <= row.scheduled_for, r.applied_at, r.id))
    assert row.token is not None
    return Claim(
        row.name,
        row.scheduled_for,
        row.task,
        row.token,
        row.queue,
        row.priority,
        list(row.attempts),
        row.params,
        row.trigger,
        row.replays,
        row.digest,
        row.exclusive,
        row.started_at,
        found[-1].revision if found else None,
        row.cancel_requested,
        row.follow,
    )


# ── waiting work ──


def pick_up(db: Database, runner_id: UUID, queues: Iterable[str], tasks: Iterable[str], limit: int) -> list[Claim]:
    now, known = db.now(), set(tasks)
    ready: list[ClaimRow] = []
    waiting = [c for c in db.tables.claims.values() if c.runner_id is None]
    for queue in queues if waiting else ():
        may = [c for c in waiting if c.queue == queue and c.task in known and _may_start(db, c, now)]
        ready += sorted(may, key=_place)[:limit]
    chosen: list[ClaimRow] = []
    ready.sort(key=lambda c: c.name)
    for _, of_name in groupby(ready, key=lambda c: c.name):
        for place, claim in enumerate(sorted(of_name, key=lambda c: (*_place(c), c.scheduled_for))):
            if place == 0 or not claim.exclusive:
                chosen.append(claim)
    return [_owned_now(db, claim, runner_id) for claim in sorted(chosen, key=_place)[:limit]]


def pick_up_limited(
    db: Database, runner_id: UUID, limits: Mapping[str, int], tasks: Sequence[str], limit: int
) -> list[Claim]:
    picked: list[Claim] = []
    for queue, most in limits.items():
        owned = sum(c.queue == queue and c.runner_id is not None for c in db.tables.claims.values())
        room = min(limit - len(picked), most - owned)
        if room > 0:
            picked += pick_up(db, runner_id, [queue], tasks, room)
    return picked


def _owned_now(db: Database, claim: ClaimRow, runner_id: UUID) -> Claim:
    claim.runner_id, claim.token = runner_id, db.new_token()
    claim.claimed_at = claim.started_at = db.now()
    return claim_of(db, claim)


def _place(claim: ClaimRow) -> tuple[int, int]:
    return -claim.priority, claim.turn


def _is_due(claim: ClaimRow, now: datetime) -> bool:
    assert claim.not_before is not None
    return claim.not_before <= now and claim.cancel_requested is None


def _may_start(db: Database, claim: ClaimRow, now: datetime) -> bool:
    if not _is_due(claim, now) or claim.name not in db.tables.cursors or claim.name in db.locked:
        return False
    if claim.start_by is not None and not claim.attempts and claim.start_by < now:
        return False
    if not claim.exclusive:
        return True
    others = [c for c in db.tables.claims.values() if c.name == claim.name and c.exclusive and c is not claim]
    if any(c.runner_id is not None for c in others):
        return False
    if claim.attempts:
        return True
    return not any(c.attempts or _goes_before(c, claim, now) for c in others)


def _goes_before(other: ClaimRow, claim: ClaimRow, now: datetime) -> bool:
    """Of what nobody owns: an earlier instant with an earlier turn."""
    if other.scheduled_for >= claim.scheduled_for or other.turn >= claim.turn or not _is_due(other, now):
        return False
    same = (other.queue, other.task, other.priority) == (claim.queue, claim.task, claim.priority)
    return same and (other.start_by is None or other.start_by >= now)


def is_any(db: Database) -> bool:
    return any(claim.runner_id is None for claim in db.tables.claims.values())


def skip(db: Database) -> Counter[str]:
    """What waits and is too late, or paused now."""
    now, ended = db.now(), {}
    active = [pause for pause in db.tables.pauses if pause.is_active(now)]
    for claim in list(db.tables.claims.values()):
        if not claim.is_waiting or claim.cancel_requested is not None:
            continue
        if claim.start_by is not None and claim.start_by < now:
            ended[claim.key] = ("deadline", _too_late(db, claim))
        elif claim.trigger in ("schedule", "catch_up", "after"):
            config = db.tables.config(claim.name)
            for pause in active:
                if pause.name == claim.name or (pause.name is None and config and pause.covers(config)):
                    reason = f": {pause.reason}" if pause.reason is not None else ""
                    ended[claim.key] = ("paused", f"paused by {pause.actor}{reason}, while it waited")
                    break
    for key in ended:
        del db.tables.claims[key]
    skips = [Skip(name, at, at, 1, *why) for (name, at), why in ended.items()]
    return record_skips(db, skips)


def _too_late(db: Database, claim: ClaimRow) -> str:
    for row in db.tables.revisions:
        if row.name == claim.name and row.digest == claim.digest:
            return not_started_within(TaskSpec.from_document(row.spec).deadline.start)
    return "not started in time"


def cancelled(db: Database, runner_id: UUID) -> list[Claim]:
    found = [c for c in db.tables.claims.values() if c.runner_id is None and c.cancel_requested is not None]
    for claim in found:
        claim.exclusive = False
    return [_owned_now(db, claim, runner_id) for claim in sorted(found, key=lambda c: c.key)]


def give_up(db: Database, patience: timedelta = timedelta(minutes=10)) -> list[tuple[str, str]]:
    there = [runner for runner in db.tables.runners.values() if runner.ended_at is None]
    served = {(queue, task) for runner in there for queue in runner.queues for task in runner.tasks}
    found = []
    for claim in db.tables.claims.values() if served else ():
        assert claim.not_before is not None
        if claim.runner_id is not None or claim.cancel_requested is not None:
            continue
        config = db.tables.config(claim.name)
        is_named = config and (config.spec["task"], config.spec["queue"]) == (claim.task, claim.queue)
        if claim.not_before >= db.now() - patience or is_named or (claim.queue, claim.task) in served:
            continue
        claim.cancel_requested = f"given up: no runner has the task '{claim.task}' in queue '{claim.queue}' any more"
        found.append((claim.name, claim.cancel_requested))
    return found


# ── what ends ──


def finish(db: Database, records: Sequence[Mapping[str, Any]], *, is_told: bool = False) -> set[UUID]:
    written = set()
    for record in records:
        key, token = (record["name"], record["scheduled_for"]), record["token"]
        claim, row = db.tables.claims.get(key), db.tables.executions.get(key)
        if claim is not None and claim.token == token:
            del db.tables.claims[key]
            if row is None:
                db.tables.executions[key] = ExecutionRow(
                    claim.name,
                    claim.scheduled_for,
                    claim.trigger,
                    record["is_success"],
                    record["error"],
                    list(record["attempts"]),
                    token,
                    claim.digest,
                    record["started_at"],
                    record["finished_at"],
                    record["result"],
                    claim.replays,
                )
                written.add(token)
        elif row is not None and row.token == token:
            written.add(token)
    return written


def hand_back(db: Database, claims: Sequence[Returned]) -> set[UUID]:
    returned = set()
    for back in claims:
        claim = db.tables.claims.get((back.name, back.scheduled_for))
        if claim is not None and claim.token == back.token:
            _free(claim)
            claim.not_before, claim.attempts = back.not_before, list(back.attempts)
            returned.add(back.token)
    return returned


def _free(claim: ClaimRow) -> None:
    claim.runner_id = claim.token = claim.started_at = None


def owned(db: Database, runner_id: UUID, tokens: Iterable[UUID]) -> set[UUID]:
    wanted = set(tokens)
    return {c.token for c in db.tables.claims.values() if c.runner_id == runner_id and c.token in wanted and c.token}


def of_runner(db: Database, runner_id: UUID, seen: int | None = None) -> list[Claim]:
    owner = db.tables.runners.get(runner_id)
    if seen is not None and owner is not None and owner.ended_at is None and owner.beat != seen:
        return []
    found = [c for c in db.tables.claims.values() if c.runner_id == runner_id]
    return [claim_of(db, c) for c in sorted(found, key=lambda c: c.key)]


# ── what runs, and who looks at it ──


def asked(db: Database, runner_id: UUID) -> list[Asked]:
    return [
        Asked(c.token, c.name, c.scheduled_for, c.cancel_requested, c.follow)
        for c in db.tables.claims.values()
        if c.runner_id == runner_id and c.token and (c.cancel_requested is not None or c.follow)
    ]


def progress(db: Database, rows: Sequence[Mapping[str, Any]]) -> None:
    """Not kept."""


def last_successes(db: Database, names: Sequence[str]) -> dict[str, tuple[datetime, Any]]:
    found = {}
    for name in names:
        rows = [e for e in db.tables.executions.values() if e.name == name and e.is_success]
        newest = sorted(rows, key=lambda e: e.scheduled_for)[-10:]
        if newest:
            best = max(newest, key=lambda e: e.replays or e.scheduled_for)
            found[name] = (best.replays or best.scheduled_for, best.result)
    return found
