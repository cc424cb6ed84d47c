"""Where each source stands, in a few lines: its last attempt, its last success where that is another, its pin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from reconciler.cli.words import when
from reconciler.lines import bare, first_line, of_source

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.sources import Source
    from reconciler.db.syncs import Sync

# A pass that finds nothing new is noted once a minute.
FRESH = timedelta(minutes=2)
VERBS = ("created", "adopted", "updated", "deleted", "is_success")


@dataclass(frozen=True, slots=True)
class SourceState:
    """`last` and `good`: the last sync that was recorded, and the last that succeeded; `row`: how far it has come."""

    name: str
    last: Sync | None = None
    good: Sync | None = None
    row: Source | None = None


async def source_states(link: Link, configured: Sequence[str]) -> list[SourceState]:
    """Of the configured sources, and of those that are not and still have a state; without a trace, none."""
    from reconciler.db import sources, syncs

    rows = {row.name: row for row in await sources.every(link)}
    states = []
    for name in dict.fromkeys([*configured, *rows]):
        last = await syncs.latest(link, name)
        good = last if last is None or last.is_success else await syncs.latest(link, name, succeeded=True)
        states.append(SourceState(name, last, good, rows.get(name)))
    return [state for state in states if state.last or state.row]


def source_lines(states: Sequence[SourceState], now: datetime) -> list[str]:
    """For the head of `status`."""
    several = len(states) > 1
    return [text for state in states for text in _lines(state, now, several)]


def as_json(state: SourceState) -> dict[str, Any]:
    """For a program; the plans are left out."""
    row = asdict(state.row) if state.row else {"name": state.name}
    return {**row, "last_sync": without_plan(state.last), "last_success": without_plan(state.good)}


def without_plan(sync: Sync | None) -> dict[str, Any] | None:
    """A sync as `syncs -o json` has it."""
    return None if sync is None else {key: value for key, value in asdict(sync).items() if key != "plan"}


def _lines(state: SourceState, now: datetime, several: bool) -> list[str]:
    where = f"specs ({state.name})" if several else "specs"
    last, row = state.last, state.row
    if _is_good_again(state):
        last = state.good
    lines = [f"{where}: " + (_attempt(last, now) + _looked_at(row, last, now) if last else _tried(row, now))]
    if last and not last.is_success:
        lines.append(f"  in force: {_attempt(state.good, now)}" if state.good else "  in force: nothing of it yet")
    if last and last.is_success and row and row.error:
        lines.append(f"  now: ✗ {first_line(bare(row.error, row.name), 200)}")
    held = (last.plan or {}).get("held") if last else None
    if held:
        lines.append(f"  held, in their last good state: {', '.join(map(str, held[:5]))}{', …' if held[5:] else ''}")
    if row and row.pin:
        lines.append(f"  {row.pin.text}; end it: {of_source('reconciler rollback --release', state.name)}")
    return lines


def _attempt(sync: Sync, now: datetime) -> str:
    """`✓ 3 created, 2 min ago at a1b2c3d “subject” by ana@desk`, or `✗ 2 min ago at a1b2c3d: why`."""
    from reconciler.cli.syncs import counts, revision

    moment = when(sync.finished_at, now)
    at = f" at {revision(sync.revision)}" if sync.revision else ""
    if not sync.is_success:
        return f"✗ {moment}{at}: {first_line(bare(sync.error or '', sync.source), 200)}"
    subject = f" “{first_line(sync.subject, 50)}”" if sync.subject else ""
    because = f" ({first_line(sync.reason, 50)})" if sync.reason else ""
    return f"{counts({verb: getattr(sync, verb) for verb in VERBS})}, {moment}{at}{subject} by {sync.actor}{because}"


def _is_good_again(state: SourceState) -> bool:
    """Whether a pass after the last failure found all as it was before it: that is worth no row in `syncs`."""
    last, row = state.last, state.row
    if last is None or last.is_success or state.good is None or row is None or row.tried_at is None:
        return False
    return row.error is None and row.tried_at > last.finished_at


def _looked_at(row: Source | None, last: Sync, now: datetime) -> str:
    """When it was last looked at, where that is long after the last sync that was worth a row, or long ago."""
    if row is None or row.tried_at is None or row.tried_at - last.finished_at < FRESH:
        return ""
    return f"; looked at {when(row.tried_at, now)}"


def _tried(row: Source | None, now: datetime) -> str:
    if row is None or row.tried_at is None:
        return "nothing was applied yet"
    error = first_line(bare(row.error or "", row.name), 200)
    return f"✗ {when(row.tried_at, now)}: {error}" if error else "nothing was applied yet"
