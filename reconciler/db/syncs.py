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

    @property
    def counts(self) -> int:
        """How many configs it changed."""
        return self.created + self.updated + self.deleted + self.adopted


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

ONE = f"select {', '.join(COLUMNS)} from syncs where id = %(id)s"

# From the row of the last success on, and at least the last one: what a new row would have to differ from.
SINCE = f"""
select {", ".join(COLUMNS)} from syncs
where source = %(source)s and id >= %(since)s and (revision is not distinct from %(revision)s or id = %(since)s)
order by id desc limit 100
"""

# What brought a state into force, of one source: whole or in part. Refused and failed ones did not.
STANDING = f"""
select {", ".join(column for column in COLUMNS if column != "plan")} from syncs
where source = %(source)s and (is_success or created + updated + deleted + adopted > 0)
  and (%(before)s::bigint is null or id < %(before)s)
order by id desc
"""

REPAIRS = """
select id from syncs
where source = %(source)s and plan -> 'changes' @> '[{"is_drift": true}]'
  and not plan -> 'changes' @> '[{"is_drift": false}]'
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


async def one(link: Statements, sync_id: int) -> Sync | None:
    """The pass with that id; None where there is none, or it was pruned."""
    rows = await link.run(ONE, {"id": sync_id})
    return _sync(rows[0]) if rows else None


async def since(link: Statements, source: str, sync_id: int, revision: str | None) -> list[Sync]:
    """The passes of a source at that revision from `sync_id` on, and that one in any case; oldest first."""
    rows = await link.run(SINCE, {"source": source, "since": sync_id, "revision": revision})
    return [_sync(row) for row in reversed(rows)]


async def standing(link: Statements, source: str, before: int | None = None) -> list[Sync]:
    """Every pass that brought a state of the source into force, newest first, without the plans."""
    rows = await link.run(STANDING, {"source": source, "before": before})
    columns = [column for column in COLUMNS if column != "plan"]
    return [Sync(**dict(zip(columns, row, strict=True))) for row in rows]


async def repairs(link: Statements, source: str) -> set[int]:
    """The passes that only put right what was changed by hand: the state after each is the one before it."""
    return {int(sync_id) for (sync_id,) in await link.run(REPAIRS, {"source": source})}


async def listing(link: Statements, limit: int = 20) -> list[Sync]:
    """The last passes of all sources, newest first."""
    return [_sync(row) for row in await link.run(LISTING, {"limit": limit})]


def _sync(row: tuple[Any, ...]) -> Sync:
    return Sync(**dict(zip(COLUMNS, row, strict=True)))
