"""What should Redis say of each config, and does it? Computed from PostgreSQL alone, then compared and mended.

Nothing here fires or decides. A result that is overtaken (a runner moved a cursor, an operator ended a pause)
does no harm: whoever takes an id asks PostgreSQL again, and the next pass puts the rest right.

What a whole alignment finds changed by hand it tells, and leaves where the source's settings say so.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from reconciler.db import desired, settled
from reconciler.db.desired import Wanted
from reconciler.db.link import Link
from reconciler.db.wantedsince import keep, wanted_since
from reconciler.errors import ReconcilerError, StoreUnavailable
from reconciler.occurrences import wake_at
from reconciler.scheduler import Entry, SchedulerService
from reconciler.scheduler.differences import Kept
from reconciler.scheduler.doings import Fields, Sides, by_hand
from reconciler.spec import TaskSpec
from reconciler.spec.by_digest import known_spec, spec_beside

log = logging.getLogger("reconciler.align")

# Specs read at once, so that a cold pass over very many stays small.
DOCUMENTS = 2_000

# What the last whole pass saw of each config, and what it made of it: an entry depends on nothing else.
_seen: Mapping[int, tuple[Wanted, Entry]] = {}


@dataclass(frozen=True, slots=True)
class Finding:
    """What somebody changed by hand in Redis. `name` "": of all of it; `#17`: of an id that no config has."""

    name: str
    source: str
    fields: Fields
    config_id: int | None = None


@dataclass(frozen=True, slots=True)
class Aligned:
    """How many configs differed, and the epoch in force; "" where Redis was emptied and is not whole again.

    `found`: what was changed by hand; None where nobody looked for it. `is_complete`: every config was looked at.
    """

    changed: int
    epoch: str
    found: tuple[Finding, ...] | None = field(default=None, compare=False)
    is_complete: bool = field(default=False, compare=False)


async def align(
    link: Link,
    scheduler: SchedulerService,
    *,
    now: datetime,
    names: Sequence[str] | None = None,
    believing: bool = False,
) -> Aligned:
    """Make Redis say what PostgreSQL says of every config, or only of `names` (those that still exist).

    `believing`: for a process that comes for one pass and has not read the specs. Where Redis has a config as it
    should be, its next instant is not computed again; a service does that at each pass, having them in memory.
    StoreUnavailable: one of the two is away; the same call later makes up for it.
    """
    if names is None:
        return await _whole(link, scheduler, now, believing=believing)
    entries = await _entries(link, await desired.wanted(link, now, names))
    changed = await scheduler.align(list(entries.values()), complete=False)
    return Aligned(changed, await scheduler.epoch() or "")


async def look_ahead(scheduler: SchedulerService) -> None:
    """Have Redis compared with what the last whole alignment made, while somebody does something else.

    The alignment that comes next, within seconds, then asks only about what has changed since. Nothing is raised: it
    meets a store that is away by itself.
    """
    with suppress(StoreUnavailable):
        await scheduler.differences.look_ahead([entry for _, entry in _seen.values()])


async def _whole(link: Link, scheduler: SchedulerService, now: datetime, *, believing: bool) -> Aligned:
    """Every config: those that have not changed since the last time over this connection are neither read nor judged
    again, and all of them are compared.
    """
    global _seen
    look = await wanted_since(link, now)
    judge = Judge(link, now, look.seen, scheduler.modes)
    believed = await _believed(scheduler, look.rows) if believing and look.is_whole else set()
    rows = [row for row in look.rows if row.config_id not in believed] if believed else look.rows
    entries = await _entries(link, rows)
    _seen = look.made
    look.made.update((row.config_id, (row, entries[row.config_id])) for row in rows if row.config_id in entries)
    judge.entries = {config_id: entry for config_id, (_, entry) in look.made.items()}
    gone = partial(desired.gone, link)
    every = list(judge.entries.values())
    changed = await scheduler.align(every, complete=True, gone=gone, unchanged=believed, judge=judge)
    if not believed:
        keep(look)
    return Aligned(changed, await scheduler.epoch() or "", tuple(judge.found), not believed)


async def look(link: Link, scheduler: SchedulerService, now: datetime) -> list[Finding]:
    """What was changed by hand in Redis, at this moment; nothing is written.

    StoreUnavailable: one of the two is away.
    """
    judge = Judge(link, now, "", {})
    rows = await desired.wanted(link, now)
    judge.entries = await _entries(link, rows)
    epoch, seen = await scheduler.differences.last()
    if seen is None:
        return [Finding("", "", {"entries": ("there", "not whole: the next pass rebuilds them")})]
    found = await scheduler.differences.of(list(judge.entries.values()), now)
    await judge.differing(found, seen, has_epoch=epoch is not None)
    if strays := await scheduler.others(judge.entries):
        await judge.strays(await desired.gone(link, strays))
    return judge.found


class Judge:
    """Tells what somebody did from what a runner did, for one alignment; `found` fills as it goes."""

    def __init__(self, link: Link, now: datetime, seen: str, modes: Mapping[str, str]) -> None:
        self.now, self.seen = now, seen
        self.entries: Mapping[int, Entry] = {}
        self.found: list[Finding] = []
        self._link, self._modes = link, modes
        self._since = ""

    async def differing(self, found: Mapping[int, Kept], seen: str, *, has_epoch: bool) -> Collection[int]:
        """Keep in mind what was done by hand; the ids that are left as they are, by the modes of their sources."""
        self._since, self.found = seen, []
        if not has_epoch:
            self.found.append(Finding("", "", {"epoch": ("there", None)}))
        unwritten = {one.config_id: one for one in await settled.settled(self._link, found, seen)} if found else {}
        rows = await desired.wanted(self._link, self.now, [one.name for one in unwritten.values()]) if unwritten else []
        again = await _entries(self._link, rows)
        for row in rows:
            one = unwritten.get(row.config_id)
            if one is None or row.config_id not in again:
                continue
            entries = self.entries[row.config_id], again[row.config_id]
            fields = by_hand(Sides(found[row.config_id], *entries, row.through, one.is_touched), self.now)
            if fields:
                self.found.append(Finding(one.name, one.source, fields, row.config_id))
        return () if not has_epoch else {i for one in self.found if (i := self._left(one)) is not None}

    def _left(self, one: Finding) -> int | None:
        return one.config_id if self._modes.get(one.source, "correct") != "correct" else None

    async def strays(self, config_ids: Collection[int]) -> None:
        """Ids of no config are somebody's doing, unless a sync has deleted some since the last alignment."""
        if self._since and not await settled.has_deleted(self._link, self._since):
            self.found += [Finding(f"#{i}", "", {"entry": (None, "there")}, i) for i in sorted(config_ids)]


