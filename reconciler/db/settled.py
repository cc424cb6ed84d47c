"""What of a config has PostgreSQL changed since somebody last looked? By snapshots of transactions, not by clocks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from reconciler.db.link import Link

SEEN: Final = "select pg_current_snapshot()::text"

# Row versions carry the lower half of a transaction number: it is the last one of that kind before now.
IS_SEEN: Final = """pg_visible_in_snapshot(
    (m.top - ((m.top - {row}.xmin::text::bigint) & 4294967295))::text::xid8, m.seen)"""
MARK: Final = """mark as materialized (
    select %(seen)s::text::pg_snapshot as seen, pg_snapshot_xmax(pg_current_snapshot())::text::bigint as top
)"""

# An override counts by the labels that a config has now; one that ended by itself has not changed.
SETTLED: Final = f"""
with {MARK}, news as materialized (
    select o.name, o.selector from task_overrides o, mark m where not {IS_SEEN.format(row="o")}
)
select c.id, c.name, c.source, exists (
    select from news n where n.name = c.name or (n.name is null and c.spec -> 'labels' @> n.selector)
)
from mark m, task_configs c
where c.id = any(%(ids)s::bigint[]) and {IS_SEEN.format(row="c")}
"""

DELETED: Final = f"""
with {MARK}
select exists (select from syncs s, mark m where s.deleted > 0 and not {IS_SEEN.format(row="s")})
"""


class Settled(NamedTuple):
    """A config that nobody has written since; `is_touched`: but a pause that covers it was made or ended."""

    config_id: int
    name: str
    source: str
    is_touched: bool


async def seen(link: Link) -> str:
    """Which transactions are over at this moment, as the server writes it."""
    [(snapshot,)] = await link.run(SEEN)
    return str(snapshot)


async def settled(link: Link, config_ids: Collection[int], since: str) -> list[Settled]:
    """Those of these configs that are as they were when `seen` gave `since`."""
    return [Settled(*row) for row in await link.run(SETTLED, {"ids": list(config_ids), "seen": since})]


async def has_deleted(link: Link, since: str) -> bool:
    """Whether a sync has deleted configs since."""
    [(is_so,)] = await link.run(DELETED, {"seen": since})
    return bool(is_so)
