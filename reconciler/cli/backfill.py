"""`backfill`: instants of the past that never ran, or failed, run after all, a few at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import asking
from reconciler.cli.arguments import Instant, actor, aware, complete_name
from reconciler.cli.command import command
from reconciler.cli.output import Format, document, line, note, output_option, utc
from reconciler.cli.stores import with_stores
from reconciler.cli.words import exact
from reconciler.errors import Refused, UsageError

if TYPE_CHECKING:
    from reconciler.cli.feeding import Fed
    from reconciler.db.link import Link
    from reconciler.db.overview import Overview
    from reconciler.embedded import Stores
    from reconciler.spec import TaskSpec

MOST = 100_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What stands on the command line."""

    name: str
    start: datetime | None
    end: datetime | None
    dry_run: bool
    parallel: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to run: nominal instants, oldest first, of those from `first` to `last`."""

    spec: TaskSpec
    first: datetime
    last: datetime
    todo: list[datetime]


@command("backfill", example="reconciler backfill nightly-sales --from 2026-01-01 --to 2026-02-01 --dry-run")
@click.argument("name", shell_complete=complete_name)
@click.option(
    "--from", "start", type=Instant(is_past=True), metavar="ISO|LENGTH", help="The first; default: since it exists."
)
@click.option("--to", "end", type=Instant(is_past=True), metavar="ISO|LENGTH", help="The last; default: now.")
@click.option("--failed", is_flag=True, help="What failed and no rerun has made good, instead of what never ran.")
@click.option("--parallel", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many at a time.")
@click.option("--dry-run", is_flag=True, help="List them, and run none.")
@output_option
def backfill(output: Format, **wish: Any) -> int:
    """Run what a schedule missed in a range of time.

    The instants that the schedule of now names there and that have no run: missed, skipped and paused ones too, none
    that is still to be decided. Oldest first, one at a time. It can be interrupted and given again: what has run is
    not run twice. A time without an offset is read on the task's clock. Exit code 1 if any failed.
    """
    asked = Wish(**wish)

    async def act(link: Link, stores: Stores) -> tuple[Work, list[Fed]]:
        work = await _work(link, asked)
        if asked.dry_run or not work.todo:
            return work, []
        await asking.tell_unless_served(link, work.spec)
        return work, await _fed(link, stores, asked, work, output)

    work, fed = with_stores(act)
    if asked.dry_run or not work.todo:
        _list(asked, work, output)
        return 0
    good = sum(one.is_success for one in fed)
    if output != "table":
        document({**_head(asked, work), "runs": [asdict(one) for one in fed]}, output)
    else:
        left = f", {len(work.todo) - len(fed):,} not run" if len(fed) < len(work.todo) else ""
        line(f"{asked.name}: {good:,} of {len(work.todo):,} succeeded, {len(fed) - good:,} failed{left}")
    return 0 if good == len(fed) and len(fed) == len(work.todo) else 1


async def _fed(link: Link, stores: Stores, asked: Wish, work: Work, output: Format) -> list[Fed]:
    from reconciler.cli.feeding import Feeder
    from reconciler.cli.stores import redis_of
    from reconciler.scheduler import SchedulerService

    redis = redis_of(stores)
    try:
        feeder = Feeder(link, SchedulerService(redis), work.spec, asked.parallel, _put(link, asked), output)
        return await feeder.feed(work.todo)
    finally:
        await redis.close()


def _put(link: Link, asked: Wish) -> Callable[[datetime], Awaitable[datetime | None]]:
    """What makes waiting work of a nominal instant: the key of its claim, None where somebody else has done so."""
    beside, who = asked.parallel > 1, actor()

    async def fill(nominal: datetime) -> datetime | None:
        from reconciler.db import filling

        is_mine = await filling.fill(link, asked.name, nominal, beside=beside, actor=who)
        return nominal if is_mine else None

    async def replay(nominal: datetime) -> datetime | None:
        from reconciler.db import byhand, filling

        if not await filling.failed(link, asked.name, nominal, nominal, 1):
            return None  # somebody has made it good, or is at it
        return await byhand.trigger(link, asked.name, None, "rerun", replays=nominal, beside=beside, actor=who)

    return replay if asked.failed else fill


async def _work(link: Link, asked: Wish) -> Work:
    from reconciler.db import filling

    found, spec = await asking.looked_up(link, asked.name)
    now = await asking.clock(link)
    last = aware(asked.end, spec.timezone) if asked.end else now
    if asked.start:
        first = aware(asked.start, spec.timezone)
    else:
        first = await filling.born(link, asked.name, found.config.created_at)
    if first > last:
        raise UsageError(f"backfill: --from {exact(first, spec.timezone)} is after --to {exact(last, spec.timezone)}")
    if asked.failed:
        todo = await filling.failed(link, asked.name, first, last, MOST + 1)
        if len(todo) > MOST:
            raise Refused(_too_many(asked, spec, first, last))
        return Work(spec, first, last, todo)
    return Work(spec, first, last, await _missing(link, asked, found, spec, (first, last)))


async def _missing(
    link: Link, asked: Wish, found: Overview, spec: TaskSpec, between: tuple[datetime, datetime]
) -> list[datetime]:
    """The instants that the schedule names there, decided already, without a row and without a claim."""
    from reconciler.db import filling
    from reconciler.occurrences import TICK

    schedule = spec.when()
    if schedule is None:
        raise UsageError(f"backfill: {asked.name} has no schedule, so no instant of it can be missing")
    first, last = between
    end = min(last, found.through) if found.through else first - TICK
    after = first - TICK
    if end <= after:
        return []
    if schedule.count(after, end, MOST) is None:
        raise Refused(_too_many(asked, spec, first, last))
    named = list(takewhile(lambda at: at <= end, schedule.upcoming(after)))
    if not named:
        return []
    there = await filling.taken(link, asked.name, named[0], named[-1])
    return [at for at in named if at not in there]


def _too_many(asked: Wish, spec: TaskSpec, first: datetime, last: datetime) -> str:
    span = f"{exact(first, spec.timezone)} to {exact(last, spec.timezone)}"
    return f"backfill: {asked.name}: more than {MOST:,} instants from {span}: narrow it with --from and --to"


def _head(asked: Wish, work: Work) -> dict[str, Any]:
    return {"name": asked.name, "from": work.first, "to": work.last, "failed": asked.failed, "count": len(work.todo)}


def _list(asked: Wish, work: Work, output: Format) -> None:
    if output != "table":
        document({**_head(asked, work), "instants": work.todo, "runs": []}, output)
        return
    what = "failed and was not made good" if asked.failed else "is missing"
    zone = work.spec.timezone
    span = f"from {exact(work.first, zone)} to {exact(work.last, zone)}"
    if not work.todo:
        note(f"{asked.name}: nothing {what} {span}")
        return
    note(f"{asked.name}: {len(work.todo):,} {'failed' if asked.failed else 'missing'} {span}")
    line("\n".join(_lines(work.todo, zone)))


def _lines(instants: Sequence[datetime], zone: str) -> list[str]:
    return [utc(at) + ("" if zone == "UTC" else f"  {exact(at, zone)}") for at in instants]


COMMANDS = {"backfill": backfill}
