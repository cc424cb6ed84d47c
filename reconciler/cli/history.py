"""`history` and `logs`: what ran and what came of it, from the one final row of each occurrence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import Instant, as_meant, complete_name
from reconciler.cli.command import command
from reconciler.cli.names import require_known
from reconciler.cli.output import Column, Format, document, line, note, output_option, show, utc
from reconciler.cli.stores import with_link
from reconciler.cli.words import brief, exact, when
from reconciler.durations import span
from reconciler.errors import ReconcilerError, UsageError
from reconciler.lines import first_line

if TYPE_CHECKING:
    from reconciler.db.executions import TaskExecution
    from reconciler.db.link import Link
    from reconciler.db.provenance import Culprit

    Culprits = Mapping[tuple[str, datetime], Culprit]

LISTED = (
    "name", "scheduled_for", "is_success", "task", "trigger", "started_at", "finished_at", "error", "result",
    "attempts", "replays", "runner", "digest", "revision",
)  # fmt: skip


LONGEST_ERROR, LONGEST_ATTEMPT, LONGEST_SUBJECT = 160, 400, 60


@command("history", example="reconciler history nightly-sales --failed --since 7d")
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many at most.")
@click.option("--since", type=Instant(is_past=True), metavar="ISO|LENGTH", help="Finished since then; '2h' ago works.")
@click.option("--failed", is_flag=True, help="Only what failed.")
@click.option("--ledger", is_flag=True, help="Every instant of NAME that was due: also what did not run, and why.")
@click.option("--until", type=Instant(is_past=True), metavar="ISO|LENGTH", help="With --ledger: nothing later.")
@output_option
def history(
    name: str | None,
    limit: int,
    since: datetime | None,
    failed: bool,
    ledger: bool,
    until: datetime | None,
    output: Format,
) -> int:
    """What ran, newest first.

    When, how long, and whether it succeeded; with --ledger also what did not run.
    """
    if ledger:
        from reconciler.cli.why import list_ledger

        if name is None or failed:
            raise UsageError(
                "history --ledger: " + ("needs a NAME" if name is None else "has no --failed; leave it out")
            )
        start, end = as_meant(since) if since else None, as_meant(until) if until else None
        if start and end and start > end:
            raise UsageError(f"history: --since {exact(start)} is after --until {exact(end)}")
        return list_ledger(name, start, end, limit, output)
    if until:
        raise UsageError("history: --until goes with --ledger; see reconciler history --help")

    start = as_meant(since) if since else None

    async def read(link: Link) -> tuple[list[TaskExecution], Culprits]:
        from reconciler.db import executions

        found = await executions.history(link, name=name, limit=limit, since=start, failed=failed)
        if name and not found:
            await require_known(link, name)
        return found, await culprits_of(link, found)

    found, culprits = with_link(read)
    now = datetime.now(UTC)
    rows = [{**listed(row), "first_failure_after": culprit_of(row, culprits)} for row in found]
    show(output, "executions", rows, columns(now), empty="nothing ran yet, as far as asked")
    return 0


@command("logs", example="reconciler logs nightly-sales 2026-01-02T02:00:00Z")
@click.argument("name", shell_complete=complete_name)
@click.argument("instant", required=False, type=Instant())
@output_option
def logs(name: str, instant: datetime | None, output: Format) -> int:
    """What one run printed and logged, with its error.

    The latest run by default; INSTANT is the `scheduled_for` that history shows.
    """

    moment = as_meant(instant) if instant else None

    async def read(link: Link) -> TaskExecution | None:
        from reconciler.db import executions

        if moment is not None:
            found = await executions.one(link, name, moment)
        else:
            found = await executions.latest(link, name)
        if found is None:
            await require_known(link, name)
        return found

    row = with_link(read)
    if row is None:
        what = f"no result for {utc(moment)}" if moment else "no result yet"
        raise ReconcilerError(f"logs: {name}: {what}: see reconciler history {name} and reconciler status {name}")
    if output != "table":
        document({**listed(row), "traceback": row.traceback, "log": row.log}, output)
        return 0
    _print(row)
    return 0


async def culprits_of(link: Link, found: Sequence[TaskExecution]) -> Culprits:
    """Of these runs, which was the first to fail after a commit, and which commit that was."""
    from reconciler.db import provenance

    failed = [(row.name, row.scheduled_for) for row in found if not row.is_success]
    return await provenance.first_failures(link, failed)


def culprit_of(row: TaskExecution, culprits: Culprits) -> dict[str, Any] | None:
    """The same of one run, for a program; None where nothing points to a commit."""
    found = culprits.get((row.name, row.scheduled_for))
    return asdict(found) if found else None


def first_failure_words(culprit: Mapping[str, Any] | None) -> str:
    """`first failure after 1a2b3c4 (Ada: drop old reports)`; empty for None."""
    if culprit is None:
        return ""
    from reconciler.cli.syncs import revision

    told = ": ".join(filter(None, (culprit["author"], first_line(culprit["subject"], LONGEST_SUBJECT))))
    commit = revision(culprit["revision"]) if culprit["revision"] else "a changed spec"
    return f"first failure after {commit}{f' ({told})' if told else ''}"


def listed(row: TaskExecution) -> dict[str, Any]:
    """A row of the listing, without log and traceback, which `logs` has."""
    whole = asdict(row)
    return {key: whole[key] for key in LISTED}


def result(row: dict[str, Any]) -> str:
    """`✓ in 12 ms`, `✗ in 3 s`."""
    return f"{'✓' if row['is_success'] else '✗'} in {span(row['finished_at'] - row['started_at'])}"


def columns(now: datetime) -> list[Column]:
    return [
        Column("name", lambda row: row["name"], lambda row: "bold"),
        Column(
            "scheduled for (UTC)",
            lambda row: exact(row["scheduled_for"]).removesuffix(" UTC"),
            short=lambda row: brief(row["scheduled_for"], now),
            short_title="due (UTC)",
        ),
        Column("finished", lambda row: when(row["finished_at"], now)),
        Column("result", result, lambda row: "green" if row["is_success"] else "red"),
        Column("trigger", lambda row: row["trigger"], usual="schedule"),
        Column("attempt", lambda row: str(len(row["attempts"]) + 1), usual="1"),
        Column("error", lambda row: first_line(row["error"], LONGEST_ERROR), usual="", gives=True),
        Column("since", lambda row: first_failure_words(row.get("first_failure_after")), usual="", gives=True),
    ]


def _print(row: TaskExecution) -> None:
    state = "succeeded" if row.is_success else "failed"
    tried = f", attempt {len(row.attempts) + 1}" if row.attempts else ""
    note(f"{row.name} {utc(row.scheduled_for)}: {state} after {span(row.finished_at - row.started_at)}{tried}")
    for number, one in enumerate(row.attempts, 1):
        note(f"attempt {number} failed: {first_line(str(one.get('error')), LONGEST_ATTEMPT)}")
    if row.log:
        line(row.log.rstrip("\n"))
    if row.traceback:
        line(row.traceback.rstrip("\n"))
    if row.error:
        note(f"error: {row.error}")
    if not row.log and not row.traceback:
        note("it printed and logged nothing")


COMMANDS = {"history": history, "logs": logs}
