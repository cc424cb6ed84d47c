"""Which configs are not what the last sync wrote? Found by the server, and after the first time only in what is new.

The last sync wrote the newest revision of a name. A row that was changed by hand has a newer transaction than the one
that a look has seen, so a pass with nothing new costs a scan of the configs' row headers. What changed in the table of
revisions itself, and what becomes of what is found, is not asked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from reconciler.db.link import Transaction
from reconciler.db.settled import IS_SEEN, MARK

Kind = Literal["changed", "deleted", "unknown", "cursor"]

# How far this look sees, whether a config is newer than the last one, and the configs without a cursor.
GLANCE: Final = """
with {mark}
select pg_current_snapshot()::text,
       exists (select from mark m, task_configs c where {is_new}),
       array(select c.name from task_configs c where not exists (select from task_cursors k where k.name = c.name))
"""
# Ages first, which cost little: nearly all rows are older than any transaction that was under way then.
IS_NEW: Final = f"""
(m.seen is null or age(c.xmin) <= age(pg_snapshot_xmin(m.seen)::xid) and not {IS_SEEN.format(row="c")})"""

# Those among the new ones, and among `names`, that are not as the newest revision of their name has them. Documents are
# compared by their bytes first, which takes a tenth of the time.
CHANGED: Final = """
with {mark}
select c.name, c.source, c.digest, c.path, c.spec, r.source, r.digest, r.path, r.spec
from mark m cross join task_configs c
left join lateral (
    select source, digest, path, spec, removed_at from task_revisions r
    where r.name = c.name order by r.applied_at desc, r.id desc limit 1
) r on r.removed_at is null
where ({is_new} or c.name = any(%(names)s::text[]))
  and (r.digest is null or r.digest <> c.digest or r.path <> c.path or r.source <> c.source
       or record_image_ne(row(r.spec), row(c.spec)) and r.spec <> c.spec)
order by c.name
"""

# Of names without a config those that no sync has removed.
LOST: Final = """
select wanted.name, r.source, r.digest, r.path
from unnest(%(names)s::text[]) as wanted(name)
cross join lateral (
    select source, digest, path, removed_at from task_revisions r
    where r.name = wanted.name order by r.applied_at desc, r.id desc limit 1
) r
where r.removed_at is null
order by wanted.name
"""


@dataclass(frozen=True, slots=True)
class Tampered:
    """A name whose rows are not as the last sync left them.

    `kind`: its config was `changed`, or `deleted`; no sync wrote it (`unknown`); only its `cursor` is missing.
    `source` owns it by that sync, or, where no sync wrote it, by what the row says. `fields`: dotted path -> (what was
    written, what is there), `cursor` among them where it is missing. `digest` is what was written; None: nothing was.
    """

    name: str
    kind: Kind
    source: str
    digest: str | None
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def lacks_cursor(self) -> bool:
        return "cursor" in self.fields

    @property
    def detail(self) -> dict[str, list[Any]]:
        """`fields` as JSON."""
        return {name: list(sides) for name, sides in self.fields.items()}


@dataclass(slots=True)
class _Look:
    """What the last look over one connection came to: all that it had `seen` is good, save `found`."""

    seen: str | None = None
    found: frozenset[str] = frozenset()


# A connection, not a database: another server behind the same address has other transaction numbers.
_looks: WeakKeyDictionary[object, _Look] = WeakKeyDictionary()


async def tampered(tx: Transaction, missing: Sequence[str] = ()) -> list[Tampered]:
    """Every name whose config or cursor is not as the last sync left it, by name, whatever its source.

    `missing`: names that should have a config and have none; those that a sync wrote and none removed are `deleted`.
    """
    look = _looks.setdefault(tx.session, _Look())
    before = {"seen": look.seen}
    [(seen, is_new, without_cursor)] = await tx.run(GLANCE.format(mark=MARK, is_new=IS_NEW), before)
    rows = []
    if is_new or look.found:
        rows = await tx.run(CHANGED.format(mark=MARK, is_new=IS_NEW), {**before, "names": sorted(look.found)})
    found = {one.name: one for one in map(_changed, rows)}
    look.seen, look.found = seen, frozenset(found)
    if missing:
        found |= {row[0]: _lost(*row) for row in await tx.run(LOST, {"names": sorted(missing)})}
    if without_cursor:
        sources: dict[str, str] = dict(await tx.run(SOURCES, {"names": list(without_cursor)}))
        for name, source in sources.items():
            one = found.setdefault(name, Tampered(name, "cursor", source, None))
            one.fields["cursor"] = ("there", None)
    return [found[name] for name in sorted(found)]


SOURCES: Final = "select name, source from task_configs where name = any(%(names)s::text[])"


def _changed(row: Iterable[Any]) -> Tampered:
    name, source, digest, path, spec, was_source, was_digest, was_path, was_spec = row
    if was_digest is None:
        return Tampered(name, "unknown", source, None, {"config": (None, path)})
    pairs = {"source": (was_source, source), "digest": (was_digest, digest), "path": (was_path, path)}
    fields = {field: sides for field, sides in pairs.items() if sides[0] != sides[1]}
    return Tampered(name, "changed", was_source, was_digest, fields | dict(_differing(was_spec, spec)))


def _lost(name: str, source: str, digest: str, path: str) -> Tampered:
    return Tampered(name, "deleted", source, digest, {"config": (path, None)})


def _differing(before: Any, after: Any, within: str = "spec") -> Iterable[tuple[str, tuple[Any, Any]]]:
    """Dotted paths below `spec`; mappings field by field, all else as a whole; None where a side has nothing."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _differing(before.get(key), after.get(key), f"{within}.{key}")
    elif before != after or type(before) is not type(after):
        yield within, (before, after)
