"""Every spec a name ever had: what history, blame and rollback read, and what a pruned name leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reconciler.db.columns import Texts
from reconciler.db.configs import ROWS, ConfigRow, in_chunks
from reconciler.db.link import Statements

# In force from where the sync moved the cursors to: the instants up to there are those of the spec before.
APPEND = f"""
insert into task_revisions (name, digest, spec, source, path, sync_id, revision, applied_at)
select r.name, r.digest, r.spec::jsonb, r.source, r.path, %(sync_id)s,
       (select s.revision from syncs s where s.id = %(sync_id)s),
       coalesce((select s.started_at from syncs s where s.id = %(sync_id)s), clock_timestamp())
from {ROWS} as r(name, source, spec, digest, path)
order by r.name
"""

# Only the last revision of a name: the ones before it were replaced, not removed. It ends where the cursor was left,
# and once: a row that was added by hand under a name of the past, and goes, was never in force.
MARK_REMOVED = """
update task_revisions t
set removed_at = coalesce((select k.through from task_cursors k where k.name = t.name), clock_timestamp())
where id in (
    select last.id
    from unnest(%(names)s::text[]) as wanted(name)
    cross join lateral (
        select r.id from task_revisions r where r.name = wanted.name order by r.applied_at desc, r.id desc limit 1
    ) as last) and t.removed_at is null
"""

# The newest revision of each name up to a sync, unless the name was removed before the next sync that removed some.
AS_OF = """
with following as (
    select min(s.started_at) as at from syncs s where s.id > %(sync_id)s and s.deleted > 0
)
select last.name, last.source, last.spec, last.digest, last.path
from (
    select distinct on (r.name) r.name, r.source, r.spec, r.digest, r.path, r.removed_at
    from task_revisions r where r.sync_id <= %(sync_id)s
    order by r.name, r.applied_at desc, r.id desc
) last, following
where last.source = %(source)s and (last.removed_at is null or last.removed_at >= following.at)
order by last.name
"""

APPEND_IN_FORCE = APPEND.replace("r.spec::jsonb", "r.spec").replace(
    f"from {ROWS} as r(name, source, spec, digest, path)", "from task_configs r where r.name = any(%(names)s::text[])"
)

# Those whose newest revision says the very same are left out: they were put back, and nothing new began.
APPEND_NEW = APPEND.replace(
    "order by r.name",
    """where not exists (
    select from (
        select t.digest, t.source, t.path, t.removed_at from task_revisions t
        where t.name = r.name order by t.applied_at desc, t.id desc limit 1
    ) last
    where (last.digest, last.source, last.path) = (r.digest, r.source, r.path) and last.removed_at is null
)
order by r.name""",
)

SPECS = """
select wanted.name, wanted.digest, found.spec
from unnest(%(names)s::text[], %(digests)s::text[]) as wanted(name, digest)
cross join lateral (
    select r.spec from task_revisions r where r.name = wanted.name and r.digest = wanted.digest
    order by r.applied_at desc, r.id desc limit 1
) as found
"""


async def append(tx: Statements, rows: Sequence[ConfigRow], sync_id: int) -> None:
    """Add what a sync created or updated; nothing here is ever changed by a later one."""
    for chunk in in_chunks(rows):
        await tx.run(APPEND, {**chunk, "sync_id": sync_id})


async def append_in_force(tx: Statements, names: Sequence[str], sync_id: int) -> None:
    """The same for what stands in the configs already: it need not be sent twice."""
    await tx.run(APPEND_IN_FORCE, {"names": Texts(sorted(names)), "sync_id": sync_id})


async def append_new(tx: Statements, rows: Sequence[ConfigRow], sync_id: int) -> None:
    """The same for what may only have been put back to what the last sync wrote."""
    for chunk in in_chunks(rows):
        await tx.run(APPEND_NEW, {**chunk, "sync_id": sync_id})


async def as_of(tx: Statements, source: str, sync_id: int) -> list[ConfigRow]:
    """The specs of a source as they were in force after that sync, by name."""
    rows = await tx.run(AS_OF, {"source": source, "sync_id": sync_id})
    return [ConfigRow(*row) for row in rows]


async def mark_removed(tx: Statements, names: Sequence[str]) -> None:
    """Note that these names were pruned: the last revision of each gets its end."""
    if names:
        await tx.run(MARK_REMOVED, {"names": sorted(names)})


async def specs(link: Statements, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The spec of each (name, digest) that was ever applied; unknown ones are absent."""
    pairs = sorted(set(wanted))
    if not pairs:
        return {}
    params = {"names": [name for name, _ in pairs], "digests": [digest for _, digest in pairs]}
    return {(name, digest): spec for name, digest, spec in await link.run(SPECS, params)}
