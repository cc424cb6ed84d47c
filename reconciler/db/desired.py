"""What PostgreSQL says that Redis should say: every config with its cursor and the pause that holds it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from reconciler.db.link import Link, Statements

# One row a config. Of several pauses, of its name or of its labels, the one that ends last counts; one without an end
# is later than any.
WANTED_WHERE = """
with open as materialized (
    select name, selector, reason, expires_at
    from task_overrides
    where ended_at is null and kind = 'pause' and (expires_at is null or expires_at > %(now)s)
), covering as (
    select name, reason, expires_at from open where name is not null
    union all
    select c.name, o.reason, o.expires_at
    from (select selector, reason, expires_at from open where name is null) o
    join task_configs c on c.spec -> 'labels' @> o.selector and {condition}
)
select c.id, c.digest, k.through, p.name is not null, p.reason, p.expires_at
from task_configs c
left join task_cursors k on k.name = c.name
left join (
    select distinct on (name) name, reason, expires_at from covering order by name, expires_at desc nulls first
) p on p.name = c.name
where {condition}
"""

WANTED = WANTED_WHERE.format(condition="true")
WANTED_OF = WANTED_WHERE.format(condition="c.name = any(%(names)s::text[])")

# By id and digest: a config that has been changed since it was read is read again by the next pass.
DOCUMENTS = """
select c.digest, c.spec
from unnest(%(ids)s::bigint[], %(digests)s::text[]) as wanted(id, digest)
join task_configs c on c.id = wanted.id and c.digest = wanted.digest
"""

STILL_THERE = "select id from task_configs where id = any(%(ids)s::bigint[])"


class Wanted(NamedTuple):
    """A config as one statement saw it. `through` None: it has no cursor, so no instant of it may fire.

    A tuple, because each pass makes and compares one a config, and a frozen dataclass takes six times as long.
    """

    config_id: int
    digest: str
    through: datetime | None
    is_paused: bool
    reason: str | None
    until: datetime | None


async def wanted(link: Statements, now: datetime, names: Sequence[str] | None = None) -> list[Wanted]:
    """All configs, or those of `names`, at one moment; a pause that ends by `now` is none."""
    if names is None:
        rows = await link.run(WANTED, {"now": now})
    else:
        rows = await link.run(WANTED_OF, {"now": now, "names": list(names)})
    return [Wanted._make(row) for row in rows]


async def documents(link: Link, pairs: Sequence[tuple[int, str]]) -> dict[str, dict[str, Any]]:
    """The specs of these (id, digest), by digest; what has changed since is absent."""
    ids, digests = [i for i, _ in pairs], [digest for _, digest in pairs]
    return dict(await link.run(DOCUMENTS, {"ids": ids, "digests": digests}))


async def gone(link: Link, config_ids: Collection[int]) -> set[int]:
    """Those of these ids that no config has any more. An id never comes back."""
    there = {row[0] for row in await link.run(STILL_THERE, {"ids": list(config_ids)})}
    return set(config_ids) - there
