"""What should run, as PostgreSQL has it: one row a config, a pure copy of its spec.

Who may change a row, and whether a change moves an instant, is decided before this is called.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from reconciler.db.columns import Texts
from reconciler.db.link import Statements

KEYS = "select id, name, source, digest, path from task_configs order by name"
KEYS_OF = KEYS.replace("order by", "where name = any(%(names)s::text[]) order by")
COUNT = "select count(*) from task_configs where source = %(source)s"

LOAD = """
select id, name, source, spec, digest, path, revision, created_at, updated_at
from task_configs
where %(names)s::text[] is null or name = any(%(names)s::text[])
order by name
"""

# What `in_chunks` gives, in binary: the server reads large arrays of text slowly. Each spec is JSON.
ROWS = "unnest(%(names)s::text[], %(sources)s::text[], %(specs)s::text[], %(digests)s::text[], %(paths)s::text[])"

# Ordered by name: two writers that take the same rows take them in the same order.
UPSERT = f"""
insert into task_configs as c (name, source, spec, digest, path, revision)
select r.name, r.source, r.spec::jsonb, r.digest, r.path, %(revision)s
from {ROWS} as r(name, source, spec, digest, path)
order by r.name
on conflict (name) do update set
    source = excluded.source, spec = excluded.spec, digest = excluded.digest, path = excluded.path,
    revision = excluded.revision, updated_at = clock_timestamp()
"""

DELETE = "delete from task_configs where name = any(%(names)s::text[])"


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """A spec as it is in force. `spec` is whole, its defaults filled in; `revision` is the commit it came from."""

    id: int
    name: str
    source: str
    spec: dict[str, Any]
    digest: str
    path: str
    revision: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def is_scheduled(self) -> bool:
        """Whether it has a schedule that is not suspended."""
        return bool(self.spec.get("schedule")) and self.spec.get("suspend") is not True


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """As much of a config as a pass compares."""

    id: int
    name: str
    source: str
    digest: str
    path: str


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """A config to write: `spec` is `TaskSpec.document()`, or the spec itself: its JSON is the same, and sooner made."""

    name: str
    source: str
    spec: Any
    digest: str
    path: str


async def keys(tx: Statements, names: Collection[str] | None = None) -> list[ConfigKey]:
    """Every config, or those of `names` that exist, by name, without their specs."""
    rows = await (tx.run(KEYS) if names is None else tx.run(KEYS_OF, {"names": sorted(names)}))
    return [ConfigKey(*row) for row in rows]


async def count(tx: Statements, source: str) -> int:
    """How many configs a source has."""
    [(number,)] = await tx.run(COUNT, {"source": source})
    return int(number)


async def load(tx: Statements, names: Sequence[str] | None = None) -> list[TaskConfig]:
    """Configs by name: all of them, or those of `names` that exist."""
    wanted = None if names is None else list(names)
    return [TaskConfig(*row) for row in await tx.run(LOAD, {"names": wanted})]


async def upsert(tx: Statements, rows: Sequence[ConfigRow], revision: str | None) -> None:
    """Write configs, each name at most once; a row that exists keeps its id and creation."""
    for chunk in in_chunks(rows):
        await tx.run(UPSERT, {**chunk, "revision": revision})


async def delete(tx: Statements, names: Sequence[str]) -> None:
    """Remove configs. Their cursors, history and revisions stay."""
    if names:
        await tx.run(DELETE, {"names": sorted(names)})


def in_chunks(rows: Sequence[ConfigRow], size: int = 10_000) -> Iterator[dict[str, Texts]]:
    """The rows as the parameters of `ROWS`, ordered by name, so many to a statement that memory stays bounded."""
    ordered = sorted(rows, key=lambda row: row.name)
    for start in range(0, len(ordered), size):
        chunk = ordered[start : start + size]
        yield {
            "names": Texts([row.name for row in chunk]),
            "sources": Texts([row.source for row in chunk]),
            "specs": Texts([to_json(row.spec).decode() for row in chunk]),
            "digests": Texts([row.digest for row in chunk]),
            "paths": Texts([row.path for row in chunk]),
        }
