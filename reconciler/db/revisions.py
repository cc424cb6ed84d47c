"""Every spec a name ever had: what history, blame and rollback read, and what a pruned name leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reconciler.db.configs import ConfigRow, in_chunks
from reconciler.db.link import Statements

# In force from where the sync moved the cursors to: the instants up to there are those of the spec before.
APPEND = """
insert into task_revisions (name, digest, spec, source, path, sync_id, applied_at)
select r.name, r.digest, r.spec, r.source, r.path, %(sync_id)s,
       coalesce((select s.started_at from syncs s where s.id = %(sync_id)s), clock_timestamp())
from jsonb_to_recordset(%(rows)s) as r(name text, digest text, spec jsonb, source text, path text)
order by r.name
"""

# Only the last revision of a name: the ones before it were replaced, not removed. It ends where the cursor was left.
MARK_REMOVED = """
update task_revisions t
set removed_at = coalesce((select k.through from task_cursors k where k.name = t.name), clock_timestamp())
where id in (
    select last.id
    from unnest(%(names)s::text[]) as wanted(name)
    cross join lateral (
        select r.id from task_revisions r where r.name = wanted.name order by r.applied_at desc, r.id desc limit 1
    ) as last)
"""

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
    for records in in_chunks(rows):
        await tx.run(APPEND, {"rows": records, "sync_id": sync_id})


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
