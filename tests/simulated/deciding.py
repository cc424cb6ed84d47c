"""The pretended PostgreSQL, what is about an instant that comes due: `db.claims.decide` and `db.cursors`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from reconciler.db.claimrows import Move, Wanted
from reconciler.db.claims import Decided
from reconciler.db.cursors import Sighted
from reconciler.occurrences import Pause, Skip
from reconciler.overlap import REPLACED_BY
from simulated.database import Database
from simulated.rows import ClaimRow, ConfigRow, PauseRow


def decide(
    db: Database, runner_id: UUID, moves: Sequence[Move], fires: Sequence[Wanted], skips: Sequence[Skip]
) -> Decided:
    now, tables = db.now(), db.tables
    moved: dict[str, str] = {}
    for move in moves:
        config = tables.config(move.name)
        if config is None or config.digest != move.digest or config.is_suspended:
            continue
        if tables.cursors.get(move.name) != move.seen or move.name in db.locked:
            continue
        if move.is_remembered and config.revision != move.revision:
            continue
        if any(_is_in_the_way(pause, move, now) and pause.covers(config) for pause in tables.pauses):
            continue
        moved[move.name] = move.digest
    for move in moves:
        if move.name in moved:
            db.move_cursor(move.name, move.through)
    ours = sorted((fire for fire in fires if fire.name in moved), key=lambda fire: (fire.name, fire.scheduled_for))
    before = set(tables.claims)
    is_plain = not any(fire.waits or fire.overlap in ("queue", "replace") for fire in fires)
    told = _plain(db, runner_id, ours, moved) if is_plain else _full(db, runner_id, ours, moved)
    won, queued, lost, dropped, is_asked = told
    written = [skip for skip in skips if skip.name in moved] + dropped
    for fire, detail in lost:
        if (fire.name, fire.scheduled_for) not in tables.executions and (fire.name, fire.scheduled_for) not in before:
            written.append(Skip(fire.name, fire.scheduled_for, fire.scheduled_for, 1, "overlap", detail))
    return Decided(set(moved), won, bool(queued), is_asked, dict(record_skips(db, written)))


def _is_in_the_way(pause: PauseRow, move: Move, now: datetime) -> bool:
    """An active one; for what is remembered any that the runner may not know of."""
    if move.is_remembered:
        return pause.until is None or pause.until > move.seen
    return pause.is_active(now)


def _plain(db: Database, runner_id: UUID, fires: Sequence[Wanted], digests: Mapping[str, str]) -> Any:
    busy = _busy(db, fires)
    won, lost = set(), []
    for fire in fires:
        if fire.name not in busy and _claim(db, fire, digests[fire.name], runner_id):
            won.add(fire.token)
        else:
            lost.append((fire, _why(busy.get(fire.name))))
    return won, set(), lost, [], False


def _full(db: Database, runner_id: UUID, fires: Sequence[Wanted], digests: Mapping[str, str]) -> Any:
    tables, busy = db.tables, _busy(db, fires)
    replacing: dict[str, datetime] = {}
    for fire in fires:
        if fire.overlap == "replace":
            replacing.setdefault(fire.name, fire.scheduled_for)
    replaced = [c for c in tables.claims.values() if c.name in replacing and c.is_busy]
    beside: dict[str, int] = {}
    for claim in tables.claims.values():
        if claim.is_waiting and claim.trigger in ("schedule", "catch_up"):
            beside[claim.name] = max(claim.turn, beside.get(claim.name, claim.turn))
    dropped, is_asked = [], False
    for claim in replaced:
        why = f"{REPLACED_BY}{_written(replacing[claim.name])}"
        if claim.is_waiting:
            del tables.claims[claim.key]
            dropped.append(Skip(claim.name, claim.scheduled_for, claim.scheduled_for, 1, "overlap", why))
        elif claim.cancel_requested is None:
            claim.cancel_requested = why
            is_asked = True
    in_the_way = {claim.name for claim in replaced}
    won: set[UUID] = set()
    queued: set[tuple[str, datetime]] = set()
    lost: list[tuple[Wanted, str]] = []
    waits: dict[UUID, bool | None] = {fire.token: _has_to_wait(fire, busy, in_the_way) for fire in fires}
    for fire in fires:
        if waits[fire.token] is False and _claim(db, fire, digests[fire.name], runner_id):
            won.add(fire.token)
    places: Counter[str] = Counter()
    for fire in fires:
        has_to_wait, key = waits[fire.token], (fire.name, fire.scheduled_for)
        may = has_to_wait or (has_to_wait is False and fire.overlap in ("queue", "replace") and fire.token not in won)
        if may and key not in tables.executions:
            places[fire.name] += 1
            turn = fire.turn
            if not fire.exclusive and has_to_wait and fire.name in beside:
                turn = max(turn, beside[fire.name] + places[fire.name])
            if key not in tables.claims:
                db.add_claim(_row(fire, digests[fire.name], turn=turn, not_before=fire.scheduled_for))
                queued.add(key)
        if fire.token not in won and key not in queued:
            lost.append((fire, _why(busy.get(fire.name))))
    return won, queued, lost, dropped, is_asked


def _has_to_wait(fire: Wanted, busy: Mapping[str, Any], in_the_way: set[str]) -> bool | None:
    waiting, going = busy.get(fire.name, (None, None))
    if fire.overlap == "replace":
        return fire.waits or fire.name in in_the_way
    if waiting is not None:
        return None
    if going is None:
        return fire.waits
    return True if fire.overlap == "queue" or fire.is_backlog else None


def _busy(db: Database, fires: Sequence[Wanted]) -> dict[str, tuple[datetime | None, datetime | None]]:
    """By name the first instant that waits, and the first that goes on."""
    names = {fire.name for fire in fires if fire.exclusive}
    found: dict[str, tuple[list[datetime], list[datetime]]] = {}
    for claim in db.tables.claims.values():
        if claim.name in names and claim.is_busy:
            waiting, going = found.setdefault(claim.name, ([], []))
            (waiting if claim.is_waiting else going).append(claim.scheduled_for)
    return {name: (min(a, default=None), min(b, default=None)) for name, (a, b) in found.items()}


def _claim(db: Database, fire: Wanted, digest: str, runner_id: UUID) -> bool:
    tables, key = db.tables, (fire.name, fire.scheduled_for)
    if key in tables.executions or key in tables.claims:
        return False
    if fire.exclusive and db.owned_exclusive(fire.name):
        return False
    now = db.now()
    row = _row(fire, digest, turn=fire.turn, not_before=fire.scheduled_for)
    row.token, row.runner_id, row.claimed_at, row.started_at = fire.token, runner_id, now, now
    db.add_claim(row)
    return True


def _row(fire: Wanted, digest: str, *, turn: int, not_before: datetime) -> ClaimRow:
    return ClaimRow(
        fire.name,
        fire.scheduled_for,
        fire.task,
        fire.queue,
        fire.trigger,
        digest,
        fire.exclusive,
        not_before=not_before,
        priority=fire.priority,
        turn=turn,
        start_by=fire.start_by,
    )


def _why(busy: tuple[datetime | None, datetime | None] | None) -> str:
    waiting, going = busy or (None, None)
    if waiting is not None:
        return f"the run of {_written(waiting)} was still waiting"
    if going is not None:
        return f"the run of {_written(going)} was still going"
    return "another run was under way"


def _written(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def record_skips(db: Database, skips: Iterable[Skip]) -> Counter[str]:
    """How many instants by reason were written; what stands already is not one more."""
    counts: Counter[str] = Counter()
    for skip in sorted(skips, key=lambda skip: (skip.name, skip.first)):
        if (skip.name, skip.first) not in db.tables.skips:
            db.tables.skips[skip.name, skip.first] = skip
            counts[skip.reason] += 1 if skip.count is None else skip.count
    return counts


# ── cursors ──


def sight(db: Database, config_ids: Sequence[int]) -> list[Sighted]:
    found = []
    for config_id in config_ids:
        config = db.tables.configs.get(config_id)
        if config is not None and config.name in db.tables.cursors:
            through = db.tables.cursors[config.name]
            found.append(Sighted(config.id, config.name, config.digest, config.revision, through, _pauses(db, config)))
    return sorted(found, key=lambda one: one.name)


def _pauses(db: Database, config: ConfigRow) -> tuple[Pause, ...]:
    through = db.tables.cursors[config.name]
    reaching = [p for p in db.tables.pauses if p.covers(config) and (p.until is None or p.until > through)]
    reaching.sort(key=lambda one: one.created_at)
    return tuple(Pause(p.created_at, p.until, p.reason, p.actor) for p in reaching)


def ids_of(db: Database, names: Sequence[str]) -> list[int]:
    return [row.id for row in sorted(db.tables.configs.values(), key=lambda row: row.name) if row.name in set(names)]


def ensure(db: Database, names: Sequence[str], now: datetime) -> None:
    for name in names:
        db.tables.cursors.setdefault(name, now)


def lock(db: Database, names: Sequence[str]) -> dict[str, datetime]:
    return {name: db.tables.cursors[name] for name in sorted(names) if name in db.tables.cursors}


def move_to(db: Database, names: Sequence[str], now: datetime) -> None:
    for name in names:
        if name in db.tables.cursors:
            db.tables.cursors[name] = max(db.tables.cursors[name], now)
