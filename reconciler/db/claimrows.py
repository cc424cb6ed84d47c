"""What goes into the statements about claims and comes out of them: values, and how they are written as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

# The columns of a `Claim`, in its order, of `task_claims c`.
COLUMNS = """c.name, c.scheduled_for, c.task, c.token, c.queue, c.priority, c.attempts, c.params, c.trigger, c.replays,
          c.digest, c.exclusive, c.started_at,
          (select g.revision from task_configs g where g.name = c.name) as revision"""


@dataclass(frozen=True, slots=True)
class Move:
    """A name's cursor, from where the runner saw it to where it decided; with the digest it decided by."""

    name: str
    digest: str
    seen: datetime
    through: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """An occurrence that a runner wants to own."""

    name: str
    scheduled_for: datetime
    task: str
    token: UUID
    queue: str
    priority: int
    trigger: str
    exclusive: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """An occurrence that is owned: `attempts` is what earlier tries said, `params` what a trigger adds to the spec."""

    name: str
    scheduled_for: datetime
    task: str
    token: UUID
    queue: str
    priority: int
    attempts: list[dict[str, Any]]
    params: dict[str, Any] | None
    trigger: str
    replays: datetime | None
    digest: str
    exclusive: bool
    started_at: datetime | None
    revision: str | None


@dataclass(frozen=True, slots=True)
class Returned:
    """A claim to give back unowned: not to start before `not_before`, with what its attempts said so far."""

    name: str
    scheduled_for: datetime
    token: UUID
    not_before: datetime
    attempts: list[dict[str, Any]]


def as_rows(values: Sequence[Any]) -> Jsonb:
    """Dataclasses as one JSON array, for `jsonb_to_recordset`."""
    return Jsonb([plain({field.name: getattr(value, field.name) for field in fields(value)}) for value in values])


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Column values with moments and tokens as text; the rest is JSON already."""
    return {key: _text(value) if isinstance(value, datetime | UUID) else value for key, value in values.items()}


def _text(value: datetime | UUID) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
