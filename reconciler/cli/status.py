"""`status`: every task on one screen, or everything about one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import complete_name
from reconciler.cli.command import command, given
from reconciler.cli.names import require_known
from reconciler.cli.output import (
    Column,
    Format,
    columns_of_terminal,
    document,
    is_terminal,
    line,
    note,
    output_option,
    show,
    table,
)
from reconciler.cli.standing import (
    Standing,
    as_json,
    last_words,
    next_words,
    now_words,
    standing,
)
from reconciler.cli.stores import redis_answers, with_stores
from reconciler.cli.words import exact, first_line, when

if TYPE_CHECKING:
    from reconciler.db.executions import TaskExecution
    from reconciler.db.link import Link
    from reconciler.db.runners import RunnerRow
    from reconciler.db.syncs import Sync
    from reconciler.embedded import Stores

RECENT = 5


@dataclass(frozen=True, slots=True)
class Picture:
    """All that status shows, as the database had it at `now`, its own clock."""

    now: datetime
    rows: list[Standing]
    syncs: list[Sync]
    runners: list[RunnerRow]
    recent: list[TaskExecution]
    has_redis: bool


@command("status", example="reconciler status nightly-sales")
@click.argument("name", required=False, shell_complete=complete_name)
@output_option
def status(name: str | None, output: Format) -> int:
    """Each task: its schedule, next run, last result, pauses.

    With NAME everything about that one.
    """
    picture = with_stores(lambda link, stores: _look(link, stores, name))
    if output != "table":
        _as_document(picture, name, output)
    elif name:
        for text in _redis_words(picture):
            note(text)
        _detail(picture)
    else:
        for text in _headlines(picture):
            line(text)
        show(output, "tasks", [{"row": row} for row in picture.rows], _columns(picture), empty=_EMPTY)
    return 0


_EMPTY = "no tasks yet: write specs and run reconciler apply, or reconciler serve"


async def _look(link: Link, stores: Stores, name: str | None) -> Picture:
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
    runners = await live(link)
    # Where nothing is due to fire, nobody misses it.
    has_redis = redis_answers(stores.redis_url) if found or runners else True
    return Picture(now, [standing(row, now) for row in found], latest, runners, recent, has_redis)


def _headlines(picture: Picture) -> list[str]:
    """The state of each source's last sync, and of the runners."""
    lines = [_sync_words(sync, picture.now, several=len(picture.syncs) > 1) for sync in picture.syncs]
    lines = lines or ["specs: nothing was applied yet"]
    names = ", ".join(f"{runner.host}:{runner.pid}" for runner in picture.runners)
    lines.append(f"runners: {names}" if names else "runners: none, so nothing fires: reconciler serve")
    return [*lines, *_redis_words(picture), ""]


def _redis_words(picture: Picture) -> list[str]:
    return [] if picture.has_redis else ["redis: does not answer: nothing fires until it does"]


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

    def holds(row: Any) -> str:
        return now_words(row["row"], now, has_runner=has_runner)

    def soon(row: Any) -> str:
        return when(moment, now) if (moment := row["row"].next_run) else "-"

    def last_style(row: Any) -> str:
        last = row["row"].found.last
        return "" if last is None else "green" if last.is_success else "red"

    return [
        Column("name", lambda row: row["row"].name, lambda row: "bold"),
        Column("schedule", lambda row: row["row"].schedule, gives=True),
        Column("next run", lambda row: next_words(row["row"], now), short=soon),
        Column("last result", lambda row: last_words(row["row"], now), last_style, gives=True),
        Column("now", holds, lambda row: "yellow", usual="-", gives=True),
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
    answer["redis_answers"] = picture.has_redis
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
        "params": spec.get("params"),
        "labels": spec.get("labels"),
        "spec": f"{config.path} at {config.revision or 'no revision'} (source {config.source})",
        "changed": f"{when(config.updated_at, now)} · {exact(config.updated_at, row.timezone)}",
    }
    for key, value in facts.items():
        for text in fact_lines(key, value) if value else ():
            line(text)
    if picture.recent:
        line()
        table([listed(run) for run in picture.recent], columns(now)[1:])


LABEL = 13


def fact_lines(key: str, value: Any) -> list[str]:
    """`task         reports.build`; a mapping has a line a key, and long text goes on indented."""
    import json

    if isinstance(value, dict):
        texts = [f"{name}: {json.dumps(part, ensure_ascii=False)}" for name, part in value.items()]
    else:
        texts = [str(value)]
    lines = [part for text in texts for part in _wrapped(text)]
    return [f"{'' if number else key:<{LABEL}}{text}" for number, text in enumerate(lines)]


def _wrapped(text: str) -> list[str]:
    """Broken between words for a terminal; whole for a pipe."""
    import textwrap

    if not is_terminal():
        return [" ".join(text.splitlines())]
    room = max(20, columns_of_terminal() - LABEL)
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False, subsequent_indent="  ")


COMMANDS = {"status": status}
