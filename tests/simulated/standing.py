"""The pretended PostgreSQL, what is about who is there and what is in force: `runners`, `configs`, `overrides`, …"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from reconciler.db.configs import ConfigKey, TaskConfig
from reconciler.db.configs import ConfigRow as Written
from reconciler.db.desired import Wanted
from reconciler.db.overrides import Override
from reconciler.db.runners import Beat
from reconciler.db.settled import Settled
from reconciler.db.wantedsince import Look
from simulated.database import Database
from simulated.rows import ConfigRow, PauseRow, RevisionRow, RunnerRow

YOUNG = timedelta(seconds=10)

# ── runners ──


def register(db: Database, runner_id: UUID, *, host: str, pid: int, queues: Any, tasks: Any, lease: float) -> None:
    row = db.tables.runners.get(runner_id)
    if row is None:
        row = RunnerRow(runner_id, host, pid, list(queues), list(tasks), round(lease * 1000))
        db.tables.runners[runner_id] = row
    else:
        row.beat += 1
    row.tasks, row.ended_at, row.ending = list(tasks), None, None


def beat(db: Database, runner_id: UUID, held: Iterable[UUID], *, is_all: bool = True) -> Beat:
    tables, now, known = db.tables, db.now(), set(held)
    mine = tables.runners.get(runner_id)
    is_there = mine is not None and mine.ended_at is None
    others: dict[UUID, tuple[int, float]] = {
        row.id: (row.beat, row.lease / 1000)
        for row in tables.runners.values()
        if row.id != runner_id and row.ended_at is None
    }
    for claim in tables.claims.values():
        owner = claim.runner_id
        if owner is not None and owner != runner_id:
            row = tables.runners.get(owner)
            if row is None or row.ended_at is not None:
                others[owner] = (-1, mine.lease / 1000 if mine else 30.0)
    own = {claim.token for claim in tables.claims.values() if claim.runner_id == runner_id}
    returned = 0
    for claim in tables.claims.values():
        if is_all and claim.runner_id == runner_id and claim.token not in known:
            assert claim.claimed_at is not None
            if claim.claimed_at < now - YOUNG:
                claim.runner_id = claim.token = claim.started_at = None
                returned += 1
    if is_there and mine is not None:
        mine.beat += 1
    return Beat(now, mine.beat if is_there and mine else None, returned, others, known - own)


def leave(db: Database, runner_id: UUID) -> None:
    for claim in db.tables.claims.values():
        if claim.runner_id == runner_id:
            claim.runner_id = claim.token = claim.started_at = None
    _end(db, runner_id, "stopped")


def note_death(db: Database, runner_id: UUID, seen: int | None = None) -> None:
    row = db.tables.runners.get(runner_id)
    if seen is not None and (row is None or row.beat != seen):
        return
    if not any(claim.runner_id == runner_id for claim in db.tables.claims.values()):
        _end(db, runner_id, "died")


def _end(db: Database, runner_id: UUID, how: str) -> None:
    row = db.tables.runners.get(runner_id)
    if row is not None and row.ended_at is None:
        row.ended_at, row.ending = db.now(), how


def place(db: Database, runner_id: UUID) -> str:
    row = db.tables.runners.get(runner_id)
    return f"{row.host}:{row.pid}" if row else str(runner_id)


def queues(db: Database, runner_id: UUID) -> list[str]:
    row = db.tables.runners.get(runner_id)
    return list(row.queues) if row else []


# ── configs and revisions ──


def keys(db: Database, names: Collection[str] | None = None) -> list[ConfigKey]:
    return [ConfigKey(c.id, c.name, c.source, c.digest, c.path) for c in _configs(db, names)]


def load(db: Database, names: Sequence[str] | None = None) -> list[TaskConfig]:
    return [
        TaskConfig(c.id, c.name, c.source, c.spec, c.digest, c.path, c.revision, c.created_at, c.updated_at)
        for c in _configs(db, names)
    ]


def _configs(db: Database, names: Collection[str] | None) -> list[ConfigRow]:
    rows = sorted(db.tables.configs.values(), key=lambda row: row.name)
    return rows if names is None else [row for row in rows if row.name in names]


def upsert(db: Database, rows: Sequence[Written], revision: str | None) -> None:
    now = db.now()
    for one in sorted(rows, key=lambda row: row.name):
        old, spec = db.tables.config(one.name), _document(one.spec)
        config_id, created = (old.id, old.created_at) if old else (db.next_id(), now)
        db.tables.configs[config_id] = ConfigRow(
            config_id, one.name, one.source, spec, one.digest, one.path, revision, created, now, db.transactions
        )


def _document(spec: Any) -> dict[str, Any]:
    return dict(spec) if isinstance(spec, Mapping) else spec.document()  # type: ignore[no-any-return]


def delete(db: Database, names: Sequence[str]) -> None:
    for config in _configs(db, names):
        del db.tables.configs[config.id]
        db.deleted_at = db.transactions


def append_in_force(db: Database, names: Sequence[str], sync_id: int) -> None:
    for config in _configs(db, names):
        row = RevisionRow(
            len(db.tables.revisions) + 1, config.name, config.digest, config.spec, config.revision, db.now()
        )
        db.tables.revisions.append(row)


def append_new(db: Database, rows: Sequence[Written], sync_id: int) -> None:
    """Only for what was changed by hand, which nobody does here."""
    assert not rows


def mark_removed(db: Database, names: Sequence[str]) -> None:
    for name in names:
        last = [row for row in db.tables.revisions if row.name == name][-1:]
        for row in last:
            if row.removed_at is None:
                row.removed_at = db.tables.cursors.get(name, db.now())


def specs(db: Database, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    pairs = set(wanted)
    return {(r.name, r.digest): r.spec for r in db.tables.revisions if (r.name, r.digest) in pairs}


# ── pauses ──


def pause(
    db: Database, whom: str | Mapping[str, str], reason: str | None, actor: str, until: datetime | None
) -> Override:
    now = db.now()
    for row in _meant(db, whom):
        row.ended_at, row.written = now if row.expires_at is None else min(row.expires_at, now), db.begun()
    name, selector = (whom, None) if isinstance(whom, str) else (None, dict(whom))
    row = PauseRow(db.next_id(), name, selector, reason, actor, now, until, None, db.begun())
    db.tables.pauses.append(row)
    return _override(row)


def resume(db: Database, whom: str | Mapping[str, str]) -> int:
    now, found = db.now(), 0
    for row in _meant(db, whom):
        found += row.is_active(now)
        row.ended_at, row.written = now if row.expires_at is None else min(row.expires_at, now), db.begun()
    return found


def _meant(db: Database, whom: str | Mapping[str, str]) -> list[PauseRow]:
    return [p for p in db.tables.pauses if p.ended_at is None and (p.name if p.name else p.selector) == whom]


def since(db: Database, names: Sequence[str], moment: datetime) -> list[Override]:
    found = []
    for one in db.tables.pauses:
        if one.until is not None and one.until <= moment:
            continue
        if one.name is not None:
            found += [_override(one)] if one.name in names else []
        else:
            found += [replace(_override(one), name=c.name) for c in _configs(db, names) if one.covers(c)]
    return sorted(found, key=lambda one: (one.name or "", one.created_at, one.id))


def _override(row: PauseRow) -> Override:
    ends = row.expires_at, row.ended_at
    return Override(row.id, row.name, "pause", row.reason, row.actor, row.created_at, *ends, row.selector)


# ── what Redis should say ──


def wanted(db: Database, now: datetime, names: Sequence[str] | None = None) -> list[Wanted]:
    found = []
    for config in _configs(db, names):
        covering = [p for p in db.tables.pauses if p.is_active(now) and p.covers(config)]
        covering.sort(key=lambda p: (p.expires_at is None, p.expires_at or now))
        last = covering[-1] if covering else None
        through = db.tables.cursors.get(config.name)
        of_pause = (True, last.reason, last.expires_at) if last else (False, None, None)
        found.append(Wanted(config.id, config.digest, through, *of_pause))
    return found


def wanted_since(db: Database, now: datetime) -> Look:
    """Everything, at each look."""
    return Look(seen(db), wanted(db, now), True)


def seen(db: Database) -> str:
    return f"{db.transactions + 1}:{db.transactions + 1}:"


def documents(db: Database, pairs: Sequence[tuple[int, str]]) -> dict[str, dict[str, Any]]:
    found = ((db.tables.configs.get(config_id), digest) for config_id, digest in pairs)
    return {digest: config.spec for config, digest in found if config and config.digest == digest}


def gone(db: Database, config_ids: Collection[int]) -> set[int]:
    return set(config_ids) - db.tables.configs.keys()


def settled(db: Database, config_ids: Collection[int], since: str) -> list[Settled]:
    top = int(since.split(":")[1])
    found = []
    for config_id in config_ids:
        config = db.tables.configs.get(config_id)
        if config is not None and config.written < top:
            is_touched = any(p.written >= top and p.covers(config) for p in db.tables.pauses)
            found.append(Settled(config.id, config.name, config.source, is_touched))
    return found


def has_deleted(db: Database, since: str) -> bool:
    return db.deleted_at >= int(since.split(":")[1])


# ── what the simulation does without ──


def begin(db: Database) -> None:
    """Nobody waits for others here."""


def upstreams(db: Database) -> dict[str, tuple[str, ...]]:
    return {}


def failing(db: Database, names: Sequence[str] | None = None) -> list[Any]:
    return []


def record(db: Database, runner: str, what: str, began_at: datetime, ended_at: datetime) -> None:
    """Outages are not kept."""
