"""`cancel`: end what runs or waits under a name, and say what became of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import asking
from reconciler.cli.arguments import Instant, Length, actor, as_meant, complete_name
from reconciler.cli.command import command
from reconciler.cli.names import require_known
from reconciler.cli.output import Format, document, line, note, output_option, utc
from reconciler.cli.stores import with_stores
from reconciler.durations import span
from reconciler.errors import ReconcilerError
from reconciler.lines import first_line

if TYPE_CHECKING:
    from reconciler.db.executions import TaskExecution
    from reconciler.db.link import Link
    from reconciler.embedded import Stores

POLL = 0.1
# As many as somebody reads.
MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one: it was dropped before it began, or has its row; None: it had not ended when we left."""

    moment: datetime
    is_dropped: bool
    row: TaskExecution | None


@command("cancel", example='reconciler cancel nightly-sales --reason "the wrong region"')
@click.argument("name", shell_complete=complete_name)
@click.argument("instant", required=False, type=Instant())
@click.option("--reason", metavar="TEXT", help="Why, for whoever finds it cancelled.")
@click.option(
    "--timeout", type=Length(), default="30s", show_default=True, metavar="LENGTH", help="How long to see it end."
)
@output_option
def cancel(name: str, instant: datetime | None, reason: str | None, timeout: timedelta, output: Format) -> int:
    """End what runs or waits of a task, all of it or one INSTANT.

    What runs is cancelled, and not tried again; what has not begun is dropped. Its schedule goes on. Exit code 1
    where there is nothing, or it has not ended in time.
    """
    from reconciler.db.byhand import CANCELLED_BY

    why = f"{CANCELLED_BY}{actor()}" + (f": {' '.join(reason.split())}" if reason else "")

    async def act(link: Link, stores: Stores) -> list[Ended]:
        from reconciler.db import byhand

        moment = as_meant(instant) if instant else None
        told = await byhand.cancel(link, name, moment, why)
        if not told:
            await require_known(link, name)
            raise await _nothing(link, name, moment)
        asked = [at for at, is_dropped in told.items() if not is_dropped]
        if asked:
            await asking.wake(stores)
        rows = await _ended(link, name, asked, timeout) if asked and await _is_heard(link) else {}
        return [Ended(at, is_dropped, rows.get(at)) for at, is_dropped in told.items()]

    ended = with_stores(act)
    if output != "table":
        document({"name": name, "cancelled": [_as_json(one) for one in ended]}, output)
    else:
        for one in ended[:MOST_LINES]:
            line(f"{name} {utc(one.moment)}: {_words(one, why)}")
        if len(ended) > MOST_LINES:
            line(f"… and {len(ended) - MOST_LINES:,} more")
    left = sum(one.row is None and not one.is_dropped for one in ended)
    if left:
        note(f"{left} told to end, and not ended yet: reconciler status {name}")
    return 1 if left else 0


async def _is_heard(link: Link) -> bool:
    """Whether there is a runner to end it; a note where there is none, and waiting for it is in vain."""
    from reconciler.cli.runners import live

    if await live(link):
        return True
    note("no live runner: it ends when one has started, without being tried again")
    return False


async def _ended(link: Link, name: str, asked: list[datetime], timeout: timedelta) -> dict[datetime, TaskExecution]:
    """The final rows of these, as far as they come in time."""
    from reconciler.db import filling

    loop = asyncio.get_running_loop()
    until = loop.time() + timeout.total_seconds()
    rows: dict[datetime, TaskExecution] = {}
    is_told = False
    while asked and loop.time() < until:
        _, ended = await filling.became(link, name, asked)
        rows |= ended
        asked = [at for at in asked if at not in ended]
        if asked and not is_told:
            is_told = True
            note(f"{name}: {len(asked)} told to end; waiting for it")
        if asked:
            await asyncio.sleep(POLL)
    return rows


async def _nothing(link: Link, name: str, moment: datetime | None) -> ReconcilerError:
    from reconciler.db import executions, pending

    if moment is None:
        return ReconcilerError(f"cancel: {name}: nothing of it runs or waits")
    if row := await executions.one(link, name, moment):
        how = "succeeded" if row.is_success else "failed"
        return ReconcilerError(f"cancel: {name}: {utc(moment)} has {how} already, at {utc(row.finished_at)}")
    others = [utc(one.scheduled_for) for one in await pending.claims_of(link, name, 5)]
    there = f"; what does: {', '.join(others)}" if others else ""
    return ReconcilerError(f"cancel: {name}: {utc(moment)} neither runs nor waits{there}")


def _words(one: Ended, why: str) -> str:
    if one.is_dropped:
        return "dropped, it had not begun"
    if one.row is None:
        return "told to end"
    took = span(one.row.finished_at - one.row.started_at)
    if one.row.is_success:
        return f"had succeeded before it heard of it, after {took}"
    if why in (one.row.error or ""):
        return f"cancelled after {took}"
    return f"failed after {took}: {first_line(one.row.error)}"


def _as_json(one: Ended) -> dict[str, Any]:
    row = one.row
    return {
        "scheduled_for": one.moment,
        "is_dropped": one.is_dropped,
        "has_ended": one.is_dropped or row is not None,
        "is_success": row.is_success if row else None,
        "error": row.error if row else None,
    }


COMMANDS = {"cancel": cancel}
