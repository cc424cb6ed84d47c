"""What of all that Redis should say has changed since the last look over the same connection?

Told by the transactions that wrote the rows, and by how many configs there are. Where that does not tell, everything is
read: at the first look, after a pause was made or has ended, after a restart of the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from reconciler.db import desired
from reconciler.db.desired import Wanted
from reconciler.db.link import Link
from reconciler.db.settled import MARK
from reconciler.db.tampered import is_new

# More rows than that are as quick to read with all the others.
MOST: Final = 2_000

# How far this look sees, which server it is, how many configs and pauses there are, whether a pause is another one than
# at the last look, and the configs that are, or whose cursors are; one without a cursor may have lost it.
GLANCE: Final = f"""
with {MARK}
select m.seen_now, pg_postmaster_start_time()::text, (select count(*) from task_configs),
       (select count(*) from task_overrides where ended_at is null),
       exists (
           select from task_overrides o
           where {is_new("o")} or o.ended_at is null and o.expires_at > %(last)s
                 and o.expires_at <= %(now)s
       ),
       array(
           select c.name from task_configs c left join task_cursors k on k.name = c.name
           where k.name is null or {is_new("c")} or {is_new("k")}
           limit {MOST} + 1
       )
from (select m.*, pg_current_snapshot()::text as seen_now from mark m) m
"""


@dataclass(slots=True)
class Look:
    """`rows`: those that have changed, or all of them where `is_whole`.

    `made` is for whoever looks: what came of each row, by id. A row that has nothing there is not known the next time.
    """

    seen: str
    rows: Sequence[Wanted]
    is_whole: bool
    made: dict[int, Any] = field(default_factory=dict)
    server: str = ""
    pauses: int = 0
    now: datetime | None = None
    session: object = None


_looks: WeakKeyDictionary[object, Look] = WeakKeyDictionary()


async def wanted_since(link: Link, now: datetime) -> Look:
    """The look at this moment. What it gave is known the next time only where it was kept."""
    async with link.transaction() as tx:
        last = _looks.pop(tx.session, None)
        params = {"seen": last and last.seen, "last": last and last.now, "now": now}
        [(seen, server, count, pauses, is_other, names)] = await tx.run(GLANCE, params)
        look = Look(seen, (), False, last.made if last else {}, server, pauses, now, tx.session)
        is_same = last and (last.server, last.pauses) == (server, pauses) and not is_other
        if last and is_same and len(names) <= MOST and (last.now or now) <= now:
            look.rows = await desired.wanted(tx, now, names) if names else ()
            if count == len(look.made) + sum(row.config_id not in look.made for row in look.rows):
                return look
        look.rows, look.is_whole, look.made = await desired.wanted(tx, now), True, {}
        return look


def keep(look: Look) -> None:
    """All that it gave was understood: the next one gives what has changed since."""
    look.rows = ()
    _looks[look.session] = look
