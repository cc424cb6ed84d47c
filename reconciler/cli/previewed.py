"""A plan that was only made: from the stores or a file, with what goes with it when it is shown or saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.cli.output import note
from reconciler.cli.stores import with_stores
from reconciler.errors import ReconcilerError
from reconciler.plan.guards import Held

if TYPE_CHECKING:
    from reconciler.cli.wish import Reading
    from reconciler.db.link import Link
    from reconciler.db.overrides import Override
    from reconciler.embedded import Stores
    from reconciler.impact import Changed, Impact, Timing
    from reconciler.plan import Plan


class Before(Held, Protocol):
    """One config in force, whole."""

    @property
    def spec(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan, what it comes to, and which pause holds the names that it creates or changes.

    `now` is of the database's clock. `before`: the configs in force that it touches; `last_revision`: where the source
    stood.
    """

    plan: Plan
    impact: Impact
    paused: Mapping[str, Override]
    now: datetime
    before: Mapping[str, Before] = field(default_factory=dict)
    last_revision: str | None = None


def from_stores(read: Reading) -> Preview:
    """The plan that apply would carry out now."""

    async def act(link: Link, stores: Stores) -> Preview:
        from reconciler.cli.ticking import ticking

        async with ticking("planning"):
            return await _made(read, link)

    return with_stores(act)


async def _made(read: Reading, link: Link) -> Preview:
    from reconciler.cli.asking import clock
    from reconciler.cli.planned import paused
    from reconciler.db import configs, overrides, sources, timetables
    from reconciler.impact import impact_of, needs_held
    from reconciler.sync.reconcile import preview

    # Before the plan: what moves in between makes a saved one stale, and never the other way round.
    source = await sources.one(link, read.options.source)
    plan = await preview(read.specs, link, read.request())
    touched = [change.name for change in (*plan.changes, *plan.withheld)]
    before = {one.name: one for one in await configs.load(link, touched)} if touched else {}
    now = await clock(link)
    changes = changed(plan, read, before)
    others = await timetables.timetables(link, read.options.source, touched) if needs_held(changes) else ()
    pauses = paused(plan, read.specs, await overrides.active(link))
    impact = impact_of(changes, timings(others), now)
    return Preview(plan, impact, pauses, now, before, source.revision if source else None)


def against_state(read: Reading, file: Path) -> Preview:
    """The same against what `export --state` wrote: no store is opened. Pauses are not in there."""
    from reconciler.impact import impact_of
    from reconciler.plan.state import read_state
    from reconciler.sync.against import plan_against

    state = read_state(file.read_bytes(), str(file))
    now = datetime.now(UTC)
    note(f"reconciler: note: against {file}, the state of {state.made_at:%Y-%m-%d %H:%M} UTC; no store was asked")
    plan, last = plan_against(read.specs, state, read.request())
    touched = {change.name for change in (*plan.changes, *plan.withheld)}
    before = {config.name: config for config in state.configs if config.name in touched}
    own = (one for one in state.configs if one.source == read.options.source and one.name not in touched)
    impact = impact_of(changed(plan, read, before), timings((one.spec, 1) for one in own), now)
    return Preview(plan, impact, {}, now, before, last)


def changed(plan: Plan, read: Reading, before: Mapping[str, Before]) -> list[Changed]:
    """Each change with its specs; one in force that this version cannot read counts as none."""
    from reconciler.impact import changed_of, needs_before
    from reconciler.spec.by_digest import spec_of

    names = {change.name for change in (*plan.changes, *plan.withheld)}
    after = {one.name: one.spec for one in read.specs.specs if one.name in names}
    old = {}
    for name in needs_before(plan):
        if name in before:
            with suppress(ReconcilerError):
                old[name] = spec_of(before[name].digest, before[name].spec)
    return changed_of(plan, old, after)


def timings(documents: Iterable[tuple[Mapping[str, Any], int]]) -> Mapping[Timing, int]:
    """How many tasks have each timing; what this version cannot read is left out."""
    from reconciler.impact import timing_of_document

    counted: Counter[Timing] = Counter()
    for document, count in documents:
        with suppress(ValueError, TypeError, AttributeError, ReconcilerError):
            counted[timing_of_document(document)] += count
    return counted
