"""`next`: when a task or an expression is due, by the rules that the runner uses."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import Instant, as_meant, complete_name
from reconciler.cli.command import command, hint
from reconciler.cli.output import Column, Format, line, note, output_option, show, utc
from reconciler.cli.words import exact, when
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.schedule import Schedule
    from reconciler.spec import TaskSpec


@command("next", example='reconciler next "0 2 * * 1-5" --timezone Europe/Berlin -n 5')
@click.argument("what", metavar="NAME|EXPR", shell_complete=complete_name)
@click.option("--timezone", metavar="ZONE", help="The zone of the expression; for a name: instead of its own.")
@click.option("--seconds", type=click.Choice(["first", "last"]), help="Where six fields have their seconds.")
@click.option("--from", "start", type=Instant(), metavar="ISO", help="Instants strictly after this one; default now.")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many.")
@output_option
def next_(
    what: str, timezone: str | None, seconds: str | None, start: datetime | None, count: int, output: Format
) -> int:
    """When a task, or a cron expression, is due next.

    A NAME is looked up in the specs first, then in the database; an EXPR needs neither.
    """
    schedule, zone, found, spec = _schedule(what, timezone, seconds)
    for warning in schedule.warnings if schedule else ():
        note(f"reconciler: warning: {warning}")
    now = datetime.now(UTC)
    since = as_meant(start, zone) if start else now
    instants = list(islice(schedule.upcoming(since), count)) if schedule else []
    rows: list[dict[str, Any]] = [
        {"scheduled_for": utc(moment), "local": _local(moment, zone), "moment": moment} for moment in instants
    ]
    fields = ["scheduled_for", "local"]
    if spec and spec.jitter:
        rows = [{**row, "starts": utc(_start(spec, row["moment"]))} for row in rows]
        fields.append("starts")
    if output == "table":
        _headline(what, schedule, found, spec)
    columns = [
        Column("local time", lambda row: exact(row["moment"], zone)),
        Column("scheduled for (UTC)", lambda row: row["scheduled_for"]),
        *([Column("starts (UTC)", lambda row: row["starts"])] if "starts" in fields else []),
        Column("from now", lambda row: when(row["moment"], now)),
    ]
    answer = rows if output == "table" else [{key: row[key] for key in fields} for row in rows]
    nothing = _nothing(schedule, spec)
    show(output, "occurrences", answer, columns, empty=nothing, extra={"timezone": zone, "found_in": found})
    return 0


def _start(spec: TaskSpec, moment: datetime) -> datetime:
    """When it starts, put off by its jitter."""
    from reconciler.occurrences import wake_at

    return wake_at(spec, moment)


def _schedule(
    what: str, timezone: str | None, seconds: str | None
) -> tuple[Schedule | None, str, str, TaskSpec | None]:
    """The schedule meant, its zone, where it was found, and the spec that has it."""
    from reconciler.schedule import InvalidSchedule, Schedule

    if " " in what.strip() or what.startswith("@"):
        zone = timezone or "UTC"
        try:
            return Schedule([what], zone, seconds=seconds), zone, "expression", None  # type: ignore[arg-type]
        except InvalidSchedule as error:
            raise ReconcilerError(f"next: {error}") from error
    spec, found = _find(what)
    if timezone:
        spec = type(spec).from_document({**spec.document(), "timezone": timezone})
    return spec.when(), spec.timezone, found, spec


def _find(name: str) -> tuple[TaskSpec, str]:
    from reconciler.cli.specs import read_all

    known: list[str] = []
    for specs in read_all():
        for located in specs.specs:
            if located.name == name:
                return located.spec, located.path
            known.append(located.name)
    return _find_in_database(name, known)


def _find_in_database(name: str, known: list[str]) -> tuple[TaskSpec, str]:
    from reconciler.cli.stores import with_link
    from reconciler.db import configs
    from reconciler.spec import TaskSpec

    rows = with_link(lambda link: configs.load(link, None))
    for config in rows:
        if config.name == name:
            return TaskSpec.from_document(config.spec), "database"
    known = known + [config.name for config in rows]
    meant = hint(name, known) or "; a cron expression has spaces or begins with '@'"
    raise ReconcilerError(f"next: no task named '{name}', neither in the specs nor in the database{meant}")


def _headline(what: str, schedule: Schedule | None, found: str, spec: TaskSpec | None) -> None:
    if schedule is not None:
        from reconciler.schedule.describe import describe

        place = "" if found == "expression" else f" (from {found})"
        also = f", and after {', '.join(spec.after)}" if spec and spec.after else ""
        line(f"{what}{place}: {describe(schedule)}{also}")


def _nothing(schedule: Schedule | None, spec: TaskSpec | None) -> str:
    if spec and spec.after and schedule is None:
        return f"no schedule: it runs after {', '.join(spec.after)}"
    return "no schedule: it runs only when triggered" if schedule is None else "it never comes again"


def _local(moment: datetime, zone: str) -> str:
    from zoneinfo import ZoneInfo

    return moment.astimezone(ZoneInfo(zone)).isoformat()


COMMANDS = {"next": next_}
