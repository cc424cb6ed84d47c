"""`status`: every task on one screen, or everything about one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import complete_name
from reconciler.cli.command import command, given
from reconciler.cli.names import require_known
from reconciler.cli.output import Column, Format, document, line, output_option, show, table
from reconciler.cli.standing import (
    Standing,
    as_json,
    last_words,
    next_words,
    now_words,
    pause_words,
    standing,
)
from reconciler.cli.stores import with_link
from reconciler.cli.words import exact, first_line, when

if TYPE_CHECKING:
    from reconciler.db.executions import TaskExecution
    from reconciler.db.link import Link
    from reconciler.db.runners import RunnerRow
    from reconciler.db.syncs import Sync

RECENT = 5


@dataclass(frozen=True, slots=True)
class Picture:
    """All that status shows, as the database had it at `now`, its own clock."""

    now: datetime
    rows: list[Standing]
    syncs: list[Sync]
    runners: list[RunnerRow]
    recent: list[TaskExecution]


@command("status", example="reconciler status nightly-sales")
@click.argument("name", required=False, shell_complete=complete_name)
@output_option
def status(name: str | None, output: Format) -> int:
    """Each task: its schedule, next run, last result, pauses.

    With NAME everything about that one.
    """
    picture = with_link(lambda link: _look(link, name))
    if output != "table":
        _as_document(picture, name, output)
    elif name:
        _detail(picture)
    else:
        for text in _headlines(picture):
            line(text)
        show(output, "tasks", [{"row": row} for row in picture.rows], _columns(picture), empty=_EMPTY)
    return 0


_EMPTY = "no tasks yet: write specs and run reconciler apply, or reconciler serve"


async def _look(link: Link, name: str | None) -> Picture:
    from reconciler.cli.runners import live
    from reconciler.db import executions, syncs
    from reconciler.db.overview import overview
    from reconciler.db.server import server

    if name:
        await require_known(link, name)
    found = await overview(link, [name] if name else None)
    now = (await server(link)).now
    sources = dict.fromkeys([*(source.name for source in given().settings.sources)])
    latest = [sync for source in sources if (sync := await syncs.latest(link, source))]
    recent = await executions.history(link, name=name, limit=RECENT) if name else []
    return Picture(now, [standing(row, now) for row in found], latest, await live(link), recent)


def _headlines(picture: Picture) -> list[str]:
    """The state of each source's last sync, and of the runners."""
    lines = [_sync_words(sync, picture.now, several=len(picture.syncs) > 1) for sync in picture.syncs]
    lines = lines or ["specs: nothing was applied yet"]
    names = ", ".join(f"{runner.host}:{runner.pid}" for runner in picture.runners)
    return [*lines, f"runners: {names}" if names else "runners: none, so nothing fires: reconciler serve", ""]


def _sync_words(sync: Sync, now: datetime, *, several: bool) -> str:
    from reconciler.cli.syncs import counts, revision

    where = f"specs ({sync.source})" if several else "specs"
    moment = when(sync.finished_at, now)
    at = f" at {revision(sync.revision)}" if sync.revision else ""
    if not sync.is_success:
        return f"{where}: ✗ {moment}{at}: {first_line(sync.error, 120)}"
    subject = f" “{first_line(sync.subject, 50)}”" if sync.subject else ""
    done = counts({verb: getattr(sync, verb) for verb in ("created", "adopted", "updated", "deleted", "is_success")})
    return f"{where}: {done}, {moment}{at}{subject} by {sync.actor}"


def _columns(picture: Picture) -> list[Column]:
    now, has_runner = picture.now, bool(picture.runners)

    def last_style(row: Any) -> str:
        last = row["row"].found.last
        return "" if last is None else "green" if last.is_success else "red"

    return [
        Column("name", lambda row: row["row"].name, lambda row: "bold"),
        Column("schedule", lambda row: row["row"].schedule),
        Column("next run", lambda row: next_words(row["row"], now)),
        Column("last result", lambda row: last_words(row["row"], now), last_style),
        Column("now", lambda row: now_words(row["row"], now, has_runner=has_runner), lambda row: "yellow"),
    ]


def _as_document(picture: Picture, name: str | None, output: Format) -> None:
    from dataclasses import asdict

    from reconciler.cli.history import listed

    runners = [
        {"host": row.host, "pid": row.pid, "queues": row.queues, "started_at": row.started_at}
        for row in picture.runners
    ]
    syncs = [{key: value for key, value in asdict(sync).items() if key != "plan"} for sync in picture.syncs]
    answer: dict[str, Any] = {"now": picture.now, "syncs": syncs, "runners": runners}
    answer["tasks"] = [as_json(row) for row in picture.rows]
    if name:
        answer["recent"] = [listed(row) for row in picture.recent]
    document(answer, output)


def _detail(picture: Picture) -> None:
    from reconciler.cli.history import columns, listed

    (row,) = picture.rows
    config, now = row.found.config, picture.now
    spec = config.spec
    facts = {
        "name": config.name,
        "description": spec.get("description"),
        "task": spec.get("task"),
        "schedule": f"{row.schedule}  ({', '.join(spec['schedule'])}, {row.timezone})"
        if spec.get("schedule")
        else row.schedule,
        "next run": next_words(row, now),
        "last result": last_words(row, now),
        "now": now_words(row, now, has_runner=bool(picture.runners)),
        "paused": pause_words(row, now) if row.found.pause else None,
        "params": spec.get("params"),
        "labels": spec.get("labels"),
        "spec": f"{config.path} at {config.revision or 'no revision'} (source {config.source})",
        "changed": f"{when(config.updated_at, now)} · {exact(config.updated_at, row.timezone)}",
    }
    for key, value in facts.items():
        if value:
            line(f"{key:<12} {_text(value)}")
    if picture.recent:
        line()
        table([listed(run) for run in picture.recent], columns(now))


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


COMMANDS = {"status": status}
