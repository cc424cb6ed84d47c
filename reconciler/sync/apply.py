"""What does a plan write? Everything that one transaction holds about it, and nothing before or after.

It decides nothing: the plan is made and guarded. What it adds is the past: instants of a schedule that ends here,
which nobody has decided yet, are recorded as skipped, and the cursor moves over them, so that they never fire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from reconciler.db import claims, configs, cursors, followers, overrides, revisions
from reconciler.db.configs import ConfigKey, ConfigRow
from reconciler.db.link import Transaction
from reconciler.errors import ReconcilerError, Refused
from reconciler.occurrences import TICK, Pause, Skip, skip_between
from reconciler.plan import Change, Documents, Plan
from reconciler.spec import TaskSpec
from reconciler.spec.by_digest import known_spec, remember, spec_beside
from reconciler.spec.circles import circles, words
from reconciler.spec.specset import LocatedSpec

# So many names are worked through before the loop gets a turn: it beats for the runner, too.
STRETCH: Final = 200
# A name without a config can still have a cursor, of its former life: nothing in it is left to decide.
REASONS: Final = {"update": "edited", "adopt": "adopted", "delete": "removed"}


@dataclass(frozen=True, slots=True)
class Work:
    """A plan with what it was made from. `documents`: those in force of the edited names."""

    plan: Plan
    specs: Sequence[LocatedSpec]
    keys: Sequence[ConfigKey]
    documents: Documents
    source: str
    revision: str | None
    sync_id: int
    now: datetime


async def apply(tx: Transaction, work: Work) -> None:
    """Write the plan's changes; the transaction holds the apply lock and is committed by the caller."""
    await _leave_behind(tx, work)
    changed = [change for change in work.plan.changes if change.verb != "delete"]
    removed = [change.name for change in work.plan.changes if change.verb == "delete"]
    if changed:
        names = {change.name for change in changed}
        located = {one.name: one for one in work.specs if one.name in names}
        rows = await _rows(work, changed, located)
        await cursors.ensure(tx, [row.name for row in rows], work.now)
        following = {name for name, one in located.items() if one.spec.after}
        anew = [change.name for change in changed if change.waits_anew and change.name in following]
        await followers.wait_anew(tx, anew, work.now)
        await asyncio.gather(configs.upsert(tx, rows, work.revision), _foresee(rows, work.now))
        if following:
            await _refuse_circles(tx)
        # A move and an adoption, too: what was changed by hand is found by holding configs against these.
        by_hand = {change.name for change in changed if change.is_drift}
        await revisions.append_in_force(tx, [row.name for row in rows if row.name not in by_hand], work.sync_id)
        await revisions.append_new(tx, [row for row in rows if row.name in by_hand], work.sync_id)
    if removed:
        await configs.delete(tx, removed)
        await revisions.mark_removed(tx, removed)


async def _refuse_circles(tx: Transaction) -> None:
    """Whoever reads one source, or one file of it, does not see a circle that leads through others."""
    for circle in circles(await followers.upstreams(tx)):
        raise Refused(f"after: {words(circle)}: nothing is applied")


async def _rows(work: Work, changed: Iterable[Change], located: Mapping[str, LocatedSpec]) -> list[ConfigRow]:
    rows = []
    for change in changed:
        one = located[change.name]
        remember(one.digest, one.spec)  # the alignment that follows asks for it, and need not parse it again
        rows.append(ConfigRow(change.name, work.source, one.spec, one.digest, one.path))
        await _give_way(len(rows))
    return rows


async def _foresee(rows: Iterable[ConfigRow], now: datetime) -> None:
    """Work out what comes next while the server writes: the alignment that follows asks for it."""
    for number, row in enumerate(rows):
        if schedule := row.spec.when():
            schedule.next_after(now)
        await _give_way(number)


async def _leave_behind(tx: Transaction, work: Work) -> None:
    """Record what the schedules that end here had not decided yet, and count it as decided."""
    ending = [change for change in work.plan.changes if change.moves_cursor or change.verb == "delete"]
    through = await cursors.lock(tx, [change.name for change in ending])
    if not through:
        return
    specs = await _specs_in_force(tx, work, through.keys())
    pauses = await _pauses(tx, list(specs), min(through.values()))
    skips: list[Skip] = []
    for number, change in enumerate(change for change in ending if change.name in specs):
        name = change.name
        skips += _undecided(specs[name], change, through[name], work.now, pauses.get(name, ()))
        await _give_way(number)
    if skips:
        await claims.record_skips(tx, skips)
    await cursors.move_to(tx, list(through), work.now)


async def _specs_in_force(tx: Transaction, work: Work, names: Collection[str]) -> dict[str, TaskSpec]:
    """What these names ran by until now; those that no config has, or no longer a readable one, are absent."""
    digests = {key.name: key.digest for key in work.keys if key.name in names}
    documents = dict(work.documents)
    unread = [name for name, digest in digests.items() if name not in documents and not known_spec(digest)]
    for config in await configs.load(tx, unread) if unread else ():
        documents[config.name] = config.spec
    specs = {}
    for number, (name, digest) in enumerate(digests.items()):
        with suppress(ReconcilerError):  # one of another version: it must not keep its own replacement out
            specs[name] = spec_beside(digest, documents.get(name, {}))
        await _give_way(number)
    return specs


async def _pauses(tx: Transaction, names: Sequence[str], moment: datetime) -> dict[str, list[Pause]]:
    found: dict[str, list[Pause]] = {}
    for one in await overrides.since(tx, names, moment):
        ends = [end for end in (one.ended_at, one.expires_at) if end]
        pause = Pause(one.created_at, min(ends, default=None), one.reason, one.actor)
        found.setdefault(str(one.name), []).append(pause)
    return found


def _undecided(
    spec: TaskSpec, change: Change, through: datetime, now: datetime, pauses: Sequence[Pause]
) -> Iterator[Skip]:
    """The instants in (through, now], paused ones as such; a pause begins no earlier than the one before it ends."""
    schedule = spec.when()
    if schedule is None or not spec.is_scheduled:
        return
    between = partial(skip_between, change.name, schedule)
    found: list[Skip | None] = []
    for pause in pauses:
        start = min(max(pause.since - TICK, through), now)
        end = min(max(pause.until - TICK, start), now) if pause.until else now
        detail = f"paused by {pause.actor}" + (f": {pause.reason}" if pause.reason else "")
        found += [between(through, start, REASONS[change.verb], change.reason), between(start, end, "paused", detail)]
        through = end
    found.append(between(through, now, REASONS[change.verb], change.reason))
    yield from filter(None, found)


async def _give_way(done: int) -> None:
    if done % STRETCH == 0:
        await asyncio.sleep(0)
