"""Where what is in force came from: the revisions of a name with who applied them, and the first failure after one.

A sync that is forgotten leaves the commit; the commit's author and subject went with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from reconciler.db.link import Statements

MOST_REVISIONS = 10_000

REVISIONS = """
select r.digest, r.spec, r.source, r.path, r.revision, r.applied_at, r.removed_at, r.sync_id,
       s.author, s.subject, s.actor, s.reason
from task_revisions r
left join syncs s on s.id = r.sync_id
where r.name = %(name)s
order by r.applied_at desc, r.id desc
limit %(limit)s
"""

# The plan of a sync names what it deleted; sources are few, and so are the syncs that delete.
REMOVAL = """
select g.id, g.revision, g.author, g.subject, g.actor, g.reason, g.finished_at
from syncs g
where g.started_at >= %(since)s and g.deleted > 0 and g.plan -> 'changes' @> %(change)s
order by g.started_at desc, g.id desc
limit 1
"""

# Beside each failure the run of its name that was due before it. Where that one succeeded with another spec, or with
# one of another commit, this is the first failure since.
FIRST_FAILURES = """
select e.name, e.scheduled_for, coalesce(r.revision, e.revision), s.author, s.subject
from unnest(%(names)s::text[], %(instants)s::timestamptz[]) as asked(name, scheduled_for)
join task_executions e on e.name = asked.name and e.scheduled_for = asked.scheduled_for and not e.is_success
join lateral (
    select x.is_success, x.digest, x.revision from task_executions x
    where x.name = e.name and x.scheduled_for < e.scheduled_for
    order by x.scheduled_for desc limit 1
) as before on before.is_success
           and (before.digest <> e.digest or before.revision is distinct from e.revision)
left join lateral (
    select t.revision, t.sync_id from task_revisions t
    where t.name = e.name and t.digest = e.digest
    order by t.applied_at > e.scheduled_for, t.applied_at desc, t.id desc limit 1
) as r on true
left join syncs s on s.id = r.sync_id
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """One revision of a name, and the sync that applied it; what is None about that is forgotten, or was not known."""

    digest: str
    spec: dict[str, Any]
    source: str
    path: str
    revision: str | None
    applied_at: datetime
    removed_at: datetime | None
    sync_id: int
    author: str | None
    subject: str | None
    actor: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Removed:
    """The sync that deleted a name."""

    sync_id: int
    revision: str | None
    author: str | None
    subject: str | None
    actor: str
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Culprit:
    """The commit that a failure is the first one after; all None: a spec without a known commit."""

    revision: str | None
    author: str | None
    subject: str | None


async def revisions(link: Statements, name: str, limit: int = MOST_REVISIONS) -> list[Origin]:
    """Every revision of a name, newest first; empty where there never was one."""
    return [Origin(*row) for row in await link.run(REVISIONS, {"name": name, "limit": limit})]


async def removal(link: Statements, name: str, since: datetime) -> Removed | None:
    """The last sync since then that deleted the name; None where it is forgotten."""
    change = Jsonb([{"verb": "delete", "name": name}])
    rows = await link.run(REMOVAL, {"since": since, "change": change})
    return Removed(*rows[0]) if rows else None


async def first_failures(
    link: Statements, occurrences: Iterable[tuple[str, datetime]]
) -> dict[tuple[str, datetime], Culprit]:
    """Those of these (name, instant) that failed where the run before had succeeded with another revision."""
    asked = sorted(set(occurrences))
    if not asked:
        return {}
    params = {"names": [name for name, _ in asked], "instants": [instant for _, instant in asked]}
    return {(name, instant): Culprit(*rest) for name, instant, *rest in await link.run(FIRST_FAILURES, params)}
