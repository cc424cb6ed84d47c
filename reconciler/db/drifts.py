"""What somebody changed by hand in a store: from when a pass found it to when it was put right, or was gone.

One open row for each name and side. What differs is found elsewhere; here it is only kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from reconciler.db.link import Statements

Side = Literal["postgresql", "redis"]
# field -> [what should be there, what is there]; null: nothing.
Detail = Mapping[str, Any]

OPEN = """
select name, detail from drifts where source = %(source)s and side = %(side)s and ended_at is null
"""

# Seen for the first time, or in another way than before: since when it differs stays.
SEE = """
insert into drifts as d (source, name, side, detail, seen_at)
select %(source)s, r.name, %(side)s, r.detail, %(now)s
from jsonb_to_recordset(%(rows)s) as r(name text, detail jsonb) order by r.name
on conflict (name, side) where ended_at is null
do update set detail = excluded.detail, source = excluded.source where d.detail <> excluded.detail
"""

# Found and put right in the same pass.
PASSED = """
insert into drifts (source, name, side, detail, seen_at, ended_at, ending)
select %(source)s, r.name, %(side)s, r.detail, %(now)s, %(now)s, 'corrected'
from jsonb_to_recordset(%(rows)s) as r(name text, detail jsonb) order by r.name
"""

END = """
update drifts set ended_at = %(now)s, ending = %(ending)s
where side = %(side)s and ended_at is null and name = any(%(names)s::text[])
"""

SOURCES = "select distinct source from drifts where side = %(side)s and ended_at is null"

LISTING = """
select {columns} from drifts
where (%(name)s::text is null or name = %(name)s) and (%(source)s::text is null or source = %(source)s)
  and (ended_at is null or %(ended)s)
order by ended_at is not null, seen_at desc, name, side
limit %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Drift:
    """One finding. `name` "": Redis as a whole. `ended_at` None: it still differs, as far as the last pass saw."""

    id: int
    source: str
    name: str
    side: Side
    detail: dict[str, Any]
    seen_at: datetime
    ended_at: datetime | None
    ending: Literal["corrected", "gone"] | None


LISTED = LISTING.format(columns=", ".join(field.name for field in fields(Drift)))


async def record(
    tx: Statements,
    source: str,
    side: Side,
    found: Mapping[str, Detail],
    now: datetime,
    *,
    corrected: Collection[str] = (),
    is_complete: bool = True,
) -> list[str]:
    """Note what one look at a side found: new rows, and an end for those that are `corrected`; the names that are new.

    `is_complete`: what was open and is not found any more is gone.
    """
    before: dict[str, Detail] = dict(await tx.run(OPEN, {"source": source, "side": side}))
    common = {"source": source, "side": side, "now": now}
    mended = [name for name in found if name in corrected]
    if passed := [name for name in mended if name not in before]:
        await tx.run(PASSED, {**common, "rows": _rows(found, passed)})
    if left := [name for name in found if name not in corrected and before.get(name) != found[name]]:
        await tx.run(SEE, {**common, "rows": _rows(found, left)})
    for ending, names in (
        ("corrected", [name for name in mended if name in before]),
        ("gone", [name for name in before if name not in found and is_complete]),
    ):
        if names:
            await tx.run(END, {"side": side, "now": now, "names": sorted(names), "ending": ending})
    return [name for name in found if name not in before]


async def open_sources(link: Statements, side: Side) -> set[str]:
    """The sources of which something is open on a side."""
    return {source for (source,) in await link.run(SOURCES, {"side": side})}


async def listing(
    link: Statements,
    *,
    name: str | None = None,
    source: str | None = None,
    ended: bool = False,
    limit: int = 1000,
) -> list[Drift]:
    """The open ones, with `ended` the others too: open ones first, then the newest first."""
    params = {"name": name, "source": source, "ended": ended, "limit": limit}
    return [Drift(*row) for row in await link.run(LISTED, params)]


def _rows(found: Mapping[str, Detail], names: Collection[str]) -> Jsonb:
    return Jsonb([{"name": name, "detail": dict(found[name])} for name in names])