def desired_entry(row: Wanted, spec: TaskSpec) -> Entry:
    """What Redis should say of a config. A suspended one is not queued; a paused one is queued for when its pause
    has ended, if it has an end. The instant after the cursor is due, however late: what becomes of it is decided
    when it is taken.
    """
    config = row.config_id, spec.queue
    schedule = spec.when()
    if spec.suspend:
        return Entry(*config, "suspended", row.digest, None, None)
    next_run = schedule.next_after(row.through) if schedule and row.through else None
    wake = wake_at(spec, next_run) if next_run else None
    if not row.is_paused:
        return Entry(*config, "active", row.digest, next_run, wake)
    wake = max(wake, row.until) if wake and row.until else None
    return Entry(*config, "paused", row.digest, next_run, wake, row.reason, row.until)


async def _believed(scheduler: SchedulerService, rows: Sequence[Wanted]) -> set[int]:
    """The ids that Redis keeps as it should, as far as one can tell without their specs."""
    unread = [row for row in rows if known_spec(row.digest) is None]
    differing = await scheduler.differing([(r.config_id, r.digest, r.is_paused, r.until) for r in unread])
    return {row.config_id for row in unread} - differing


async def _entries(link: Link, rows: Sequence[Wanted]) -> dict[int, Entry]:
    """The entry of each row by id; a config that changed since the row was read has none, and is read again later."""
    entries: dict[int, Entry] = {}
    unknown: list[Wanted] = []
    for row in rows:
        seen = _seen.get(row.config_id)
        if seen and seen[0] == row:
            entries[row.config_id] = seen[1]
        elif spec := known_spec(row.digest):
            entries[row.config_id] = desired_entry(row, spec)
        else:
            unknown.append(row)
    for start in range(0, len(unknown), DOCUMENTS):
        chunk = unknown[start : start + DOCUMENTS]
        found = await desired.documents(link, [(row.config_id, row.digest) for row in chunk])
        entries.update((entry.config_id, entry) for entry in _read(chunk, found))
    return entries


def _read(rows: Sequence[Wanted], documents: dict[str, dict[str, object]]) -> Iterator[Entry]:
    for row in rows:
        if row.digest in documents:
            try:
                yield desired_entry(row, spec_beside(row.digest, documents[row.digest]))
            except ReconcilerError as error:
                # A newer version may have stored it. One such config must not keep the others from running.
                log.warning("%s", error)
                yield Entry(row.config_id, "default", "suspended", row.digest, None, None, str(error))
