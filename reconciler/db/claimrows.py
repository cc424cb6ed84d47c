"""What goes into the statements about claims and comes out of them: values, and how they are written as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb


@dataclass(frozen=True, slots=True)
class Move:
    """A name's cursor, from where the runner saw it to where it decided; with the digest it decided by."""

    name: str
    digest: str
    seen: datetime
    through: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """An occurrence that a runner wants to own, or to see `waits` where it is not to start at once.

    `is_backlog`: one of several of its name that are made up for together.
    """

    name: str
    scheduled_for: datetime
    task: str
    token: UUID
    queue: str
    priority: int
    trigger: str
    exclusive: bool
    turn: int = 0
    start_by: datetime | None = None
    overlap: str = "skip"
    waits: bool = False
    is_backlog: bool = False


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
    cancel_requested: str | None = None
    follow: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    """A claim to give back unowned: not to start before `not_before`, with what its attempts said so far."""

    name: str
    scheduled_for: datetime
    token: UUID
    not_before: datetime
    attempts: list[dict[str, Any]]


# The fields of a `Claim`, in their order, of `task_claims c`. The revision is that of the spec it was decided by, which
# may have been edited or pruned since, and may have come back: then the one before its instant counts.
_REVISION = """(
    select r.revision from task_revisions r where r.name = c.name and r.digest = c.digest
    order by r.applied_at > c.scheduled_for, r.applied_at desc, r.id desc limit 1) as revision"""
COLUMNS = ", ".join(_REVISION if field.name == "revision" else f"c.{field.name}" for field in fields(Claim))


def as_rows(values: Sequence[Any]) -> Jsonb:
    """Dataclasses of one kind as one JSON array, for `jsonb_to_recordset`; what has its default is left out."""
    if not values:
        return Jsonb([])
    defaults = [(field.name, field.default) for field in fields(values[0])]
    return Jsonb(
        [plain({name: value for name, by in defaults if (value := getattr(row, name)) is not by}) for row in values]
    )


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Column values with moments and tokens as text; the rest is JSON already."""
    return {key: _text(value) if isinstance(value, datetime | UUID) else value for key, value in values.items()}


def _text(value: datetime | UUID) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
