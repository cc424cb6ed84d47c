"""What differs at this moment between git, PostgreSQL and Redis? One row a name and side; nothing is written.

Of a source that cannot be read, and of a store that is away, it says so and looks at the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.errors import StoreUnavailable

if TYPE_CHECKING:
    from reconciler.align import Finding
    from reconciler.cli.wish import Reading
    from reconciler.db.drifts import Drift
    from reconciler.db.link import Link
    from reconciler.db.overrides import Override
    from reconciler.db.tampered import Tampered
    from reconciler.plan import Change, Plan
    from reconciler.scheduler import RedisServiceManager

WILL = {
    "correct": "put right at the next pass",
    "detect": "reported only",
    "ignore": "left as it is",
}
NOBODYS = "left as it is: no such source in the settings"


@dataclass(frozen=True, slots=True)
class Row:
    """One difference. `side`: `git` (against PostgreSQL), `postgresql` (against what the last sync wrote), `redis`.

    `fields`: what -> (expected, found). `since` None: no pass has noted it. `ended_at`: it was put right then.
    """

    name: str
    side: str
    source: str
    fields: Mapping[str, tuple[Any, Any]]
    will: str
    reason: str = ""
    since: datetime | None = None
    ended_at: datetime | None = None


@dataclass(slots=True)
class Looked:
    """All that was found, and what is no drift: pauses, and what was put right before."""

    now: datetime
    rows: list[Row] = field(default_factory=list)
    pauses: Sequence[Override] = ()
    past: list[Row] = field(default_factory=list)
    trouble: str = ""


async def looked(
    link: Link, redis: RedisServiceManager, readings: Sequence[Reading], modes: Mapping[str, str], *, ended: bool
) -> Looked:
    """One look at all three. `readings`: of the sources that could be read; `ended`: also what was put right before."""
    from reconciler.cli.asking import clock
    from reconciler.db import drifts, overrides
    from reconciler.db.tampered import tampered
    from reconciler.sync.reconcile import preview

    found = Looked(await clock(link))
    missing: list[str] = []
    for read in readings:
        if not read.is_refused:
            plan = await preview(read.specs, link, read.request())
            found.rows += _of_git(plan, read.options.source)
            missing += [one.name for one in (*plan.changes, *plan.drifted, *plan.withheld) if one.verb == "create"]
    async with link.transaction() as tx:
        found.rows += [_of_postgresql(one, modes) for one in await tampered(tx, missing)]
    try:
        found.rows += [_of_redis(one, modes) for one in await _look(link, redis, found.now)]
    except StoreUnavailable as error:
        found.trouble = str(error)
    found.pauses = await overrides.active(link)
    noted = await drifts.listing(link, ended=ended)
    found.rows = _since(found.rows, noted)
    found.past = [_past(one) for one in noted if one.ended_at]
    return found


async def _look(link: Link, redis: RedisServiceManager, now: datetime) -> list[Finding]:
    from reconciler.align import look
    from reconciler.scheduler import SchedulerService

    return await look(link, SchedulerService(redis), now)


def _of_git(plan: Plan, source: str) -> Iterator[Row]:
    for change in plan.changes:
        if not change.is_drift:
            yield _change(change, source, "applied at the next pass")
    for change in plan.withheld:
        if not change.is_drift:
            yield _change(change, source, plan.pin or "held back: " + "; ".join(one.text for one in plan.refusals))
    for refusal in plan.refusals:
        if not plan.withheld:
            yield from (Row(name, "git", source, {}, refusal.text, reason="refused") for name in refusal.names)


def _change(change: Change, source: str, will: str) -> Row:
    fields = {one.field: (_or_none(one.after), _or_none(one.before)) for one in change.fields}
    return Row(change.name, "git", source, fields, will, f"to {change.verb}: {change.reason}")


def _or_none(value: Any) -> Any:
    from reconciler.plan.plan import ABSENT

    return None if value is ABSENT else value


def _of_postgresql(one: Tampered, modes: Mapping[str, str]) -> Row:
    reasons = {
        "changed": "changed by hand",
        "deleted": "deleted by hand",
        "unknown": "no sync wrote it",
        "cursor": "its cursor is gone",
    }
    mode = modes.get(one.source)
    return Row(one.name, "postgresql", one.source, one.fields, WILL[mode] if mode else NOBODYS, reasons[one.kind])


def _of_redis(one: Finding, modes: Mapping[str, str]) -> Row:
    return Row(one.name, "redis", one.source, one.fields, WILL[modes.get(one.source, "correct")])


def _since(rows: Sequence[Row], noted: Sequence[Drift]) -> list[Row]:
    seen: dict[tuple[str, str], datetime] = {(o.name, o.side): o.seen_at for o in noted if o.ended_at is None}
    return [replace(row, since=seen.get((row.name, row.side))) for row in rows]


def _past(one: Drift) -> Row:
    fields = {name: (sides[0], sides[-1]) for name, sides in one.detail.items()}
    return Row(one.name, one.side, one.source, fields, one.ending or "", "", one.seen_at, one.ended_at)
