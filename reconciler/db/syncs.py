"""One row for each attempt to bring a revision into force, the refused and the failed ones too."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from reconciler.db.link import Statements


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """What one pass set out to do and did. `id` is None until it is recorded; `plan` is the plan as JSON."""

    id: int | None = None
    source: str
    revision: str | None = None
    author: str | None = None
    subject: str | None = None
    created: int = 0
    updated: int = 0
    deleted: int = 0
    adopted: int = 0
    plan: dict[str, Any] | None = None
    is_success: bool
    error: str | None = None
    actor: str
    started_at: datetime
    finished_at: datetime
    reason: str | None = None


COLUMNS = tuple(field.name for field in fields(Sync))
WRITTEN = COLUMNS[1:]

RECORD = f"""
insert into syncs ({", ".join(WRITTEN)}) values ({", ".join(f"%({name})s" for name in WRITTEN)}) returning id
"""

LATEST = f"""
select {", ".join(COLUMNS)} from syncs
where source = %(source)s and (is_success or not %(succeeded)s)
order by started_at desc, id desc limit 1
"""

LISTING = f"select {', '.join(COLUMNS)} from syncs order by id desc limit %(limit)s"


async def record(tx: Statements, sync: Sync) -> int:
    """Write one pass; returns its id."""
    [(sync_id,)] = await tx.run(RECORD, {name: getattr(sync, name) for name in WRITTEN})
    return int(sync_id)


async def latest(link: Statements, source: str, *, succeeded: bool = False) -> Sync | None:
    """The last pass of a source, or the last that succeeded; None when there was none."""
    rows = await link.run(LATEST, {"source": source, "succeeded": succeeded})
    return _sync(rows[0]) if rows else None


async def listing(link: Statements, limit: int = 20) -> list[Sync]:
    """The last passes of all sources, newest first."""
    return [_sync(row) for row in await link.run(LISTING, {"limit": limit})]


def _sync(row: tuple[Any, ...]) -> Sync:
    return Sync(**dict(zip(COLUMNS, row, strict=True)))
