"""Which past instant somebody means to run again, and what there is around it where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.cli import asking
from reconciler.cli.output import utc
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.pending import Pending


async def resolved(link: Link, name: str, meant: datetime | str, now: datetime) -> datetime:
    """The nominal instant of a final row: of a rerun, the one that it replayed. ReconcilerError where there is none."""
    from reconciler.db import executions

    if isinstance(meant, str):
        rows = await executions.history(link, name=name, limit=1, failed=meant == "last-failed")
        if not rows:
            what = "nothing failed" if meant == "last-failed" else "nothing ran"
            raise ReconcilerError(f"rerun: {name}: {what} yet, as far as history goes: reconciler trigger {name}")
        return rows[0].replays or rows[0].scheduled_for
    row = await executions.one(link, name, meant)
    if row is None:
        raise await _nothing_there(link, name, meant, now)
    return row.replays or row.scheduled_for


def require_none_pending(name: str, nominal: datetime, pending: Sequence[Pending], now: datetime) -> None:
    """ReconcilerError while that instant is being replayed already."""
    for one in pending:
        if one.replays == nominal:
            state = (
                asking.holding(one, now) if one.is_owned or one.attempts else f"it waits since {utc(one.scheduled_for)}"
            )
            raise ReconcilerError(
                f"rerun: {name}: {utc(nominal)} is being run again: {state}: "
                f"reconciler cancel {name} {utc(one.scheduled_for)} ends that"
            )


async def _nothing_there(link: Link, name: str, meant: datetime, now: datetime) -> ReconcilerError:
    from reconciler.db import filling, pending

    where = f"rerun: {name}: {utc(meant)}"
    if claim := await pending.claim(link, name, meant):
        state = asking.holding(claim, now) if claim.is_owned or claim.attempts else "it waits for its first run"
        return ReconcilerError(f"{where} has no result yet: {state}")
    if why := await pending.skipped(link, name, meant):
        text = ": ".join(filter(None, why))
        return ReconcilerError(
            f"{where} did not run ({text}): reconciler backfill {name} --from {utc(meant)} --to {utc(meant)}"
        )
    near = await filling.nearest(link, name, meant)
    if not near:
        return ReconcilerError(f"{where}: nothing ran yet, as far as history goes")
    return ReconcilerError(f"{where} has no result; the nearest that have: {', '.join(map(utc, near))}")
