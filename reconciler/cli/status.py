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
from reconciler.cli.sourcelines import as_json as source_as_json
from reconciler.cli.sourcelines import source_lines, source_states, without_plan
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

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.overrides import Override
    from reconciler.db.overview import Overview
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
    from reconciler.db import executions, followers, overrides, pending, provenance
    from reconciler.db.overview import overview
    from reconciler.db.server import server

    if name:
        await require_known(link, name)
    found = await overview(link, [name] if name else None)
    now = (await server(link)).now
    states = await source_states(link, [source.name for source in given().settings.sources])
    recent = await executions.history(link, name=name, limit=RECENT) if name else []
    claims = await pending.claims_of(link, name, MOST_CLAIMS) if name else []
    pauses = await overrides.active(link)
    awaited = await followers.awaited(link, name) if name else []
    origins = await provenance.revisions(link, name, 1) if name else []
    runners = await live(link)
    rows = await _standings(link, found, now, has_runner=bool(runners))
    # Where nothing is due to fire, nobody misses it.
    has_redis = redis_answers(stores.redis_url) if found or runners else True
    return Picture(now, rows, states, runners, recent, claims, pauses, awaited, has_redis, *origins)


async def _standings(link: Link, found: Sequence[Overview], now: datetime, *, has_runner: bool) -> list[Standing]:
    from reconciler.db.overview import busy_queues, next_waiting

    waiting = await next_waiting(link, [row.config.name for row in found if row.waiting])
    limits = {name: queue.concurrency for name, queue in given().settings.queues.items() if queue.concurrency}
    busy = await busy_queues(link, list(limits)) if waiting and limits else {}
    around = Around(has_runner, busy, limits)
    return [standing(row, now, waiting.get(row.config.name), around) for row in found]


def _headlines(picture: Picture) -> list[str]:
    """Where each source stands, and the runners."""
    lines = source_lines(picture.sources, picture.now) or ["specs: nothing was applied yet"]
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
    syncs = [without_plan(state.last) for state in picture.sources if state.last]
    answer: dict[str, Any] = {"now": picture.now, "syncs": syncs, "runners": runners}
    answer["sources"] = [source_as_json(state) for state in picture.sources]
    answer["pauses"] = [asdict(pause) for pause in picture.pauses]
    answer["redis_answers"] = picture.has_redis
    answer["tasks"] = [as_json(row) for row in picture.rows]
    if name:
        answer["recent"] = [listed(row) for row in picture.recent]
        answer["claims"] = [asdict(claim) for claim in picture.claims]
        keys = ("revision", "author", "subject", "applied_at", "sync_id", "actor", "reason")
        answer["commit"] = {key: getattr(picture.origin, key) for key in keys} if picture.origin else None
        answer["awaited"] = [{"name": name, "succeeded": first} for name, first in picture.awaited]
    document(answer, output)


COMMANDS = {"status": status}
