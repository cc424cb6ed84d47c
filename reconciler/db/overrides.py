"""What an operator said by hand, over git: a pause of a name or of a label, with its reason and its end.

An override is over at `ended_at` or at `expires_at`, whichever comes first: nobody has to tidy it up. A pause by label
covers whatever has those labels at the moment in question, a spec that comes later too. Whether a name exists is the
caller's question, and what a pause means for an instant is decided elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from reconciler.db.link import Link, Statements

Selector = Mapping[str, str]

COLUMNS = "id, name, kind, reason, actor, created_at, expires_at, ended_at, selector"
IS_ACTIVE = "kind = 'pause' and ended_at is null and (expires_at is null or expires_at > clock_timestamp())"
# One of the two is null, and nothing equals null.
IS_MEANT = "(name = %(name)s or (name is null and selector = %(selector)s::jsonb))"

# Two operators at once: the second finds the first one's pause, and replaces it.
TURN = "select pg_advisory_xact_lock(hashtextextended(%(turn)s, 7215))"

# The same moment ends one pause and begins the next: no instant falls between the two.
REPLACE = f"""
with moment as materialized (select clock_timestamp() as at),
ended as (
    update task_overrides set ended_at = least(expires_at, (select at from moment))
    where {IS_MEANT} and kind = 'pause' and ended_at is null
)
insert into task_overrides (name, selector, kind, reason, actor, created_at, expires_at)
select %(name)s, %(selector)s, 'pause', %(reason)s, %(actor)s, at, %(until)s from moment
returning {COLUMNS}
"""

RESUME = f"""
with open as materialized (
    select id, {IS_ACTIVE} as is_active
    from task_overrides
    where {IS_MEANT} and kind = 'pause' and ended_at is null
    order by id
    for update
)
update task_overrides o set ended_at = least(o.expires_at, clock_timestamp())
from open where o.id = open.id
returning open.is_active
"""

ACTIVE = f"select {COLUMNS} from task_overrides where {IS_ACTIVE} order by name, id"

# Those by label are few; each is held against the labels that these names have now.
SINCE = f"""
with reaching as materialized (
    select {COLUMNS} from task_overrides
    where name is null and kind = 'pause' and coalesce(least(ended_at, expires_at), 'infinity') > %(moment)s
)
select name as covered, {COLUMNS} from task_overrides
where name = any(%(names)s::text[]) and kind = 'pause'
  and coalesce(least(ended_at, expires_at), 'infinity') > %(moment)s
union all
select c.name, r.* from reaching r
join task_configs c on c.name = any(%(names)s::text[]) and c.spec -> 'labels' @> r.selector
order by covered, created_at, id
"""

COVERED = "select name from task_configs where spec -> 'labels' @> %(selector)s::jsonb order by name"


@dataclass(frozen=True, slots=True)
class Override:
    """One thing said about one name, or about all that have the labels of `selector`, and then `name` is None.

    Without `expires_at` it lasts until somebody ends it.
    """

    id: int
    name: str | None
    kind: str
    reason: str | None
    actor: str
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    selector: dict[str, str] | None = None

    @property
    def until(self) -> datetime | None:
        """When it ends by itself."""
        return self.expires_at

    def covers(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether it is about a task so named and labelled: `labels` holds all of the selector."""
        if self.selector is None:
            return self.name == name
        return all(labels.get(key) == value for key, value in self.selector.items())


async def pause(link: Link, whom: str | Selector, reason: str | None, actor: str, until: datetime | None) -> Override:
    """Pause a name, or all with these labels, from now to `until`, or for good.

    A pause of the same name or labels that is in force ends as this one begins.
    """
    meant = _meant(whom)
    async with link.transaction() as tx:
        await tx.run(TURN, {"turn": _turn(whom)})
        [row] = await tx.run(REPLACE, {**meant, "reason": reason, "actor": actor, "until": until})
    return Override(*row)


async def resume(link: Link, whom: str | Selector) -> int:
    """End every pause of just this name, or of just these labels, now; returns how many were in force."""
    async with link.transaction() as tx:
        await tx.run(TURN, {"turn": _turn(whom)})
        rows = await tx.run(RESUME, _meant(whom))
    return sum(is_active for (is_active,) in rows)


async def active(link: Statements) -> list[Override]:
    """Every pause in force at this moment of the database's clock, by name; those by label come last."""
    return [Override(*row) for row in await link.run(ACTIVE)]


async def since(link: Statements, names: Sequence[str], moment: datetime) -> list[Override]:
    """The pauses that reach past `moment` and cover these names, ended ones too, by name and age.

    One by label stands there once for each name that it covers, with that name, by the labels in force.
    """
    rows = await link.run(SINCE, {"names": list(names), "moment": moment})
    return [replace(Override(*row[1:]), name=row[0]) for row in rows]


async def covered(link: Statements, selector: Selector) -> list[str]:
    """The names that have these labels now."""
    return [name for (name,) in await link.run(COVERED, {"selector": Jsonb(dict(selector))})]


def _meant(whom: str | Selector) -> dict[str, Any]:
    if isinstance(whom, str):
        return {"name": whom, "selector": None}
    return {"name": None, "selector": Jsonb(dict(whom))}


def _turn(whom: str | Selector) -> str:
    # No name begins with a brace.
    return whom if isinstance(whom, str) else json.dumps(dict(whom), sort_keys=True)
