"""`simulate`: what the specs would do between two moments, by the rules of the runner, without touching a store."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from reconciler.cli.arguments import Instant, Length, aware
from reconciler.cli.command import command, given
from reconciler.cli.output import Format, document, note, output_option
from reconciler.cli.specs import choose_source, discover, read
from reconciler.errors import ReconcilerError, UsageError

if TYPE_CHECKING:
    from reconciler.db.durations import Took
    from reconciler.simulate import Job, Setup
    from reconciler.spec import TaskSpec

WEEK = timedelta(days=7)
LONGEST = timedelta(days=3660)
# A database that is asked for past durations has this long to answer.
PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Assumed:
    """What was assumed of how long runs take: from history for `known` names, else `assume`."""

    assume: timedelta
    is_slow: bool
    took: Mapping[str, Took]

    def takes(self, name: str) -> timedelta:
        """How long each run of that name is said to take."""
        took = self.took.get(name)
        if took is None:
            return self.assume
        return took.p95 if self.is_slow else took.median


@command("simulate", example="reconciler simulate --for 14d --runners 2 --outage 2026-11-25T02:00..2026-11-25T03:30")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--from", "start", type=Instant(), metavar="ISO", help="Begin here; default now.")
@click.option("--to", "stop", type=Instant(), metavar="ISO", help="End just before this; default a week later.")
@click.option("--for", "length", type=Length(), metavar="LENGTH", help="How long, instead of --to.")
@click.option("--assume", type=Length(), metavar="LENGTH", default="1s", show_default=True, help="A run takes this ...")
@click.option("--no-history", is_flag=True, help="... also where past runs say how long; ask no database.")
@click.option("--slow", is_flag=True, help="Each run is as slow as the slowest twentieth, not as the median.")
@click.option("--runners", type=click.IntRange(1, 10_000), default=1, show_default=True, help="How many there are.")
@click.option("--outage", "outages", multiple=True, metavar="ISO..ISO", help="Nothing is decided or started meanwhile.")
@click.option("--timezone", metavar="ZONE", default="UTC", show_default=True, help="Of times read and shown.")
@click.option("--fires", is_flag=True, help="List every fire and every skip.")
@click.option("--all", "everything", is_flag=True, help="Every task in the table, not only the first 30.")
@click.option("--environment", metavar="NAME", help="The specs as they are in that environment.")
@click.option("--source", metavar="NAME", help="The configured source to read.")
@output_option
def simulate(
    path: Path | None,
    start: datetime | None,
    stop: datetime | None,
    length: timedelta | None,
    assume: timedelta,
    no_history: bool,
    slow: bool,
    runners: int,
    outages: tuple[str, ...],
    timezone: str,
    fires: bool,
    everything: bool,
    environment: str | None,
    source: str | None,
    output: Format,
) -> int:
    """What the specs would do: every fire, overlap, pile-up and clock change.

    The rules are those of the runner, the clock is pretended. Runs take as long as past ones did, where the database
    knows any; a database that is not running is not started.
    """
    # What is made here stays to the end: looking for garbage in it would take a third of the time.
    gc.disable()
    zone = _zone(timezone)
    begin, end = _window(start, stop, length, timezone)
    specs = _specs(path, environment, source)
    if specs is None:
        return 1
    took = {} if no_history else _past([spec.name for spec in specs])
    assumed = Assumed(assume, slow, took)
    setup = _setup(begin, end, runners, [_outage(text, timezone) for text in outages])

    from reconciler.cli.simulated import Answer, as_json, print_answer
    from reconciler.simulate import simulate as simulated

    answer = Answer(specs, setup, assumed, runners, simulated(_jobs(specs, assumed), setup), zone)
    if output == "table":
        print_answer(answer, fires=fires, everything=everything)
    else:
        document(as_json(answer, fires=fires), output)
    return 0


def _zone(name: str) -> ZoneInfo:
    from reconciler.schedule import InvalidSchedule
    from reconciler.schedule.zone import load_zone

    try:
        return load_zone(name).info
    except InvalidSchedule as error:
        raise UsageError(f"simulate: --timezone: {error}") from error


def _window(
    start: datetime | None, stop: datetime | None, length: timedelta | None, timezone: str
) -> tuple[datetime, datetime]:
    if stop is not None and length is not None:
        raise UsageError("simulate: --to and --for both say when it ends; leave one out")
    begin = aware(start, timezone) if start else datetime.now(UTC).replace(second=0, microsecond=0)
    end = aware(stop, timezone) if stop else begin + (WEEK if length is None else length)
    if not begin < end <= begin + LONGEST:
        said = "--for: has to be longer than nothing" if length is not None else "--to: has to be after --from"
        raise UsageError(f"simulate: {said}, and at most ten years")
    return begin, end


def _specs(path: Path | None, environment: str | None, source: str | None) -> list[TaskSpec] | None:
    """Every spec by name, tasks and parameters checked; None when something is faulty, which stands on stderr then."""
    settings = given().settings
    every = [settings.directory / one.path for one in settings.sources]
    roots = every if path is None and source is None else [choose_source(settings, source, path)[1]]
    module_faults = discover(settings)
    found: dict[str, TaskSpec] = {}
    faults: list[object] = list(module_faults)
    for root in roots:
        specs = read(root, environment or settings.environment)
        faults += specs.faults
        found |= {located.name: located.spec for located in specs.specs}
    for fault in faults:
        note(str(fault))
    if faults:
        note("nothing was simulated: see reconciler validate")
        return None
    return [found[name] for name in sorted(found)]


def _past(names: list[str]) -> Mapping[str, Took]:
    """How long past runs took; nothing where no database answers, which stands on stderr then."""
    import asyncio

    address = _database()
    if address is None:
        return {}
    try:
        return asyncio.run(_ask(address, names))
    except ReconcilerError as error:
        note(f"reconciler: warning: no past durations: {error}")
        return {}


async def _ask(address: str, names: list[str]) -> Mapping[str, Took]:
    from reconciler.db import schema
    from reconciler.db.durations import durations
    from reconciler.db.link import Link

    link = Link(address, connect_timeout=PATIENCE)
    try:
        await schema.require_current(link)
        return await durations(link, names)
    finally:
        await link.close()


def _database() -> str | None:
    """The address of your own database, or of the embedded one if it is running."""
    settings = given().settings
    if settings.database_url:
        return settings.database_url.get_secret_value()
    from reconciler.embedded import EmbeddedServers

    server = EmbeddedServers(settings.directory).postgresql
    return server.url if server.is_ready() else None


def _jobs(specs: list[TaskSpec], assumed: Assumed) -> list[Job]:
    from reconciler.registry import TASKS
    from reconciler.simulate import Job

    found = []
    for spec in specs:
        info = TASKS.get(spec.task)
        is_async = info is not None and info.is_async and spec.memory_limit is None
        found.append(Job(spec, assumed.takes(spec.name), is_async))
    return found


def _setup(begin: datetime, end: datetime, runners: int, outages: list[tuple[datetime, datetime]]) -> Setup:
    from reconciler.simulate import Setup

    settings = given().settings
    limits = {name: queue.concurrency for name, queue in settings.queues.items() if queue.concurrency}
    return Setup(
        begin=begin,
        end=end,
        async_slots=settings.runner.concurrency * runners,
        worker_slots=settings.runner.worker_processes * runners,
        limits=limits,
        outages=tuple(sorted(outages)),
    )


def _outage(text: str, timezone: str) -> tuple[datetime, datetime]:
    first, dots, last = text.partition("..")
    try:
        begin, end = (aware(datetime.fromisoformat(part), timezone) for part in (first, last))
        if dots and begin < end:
            return begin, end
    except ValueError:
        pass
    example = "2026-11-25T02:00..2026-11-25T03:30"
    raise UsageError(f"simulate: --outage: '{text}' is not two instants, one after the other; an example: {example}")


COMMANDS: dict[str, Callable[..., object]] = {"simulate": simulate}
