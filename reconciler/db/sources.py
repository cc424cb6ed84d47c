"""How far has each source come: its last success, its last attempt, and where an operator has pinned it.

A row appears with the first attempt, and stays when the source leaves the settings, until somebody removes it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from reconciler.db.link import Statements


@dataclass(frozen=True, slots=True)
class Pin:
    """An earlier state that was put back by hand, and stays until a commit that descends from `while_` comes.

    `revision`: the commit whose specs are in force, with `-dirty` where they were; None where it had none.
    """

    revision: str | None
    by: str
    at: datetime
    reason: str | None
    while_: str | None
    sync_id: int | None = None

    @property
    def text(self) -> str:
        """`pinned at 1a2b3c4 by ada since 2026-11-24 12:00 UTC: last night's report was wrong`."""
        where = (self.revision or f"sync {self.sync_id}")[:7] if self.revision else f"sync {self.sync_id}"
        why = f": {self.reason}" if self.reason else ""
        return f"pinned at {where} by {self.by} since {self.at:%Y-%m-%d %H:%M} UTC{why}"


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt for the source of that name; `label` is its revision, with `-dirty`; an empty place is not known."""

    name: str
    place: str
    label: str | None
    now: datetime
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`revision`: the commit that the configs have reached, without `-dirty`. `tried_revision` is with it."""

    name: str
    place: str = ""
    revision: str | None = None
    applied_at: datetime | None = None
    sync_id: int | None = None
    tried_at: datetime | None = None
    tried_revision: str | None = None
    error: str | None = None
    pinned_revision: str | None = None
    pinned_sync_id: int | None = None
    pinned_while: str | None = None
    pinned_at: datetime | None = None
    pinned_by: str | None = None
    pin_reason: str | None = None

    @property
    def pin(self) -> Pin | None:
        """Where it is pinned; None: it follows its commits."""
        if self.pinned_at is None:
            return None
        by = self.pinned_by or "nobody named"
        return Pin(self.pinned_revision, by, self.pinned_at, self.pin_reason, self.pinned_while, self.pinned_sync_id)


COLUMNS = ", ".join(field.name for field in fields(Source))
ONE = f"select {COLUMNS} from sources where name = %(name)s"
EVERY = f"select {COLUMNS} from sources order by name"

# The last success; it is the last attempt, too.
APPLIED = """
insert into sources as s (name, place, revision, applied_at, sync_id, tried_at, tried_revision, error)
values (%(name)s, %(place)s, %(revision)s, %(now)s, %(sync_id)s, %(now)s, %(label)s, %(error)s)
on conflict (name) do update set
    place = coalesce(nullif(excluded.place, ''), s.place), revision = excluded.revision,
    applied_at = excluded.applied_at, sync_id = coalesce(excluded.sync_id, s.sync_id),
    tried_at = excluded.tried_at, tried_revision = excluded.tried_revision, error = excluded.error
"""

TRIED = """
insert into sources as s (name, place, tried_at, tried_revision, error)
values (%(name)s, %(place)s, %(now)s, %(label)s, %(error)s)
on conflict (name) do update set
    place = coalesce(nullif(excluded.place, ''), s.place),
    tried_at = excluded.tried_at, tried_revision = excluded.tried_revision, error = excluded.error
"""

PIN = """
update sources set pinned_revision = %(revision)s, pinned_sync_id = %(sync_id)s, pinned_while = %(while)s,
    pinned_at = %(at)s, pinned_by = %(by)s, pin_reason = %(reason)s
where name = %(name)s
"""

UNPIN = """
update sources set pinned_revision = null, pinned_sync_id = null, pinned_while = null,
    pinned_at = null, pinned_by = null, pin_reason = null
where name = %(name)s and pinned_at is not null returning name
"""

REMOVE = "delete from sources where name = %(name)s returning name"


async def one(tx: Statements, name: str) -> Source | None:
    """One source as it stands; None where nothing of it was ever tried."""
    rows = await tx.run(ONE, {"name": name})
    return Source(**_named(rows[0])) if rows else None


async def every(link: Statements) -> list[Source]:
    """All that were ever tried and not removed since, by name."""
    return [Source(**_named(row)) for row in await link.run(EVERY)]


async def applied(tx: Statements, attempt: Tried, *, revision: str | None, sync_id: int | None) -> None:
    """The configs stand at `revision` (a commit, or None). An empty place and a missing `sync_id` leave the old."""
    await tx.run(APPLIED, {**asdict(attempt), "revision": revision, "sync_id": sync_id})


async def tried(tx: Statements, attempt: Tried) -> None:
    """An attempt that brought nothing new into force: it failed, or there was nothing to do."""
    await tx.run(TRIED, asdict(attempt))


async def pin(tx: Statements, name: str, pin: Pin) -> None:
    """Keep a source that has a row at an earlier state."""
    given = {"revision": pin.revision, "sync_id": pin.sync_id, "while": pin.while_, "at": pin.at, "by": pin.by}
    await tx.run(PIN, {**given, "reason": pin.reason, "name": name})


async def unpin(tx: Statements, name: str) -> bool:
    """Let it follow its commits again; False where it was not pinned."""
    return bool(await tx.run(UNPIN, {"name": name}))


async def remove(tx: Statements, name: str) -> bool:
    """Forget how far a source had come; its configs are the caller's. False where there was no such row."""
    return bool(await tx.run(REMOVE, {"name": name}))


def _named(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip((field.name for field in fields(Source)), row, strict=True))
