"""`status`: every task on one screen, or everything about one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import complete_name
from reconciler.cli.command import command, given
from reconciler.cli.detail import Picture, show_detail
from reconciler.cli.names import require_known
from reconciler.cli.output import Column, Format, document, line, note, output_option, show
from reconciler.cli.standing import (
    Around,
    Standing,
    as_json,
    last_words,
    next_words,
    now_words,
    pause_words,
    standing,
)
from reconciler.cli.stores import redis_answers, with_stores
from reconciler.cli.words import when
from reconciler.lines import first_line

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.overrides import Override
    from reconciler.db.overview import Overview
    from reconciler.db.syncs import Sync
    from reconciler.embedded import Stores

RECENT = 5
MOST_CLAIMS = 20


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
        show_detail(picture)
    else:
        for text in _headlines(picture):
            line(text)
        show(output, "tasks", [{"row": row} for row in picture.rows], _columns(picture), empty=_EMPTY)
    return 0


_EMPTY = "no tasks yet: write specs and run reconciler apply, or reconciler serve"


async def _look(link: Link, stores: Stores, name: str | None) -> Picture:
    from reconciler.cli.runners import live
    from reconciler.db import executions, followers, overrides, pending, syncs
    from reconciler.db.overview import overview
    from reconciler.db.server import server

    if name:
        await require_known(link, name)
    found = await overview(link, [name] if name else None)
    now = (await server(link)).now
    sources = dict.fromkeys([*(source.name for source in given().settings.sources)])
    latest = [sync for source in sources if (sync := await syncs.latest(link, source))]
    recent = await executions.history(link, name=name, limit=RECENT) if name else []
    claims = await pending.claims_of(link, name, MOST_CLAIMS) if name else []
    pauses = await overrides.active(link)
    awaited = await followers.awaited(link, name) if name else []
    runners = await live(link)
    rows = await _standings(link, found, now, has_runner=bool(runners))
    # Where nothing is due to fire, nobody misses it.
    has_redis = redis_answers(stores.redis_url) if found or runners else True
    return Picture(now, rows, latest, runners, recent, claims, pauses, awaited, has_redis)


async def _standings(link: Link, found: Sequence[Overview], now: datetime, *, has_runner: bool) -> list[Standing]:
    from reconciler.db.overview import busy_queues, next_waiting

    waiting = await next_waiting(link, [row.config.name for row in found if row.waiting])
    limits = {name: queue.concurrency for name, queue in given().settings.queues.items() if queue.concurrency}
    busy = await busy_queues(link, list(limits)) if waiting and limits else {}
    around = Around(has_runner, busy, limits)
    return [standing(row, now, waiting.get(row.config.name), around) for row in found]


def _headlines(picture: Picture) -> list[str]:
    """The state of each source's last sync, and of the runners."""
    lines = [_sync_words(sync, picture.now, several=len(picture.syncs) > 1) for sync in picture.syncs]
    lines = lines or ["specs: nothing was applied yet"]
    names = ", ".join(runner.place for runner in picture.runners)
    lines.append(f"runners: {names}" if names else "runners: none, so nothing fires: reconciler serve")
    lines += [_group_words(pause, picture) for pause in picture.pauses if pause.selector]
    return [*lines, *_redis_words(picture), ""]


def _group_words(pause: Override, picture: Picture) -> str:
    """`paused: team=data by ana@desk until …: the warehouse moves (3 tasks)`."""
    labels = [(row.name, row.found.config.spec.get("labels", {})) for row in picture.rows]
    count = sum(pause.covers(*one) for one in labels)
    said = pause_words(pause, "UTC", picture.now).removeprefix("paused with ")
    return f"paused: {said} ({count} task{'' if count == 1 else 's'})"


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
    answer["pauses"] = [asdict(pause) for pause in picture.pauses]
    answer["redis_answers"] = picture.has_redis
    answer["tasks"] = [as_json(row) for row in picture.rows]
    if name:
        answer["recent"] = [listed(row) for row in picture.recent]
        answer["claims"] = [asdict(claim) for claim in picture.claims]
        answer["awaited"] = [{"name": name, "succeeded": first} for name, first in picture.awaited]
    document(answer, output)


COMMANDS = {"status": status}
