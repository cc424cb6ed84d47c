"""`notify test`, `incidents`: whether a target can be told, and what there was to tell."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import complete_name
from reconciler.cli.command import command, given, group
from reconciler.cli.names import require_known
from reconciler.cli.output import Column, Format, line, output_option, show
from reconciler.cli.stores import with_link
from reconciler.cli.words import when
from reconciler.lines import first_line

if TYPE_CHECKING:
    from reconciler.db.incidents import Incident
    from reconciler.db.link import Link


@group("notify", example="reconciler notify test ops")
def notify() -> None:
    """Those who are told: test."""


@command("test", example="reconciler notify test ops")
@click.argument("target")
def test(target: str) -> int:
    """Send a message to TARGET now; exit code 1 where it does not arrive."""
    from reconciler.notify.targets import tell
    from reconciler.notify.wording import test_message

    asyncio.run(tell(given().settings.notify.targets, target, test_message(target)))
    line(f"told: {target}")
    return 0


@command("incidents", example="reconciler incidents --open")
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--open", "is_open", is_flag=True, help="Only those that are not over.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many at most.")
@output_option
def incidents(name: str | None, is_open: bool, limit: int, output: Format) -> int:
    """What there was to tell: failures, missed runs, silences.

    Each with when it was over, and whether its begin and its end were told.
    """

    async def read(link: Link) -> list[Incident]:
        from reconciler.db import incidents

        found = await incidents.listing(link, name, is_open=is_open, limit=limit)
        if name and not found:
            await require_known(link, name)
        return found

    rows = [_listed(incident) for incident in with_link(read)]
    now = datetime.now(UTC)
    columns = [
        Column("since", lambda row: when(row["opened_at"], now)),
        Column("task", lambda row: row["name"]),
        Column("kind", lambda row: row["kind"], lambda row: "" if row["closed_at"] else "red"),
        Column("over", lambda row: when(row["closed_at"], now) if row["closed_at"] else "open"),
        Column("told", lambda row: row["notice"]),
        Column("what", lambda row: first_line(row["detail"]), gives=True),
        Column("closing", lambda row: first_line(row["closing"]), usual="", gives=True),
    ]
    show(output, "incidents", rows, columns, empty="nothing to tell" + (" now" if is_open else ""))
    return 0


def _listed(incident: Incident) -> dict[str, Any]:
    return {**asdict(incident), "notice": _notice(incident)}


def _notice(incident: Incident) -> str:
    """How far the telling is: `both`, `begin`, `end`, `not yet` (it is tried), `-` (nobody is, or given up)."""
    begin, end = incident.opening_told_at is not None, incident.closing_told_at is not None
    if begin or end:
        return "both" if begin and end else "begin" if begin else "end"
    return "not yet" if incident.due_at else "-"


notify.add_command(test)
COMMANDS = {"notify": notify, "incidents": incidents}
