"""Which names can a pass of one source be about? Those whose files or rows have moved since the pass before.

All that was compared then and stands as it was, in git and in PostgreSQL, need not be compared again. What is kept is
what was found over one connection, and it is left aside wherever the number of configs says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from reconciler.db import configs
from reconciler.db.configs import ConfigKey
from reconciler.db.link import Transaction
from reconciler.db.tampered import MOST_NEWS, Tampered, news
from reconciler.spec.specset import LocatedSpec


@dataclass(frozen=True, slots=True)
class Narrowed:
    """The specs and configs that are to be compared; `settled`: so many others of the source are as their specs are."""

    specs: Sequence[LocatedSpec]
    keys: Sequence[ConfigKey]
    settled: int = 0


@dataclass(frozen=True, slots=True)
class _Compared:
    """Every config of a source was as its spec among these, save `differing`: those may be anything."""

    specs: tuple[LocatedSpec, ...]
    differing: frozenset[str]


# By connection, like the news that it is held against.
_compared: WeakKeyDictionary[object, dict[str, _Compared]] = WeakKeyDictionary()


async def narrowed(
    tx: Transaction, source: str, specs: tuple[LocatedSpec, ...], found: Iterable[Tampered]
) -> Narrowed | None:
    """Called after the look that found what was `found`; None: everything is to be compared."""
    fresh = news(tx, source)
    before = _compared.get(tx.session, {}).pop(source, None)
    if before is None or fresh is None:
        return None
    names = {*before.differing, *fresh, *(one.name for one in found), *_moved(before.specs, specs)}
    if len(names) > MOST_NEWS:
        return None
    keys = await configs.keys(tx, names) if names else []
    part = [one for one in specs if one.name in names] if names else []
    settled = len(specs) - len(part)
    others = await configs.count(tx, source) - sum(key.source == source for key in keys)
    return Narrowed(part, keys, settled) if others == settled else None


def is_kept(tx: Transaction, source: str) -> bool:
    """Whether an earlier pass over this connection is there to begin from."""
    return source in _compared.get(tx.session, {})


def keep(tx: Transaction, source: str, specs: tuple[LocatedSpec, ...], differing: Collection[str]) -> None:
    """What the pass has found: all configs of the source as their specs are, save these."""
    if len(differing) <= MOST_NEWS:
        _compared.setdefault(tx.session, {})[source] = _Compared(specs, frozenset(differing))


def differing(
    specs: Iterable[LocatedSpec], keys: Iterable[ConfigKey], source: str, found: Iterable[Tampered]
) -> set[str]:
    """The names that are not alike in specs and configs, whatever becomes of them."""
    held = {key.name: (key.digest, key.path, key.source) for key in keys}
    wanted = {one.name: (one.digest, one.path, source) for one in specs}
    names = {name for name, row in wanted.items() if held.get(name) != row}
    names.update(name for name, row in held.items() if row[2] == source and name not in wanted)
    return names.union(one.name for one in found)


def _moved(before: tuple[LocatedSpec, ...], now: tuple[LocatedSpec, ...]) -> set[str]:
    """A reader gives the very same objects for what has not changed."""
    if before is now:
        return set()
    old, new = set(map(id, before)), set(map(id, now))
    return {one.name for one in now if id(one) not in old} | {one.name for one in before if id(one) not in new}
