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
from reconciler.db.settled import MARK

Kind = Literal["changed", "deleted", "unknown", "cursor"]

# Names that are told one by one; beyond that there are simply many.
MOST_NEWS: Final = 200

# How far this look sees, the configs that are newer than the last one (or some of very many), and those without a
# cursor.
GLANCE: Final = """
with {mark}
select pg_current_snapshot()::text,
       array(select c.name from mark m, task_configs c where {is_new} limit {most} + 1),
       array(select c.name from task_configs c where not exists (select from task_cursors k where k.name = c.name))
"""


def is_new(row: str) -> str:
    """The condition that a row may have been written since the look that the statement's `mark m` is about.

    Not older than whatever was under way then. That some of those were over does not count: what was written after a
    savepoint has a number of its own, of which a snapshot does not say whether its transaction was.
    """
    return f"(m.seen is null or age({row}.xmin) <= age(pg_snapshot_xmin(m.seen)::xid))"


IS_NEW: Final = is_new("c")

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
    # Who reads them -> names that came since they last did; None: too many to tell.
    news: dict[str, set[str] | None] = field(default_factory=dict)


# A connection, not a database: another server behind the same address has other transaction numbers.
_looks: WeakKeyDictionary[object, _Look] = WeakKeyDictionary()


async def tampered(tx: Transaction, missing: Sequence[str] = ()) -> list[Tampered]:
    """Every name whose config or cursor is not as the last sync left it, by name, whatever its source.

    `missing`: names that should have a config and have none; those that a sync wrote and none removed are `deleted`.
    """
    look = _looks.setdefault(tx.session, _Look())
    before = {"seen": look.seen}
    [(seen, fresh, without_cursor)] = await tx.run(GLANCE.format(mark=MARK, is_new=IS_NEW, most=MOST_NEWS), before)
    rows = []
    if fresh or look.found:
        rows = await tx.run(CHANGED.format(mark=MARK, is_new=IS_NEW), {**before, "names": sorted(look.found)})
    found = {one.name: one for one in map(_changed, rows)}
    look.seen, look.found = seen, frozenset(found)
    for reader, names in look.news.items():
        look.news[reader] = None if names is None or len(names) + len(fresh) > MOST_NEWS else names.union(fresh)
    found |= {one.name: one for one in await lost(tx, missing)}
    if without_cursor:
        sources: dict[str, str] = dict(await tx.run(SOURCES, {"names": list(without_cursor)}))
        for name, source in sources.items():
            one = found.setdefault(name, Tampered(name, "cursor", source, None))
            one.fields["cursor"] = ("there", None)
    return [found[name] for name in sorted(found)]


def news(tx: Transaction, reader: str) -> set[str] | None:
    """The configs written since this reader asked last, as far as the looks over this connection have seen.

    None: it asks for the first time, or there were more than `MOST_NEWS`.
    """
    look = _looks.setdefault(tx.session, _Look())
    names = look.news.get(reader)
    look.news[reader] = set()
    return names


async def lost(tx: Transaction, missing: Sequence[str]) -> list[Tampered]:
    """Of names that should have a config and have none, those that a sync wrote and none removed."""
    return [_lost(*row) for row in await tx.run(LOST, {"names": sorted(missing)})] if missing else []


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
