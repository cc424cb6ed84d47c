"""What must hold, at each step and at the end of a story; judged from outside, by the oracle and by the tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from reconciler.execute import Call
from simulated.database import Database, Transaction
from simulated.loop import Process
from simulated.oracle import due_after, due_between
from simulated.redis import Server
from simulated.rows import ClaimRow, Tables

NAMES_INSTANTS = ("schedule", "seconds", "timezone", "starts_at", "ends_at", "skip_on", "dst")
SCHEDULED = ("schedule", "catch_up")


@dataclass(slots=True)
class Version:
    """A spec of a name as it was in force: it names the instants after `boundary`. `document` None: pruned."""

    boundary: datetime
    document: dict[str, Any] | None

    @property
    def is_scheduled(self) -> bool:
        return self.document is not None and self.document.get("suspend") is not True


class Checks:
    """Listens to the stores and the children; `faults` is what did not hold."""

    def __init__(self, database: Database, tell: Any) -> None:
        self.faults: list[str] = []
        self.versions: dict[str, list[Version]] = {}
        self.started: dict[tuple[str, int], str] = {}
        self.running: dict[str, dict[str, Call]] = {}
        self.owners: dict[str, Process] = {}
        self.stopping: set[str] = set()
        self.starts = 0
        self.is_over = False
        self._database = database
        self._tell = tell
        database.on_commit.append(self._committed)
        database.on_claim.append(self._claimed)

    def complain(self, what: str) -> None:
        if self.is_over:
            return
        self._tell(f"WRONG {what}")
        self.faults.append(what)

    # ── at each step ──

    def _committed(self, before: Tables, transaction: Transaction) -> None:
        """A pass was committed: which spec of each name is in force from which instant on?"""
        old = {row.name: row for row in before.configs.values()}
        new = {row.name: row for row in self._database.tables.configs.values()}
        for name in sorted(old.keys() | new.keys()):
            was, is_now = old.get(name), new.get(name)
            if was and is_now and was.digest == is_now.digest:
                continue
            document = is_now.spec if is_now else None
            boundary = self._database.tables.cursors[name]
            if _counts_anew(was.spec if was else None, document) and transaction.began and boundary < transaction.began:
                self.complain(f"{name}: an edit left its cursor at {boundary:%T.%f}, before itself")
            self.versions.setdefault(name, []).append(Version(boundary, document))

    def _claimed(self, row: ClaimRow) -> None:
        """A claim is made."""
        tables, at = self._database.tables, f"{row.name} {row.scheduled_for:%T}"
        if row.key in tables.claims or row.key in tables.executions:
            self.complain(f"{at}: decided twice")
        if row.trigger not in SCHEDULED:
            return
        for pause in tables.pauses:
            config = tables.config(row.name)
            is_inside = pause.created_at <= row.scheduled_for and (not pause.until or row.scheduled_for < pause.until)
            if config is not None and pause.covers(config) and is_inside:
                self.complain(f"{at}: fires inside a pause")
        version = self.versions[row.name][-1]
        if row.scheduled_for <= version.boundary or not version.is_scheduled:
            self.complain(f"{at}: fires the past, or what is suspended")
        elif not _is_due(version, row.scheduled_for):
            self.complain(f"{at}: fires what is not due")
        if row.scheduled_for > self._database.unstepped() + timedelta(seconds=1):
            self.complain(f"{at}: fires early, at {self._database.now():%T.%f}")

    def began(self, process: Process, call: Call) -> None:
        """A child has called the function."""
        self.starts += 1
        self._tell(f"{process.name} starts {call.idempotency_key} attempt {call.attempt}")
        for other, one in self.running.get(call.idempotency_key, {}).items():
            if one.attempt < call.attempt and other != call.id and self._goes_on(other):
                self.complain(f"{call.idempotency_key}: attempt {call.attempt} runs beside attempt {one.attempt}")
        self.running.setdefault(call.idempotency_key, {})[call.id] = call
        self.owners[call.id] = process
        key = call.idempotency_key, call.attempt
        if key in self.started:
            self.complain(f"{call.idempotency_key}: attempt {call.attempt} started twice")
        self.started[key] = call.id
        name, _, instant = call.idempotency_key.partition("@")
        occurrence = name, datetime.fromisoformat(instant)
        claim = self._database.tables.claims.get(occurrence)
        if claim is None or (claim.token != UUID(call.id) and not claim.attempts):
            self.complain(f"{call.idempotency_key}: started by {process.name}, whose it is not any more")

    def ended(self, process: Process, call: Call) -> None:
        self._tell(f"{process.name} ended {call.idempotency_key} attempt {call.attempt}")
        self.running.get(call.idempotency_key, {}).pop(call.id, None)

    def cancelled(self, call_id: str) -> None:
        """A runner has told a call to stop."""
        self.stopping.add(call_id)

    def _goes_on(self, call_id: str) -> bool:
        """Nobody has told it to stop who could have: its runner is neither dead nor frozen, nor was a moment ago."""
        process = self.owners[call_id]
        is_away = process.is_dead or process.is_frozen or process.frozen_until > self._database.loop.time() - 1
        return not is_away and call_id not in self.stopping

    # ── at the end ──

    def verdicts(self) -> Iterator[str]:
        """Instants that have not exactly one verdict, and fires that no schedule names."""
        tables = self._database.tables
        due: set[tuple[str, datetime]] = set()
        for name, versions in self.versions.items():
            ends = [version.boundary for version in versions[1:]] + [tables.cursors[name]]
            for version, end in zip(versions, ends, strict=True):
                if version.is_scheduled and version.document is not None:
                    due |= {(name, at) for at in due_between(version.document, version.boundary, end)}
        for name, at in sorted(due):
            found = self._verdicts_of(name, at)
            if len(found) != 1:
                yield f"{name} {at:%T}: {len(found)} verdicts: {', '.join(found)}"
        for row in tables.executions.values():
            if row.trigger in SCHEDULED and (row.name, row.scheduled_for) not in due:
                yield f"{row.name} {row.scheduled_for:%T}: ran, and was not due"

    def unaccounted(self) -> Iterator[str]:
        """Attempts that were started, and of which the final row does not know."""
        rows = self._database.tables.executions
        for key, attempt in self.started:
            name, _, instant = key.partition("@")
            row = rows.get((name, datetime.fromisoformat(instant)))
            if row is None or len(row.attempts) + 1 < attempt:
                yield f"{key}: attempt {attempt} was started, and its row does not know of it"

    def _verdicts_of(self, name: str, at: datetime) -> list[str]:
        tables, found = self._database.tables, []
        if (name, at) in tables.executions:
            found.append("ran")
        if (name, at) in tables.claims:
            found.append("waits")
        found += [
            f"skipped ({skip.reason}: {skip.detail})"
            for (of, first), skip in tables.skips.items()
            if of == name and first <= at <= skip.last
        ]
        return found

    def left(self) -> list[str]:
        """Claims that are still there."""
        return [f"{row.name} {row.scheduled_for:%T} {row.trigger}" for row in self._database.tables.claims.values()]

    def late(self, slack: float) -> list[str]:
        """Names whose due instants nobody has decided for so many seconds."""
        found, tables, now = [], self._database.tables, self._database.now()
        for config in tables.configs.values():
            is_paused = any(pause.is_active(now) and pause.covers(config) for pause in tables.pauses)
            if config.is_suspended or is_paused:
                continue
            nearest = next(due_after(config.spec, tables.cursors[config.name]))
            if nearest < now - timedelta(seconds=slack):
                found.append(f"{config.name}: {nearest:%T} is not decided at {now:%T}")
        return found

    def differing(self, redis: Server) -> list[str]:
        """What Redis says otherwise than PostgreSQL wants."""
        tables, now, found = self._database.tables, self._database.now(), []
        for config in tables.configs.values():
            there = redis.data.hashes.get(str(config.id), {})
            score = redis.data.due.get(config.spec["queue"], {}).get(str(config.id))
            is_paused = any(pause.is_active(now) and pause.covers(config) for pause in tables.pauses)
            state = "suspended" if config.is_suspended else "paused" if is_paused else "active"
            nearest = next(due_after(config.spec, tables.cursors[config.name]))
            next_run = "" if config.is_suspended else str(int(nearest.timestamp() * 1000))
            if (there.get("state"), there.get("digest"), there.get("next_run", "")) != (state, config.digest, next_run):
                found.append(f"{config.name}: {there} instead of {state} {next_run}")
            elif state == "active" and score is None:
                found.append(f"{config.name}: not queued")
        known = {str(config_id) for config_id in tables.configs}
        found += [f"#{id_}: is nobody's" for id_ in redis.data.hashes.keys() - known]
        return found


def _is_due(version: Version, at: datetime) -> bool:
    assert version.document is not None
    return next(due_after(version.document, at - timedelta(microseconds=1))) == at


def _counts_anew(was: dict[str, Any] | None, is_now: dict[str, Any] | None) -> bool:
    """Whether what is due from now on is not what was due."""
    if was is None or is_now is None:
        return True
    is_resumed = was.get("suspend") is True and is_now.get("suspend") is not True
    return is_resumed or any(was.get(field) != is_now.get(field) for field in NAMES_INSTANTS)
