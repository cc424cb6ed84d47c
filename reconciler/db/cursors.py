"""How far each name is decided, and what a runner needs to see before it decides more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from reconciler.db.link import Link, Transaction
from reconciler.occurrences import Pause

# A name that comes back keeps its cursor: the instants between its removal and now are not its past to fire.
ENSURE = """
insert into task_cursors (name, through)
select name, %(now)s from unnest(%(names)s::text[]) as name order by name
on conflict (name) do nothing
"""

# Held until the transaction ends, so that no runner decides from the schedule that is being replaced.
LOCK = "select name, through from task_cursors where name = any(%(names)s::text[]) order by name for update"

# Never backwards: a cursor that moved back would fire its past again.
MOVE = """
update task_cursors set through = greatest(through, %(now)s) where name = any(%(names)s::text[])
"""

# One row a config that still exists, with its cursor and every pause that touches instants after it: of its name, and
# of labels that it has now. Those by label are few, and looked up once.
SIGHT = """
with seen as materialized (
    select c.id, c.name, c.digest, c.revision, c.spec, k.through
    from unnest(%(ids)s::bigint[]) as wanted(id)
    join task_configs c on c.id = wanted.id
    join task_cursors k on k.name = c.name
), labelled as materialized (
    select o.selector, o.created_at, least(o.ended_at, o.expires_at) as until, o.reason, o.actor
    from task_overrides o
    where o.name is null and o.kind = 'pause'
      and coalesce(least(o.ended_at, o.expires_at), 'infinity') > (select min(s.through) from seen s)
)
select s.id, s.name, s.digest, s.revision, s.through, p.pauses
from seen s
left join lateral (
    select jsonb_agg(jsonb_build_array(extract(epoch from o.created_at), extract(epoch from o.until), o.reason, o.actor)
                     order by o.created_at) as pauses
    from (
        select n.created_at, least(n.ended_at, n.expires_at) as until, n.reason, n.actor
        from task_overrides n
        where n.name = s.name and n.kind = 'pause'
        union all
        select l.created_at, l.until, l.reason, l.actor from labelled l where s.spec -> 'labels' @> l.selector
    ) o
    where coalesce(o.until, 'infinity') > s.through
) p on true
order by s.name
"""


IDS = "select id from task_configs where name = any(%(names)s::text[]) order by name"


class Sighted(NamedTuple):
    """A config as a runner sees it at one moment; acted on only if PostgreSQL still agrees when it is written."""

    config_id: int
    name: str
    digest: str
    revision: str | None
    through: datetime
    pauses: tuple[Pause, ...]


async def ensure(tx: Transaction, names: Sequence[str], now: datetime) -> None:
    """Give each name without a cursor one at `now`: nothing before it will ever fire."""
    await tx.run(ENSURE, {"names": list(names), "now": now})


async def lock(tx: Transaction, names: Sequence[str]) -> dict[str, datetime]:
    """The cursors of these names, kept from moving until the transaction ends; a name without one is absent."""
    return dict(await tx.run(LOCK, {"names": list(names)}))


async def move_to(tx: Transaction, names: Sequence[str], now: datetime) -> None:
    """Count every instant up to `now` as decided; skips for them are the caller's to record."""
    await tx.run(MOVE, {"names": list(names), "now": now})


async def sight(link: Link, config_ids: Sequence[int]) -> list[Sighted]:
    """What there is to decide from, ordered by name; ids without a config are absent."""
    rows = await link.run(SIGHT, {"ids": list(config_ids)})
    return [
        Sighted(id_, name, digest, revision, through, tuple(map(_pause, pauses or ())))
        for id_, name, digest, revision, through, pauses in rows
    ]


async def ids_of(link: Link, names: Sequence[str]) -> list[int]:
    """The ids by which these names can be sighted; a name without a config is absent."""
    return [config_id for (config_id,) in await link.run(IDS, {"names": list(names)})]


def _pause(row: Sequence[object]) -> Pause:
    since, until, reason, actor = row
    return Pause(_moment(since), None if until is None else _moment(until), reason, actor)  # type: ignore[arg-type]


def _moment(seconds: object) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)  # type: ignore[arg-type]
