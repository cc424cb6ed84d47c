"""The rows of the pretended PostgreSQL, as far as runners and passes read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(slots=True)
class ConfigRow:
    id: int
    name: str
    source: str
    spec: dict[str, Any]
    digest: str
    path: str
    revision: str | None
    created_at: datetime
    updated_at: datetime
    written: int = 0  # the number of the transaction

    @property
    def is_suspended(self) -> bool:
        return self.spec.get("suspend") is True

    def has(self, selector: dict[str, str]) -> bool:
        labels = self.spec.get("labels") or {}
        return all(labels.get(key) == value for key, value in selector.items())


@dataclass(slots=True)
class ClaimRow:
    name: str
    scheduled_for: datetime
    task: str
    queue: str
    trigger: str
    digest: str
    exclusive: bool
    token: UUID | None = None
    runner_id: UUID | None = None
    not_before: datetime | None = None
    priority: int = 0
    attempts: list[dict[str, Any]] = field(default_factory=list)
    params: dict[str, Any] | None = None
    replays: datetime | None = None
    claimed_at: datetime | None = None
    started_at: datetime | None = None
    cancel_requested: str | None = None
    turn: int = 0
    start_by: datetime | None = None
    follow: bool = False

    @property
    def key(self) -> tuple[str, datetime]:
        return self.name, self.scheduled_for

    @property
    def is_waiting(self) -> bool:
        """Nobody owns it, and it was never tried."""
        return self.runner_id is None and not self.attempts

    @property
    def is_busy(self) -> bool:
        """An instant of its name does not run beside it."""
        is_under_way = self.runner_id is not None or bool(self.attempts)
        return self.exclusive and (is_under_way or self.trigger in ("schedule", "catch_up"))


@dataclass(slots=True)
class ExecutionRow:
    name: str
    scheduled_for: datetime
    trigger: str
    is_success: bool
    error: str | None
    attempts: list[dict[str, Any]]
    token: UUID
    digest: str
    started_at: datetime
    finished_at: datetime
    result: Any = None
    replays: datetime | None = None


@dataclass(slots=True)
class RunnerRow:
    id: UUID
    host: str
    pid: int
    queues: list[str]
    tasks: list[str]
    lease: int
    beat: int = 0
    ended_at: datetime | None = None
    ending: str | None = None


@dataclass(slots=True)
class PauseRow:
    id: int
    name: str | None
    selector: dict[str, str] | None
    reason: str | None
    actor: str
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None = None
    written: int = 0

    @property
    def until(self) -> datetime | None:
        return min((end for end in (self.ended_at, self.expires_at) if end), default=None)

    def is_active(self, now: datetime) -> bool:
        return self.ended_at is None and (self.expires_at is None or self.expires_at > now)

    def covers(self, config: ConfigRow) -> bool:
        return self.name == config.name if self.selector is None else config.has(self.selector)


@dataclass(slots=True)
class RevisionRow:
    id: int
    name: str
    digest: str
    spec: dict[str, Any]
    revision: str | None
    applied_at: datetime
    removed_at: datetime | None = None


@dataclass(slots=True)
class Tables:
    """Everything that is kept; `configs` by id, `skips` by name and first instant."""

    configs: dict[int, ConfigRow] = field(default_factory=dict)
    cursors: dict[str, datetime] = field(default_factory=dict)
    claims: dict[tuple[str, datetime], ClaimRow] = field(default_factory=dict)
    executions: dict[tuple[str, datetime], ExecutionRow] = field(default_factory=dict)
    skips: dict[tuple[str, datetime], Any] = field(default_factory=dict)
    pauses: list[PauseRow] = field(default_factory=list)
    runners: dict[UUID, RunnerRow] = field(default_factory=dict)
    revisions: list[RevisionRow] = field(default_factory=list)

    def config(self, name: str) -> ConfigRow | None:
        return next((row for row in self.configs.values() if row.name == name), None)
