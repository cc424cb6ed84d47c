"""`why`: what became of an instant, in a sentence with its evidence; and `history --ledger`, all of them in a row."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from reconciler.cli.arguments import Instant, as_meant, aware, complete_name
from reconciler.cli.command import command, given, hint
from reconciler.cli.output import Format, document, line, output_option, show
from reconciler.cli.stores import with_link
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.cli.history import Culprits
    from reconciler.db.link import Link
    from reconciler.ledger import Evidence, Verdict


CLOCK = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?")


class Asked(Instant):
    """An instant as `history` prints it, a time of day like `02:00`, or `last`."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "last" or isinstance(value, time):
            return value
        if CLOCK.fullmatch(value):
            with suppress(ValueError):
                return time.fromisoformat(value)
        return super().convert(value, param, ctx)


@command("why", example="reconciler why nightly-sales 2026-01-02T02:00:00Z")
@click.argument("name", shell_complete=complete_name)
@click.argument("instant", required=False, type=Asked(), metavar="[INSTANT|last]")
@output_option
def why(name: str, instant: datetime | time | str | None, output: Format) -> int:
    """Why a task ran, or did not, at an instant.

    INSTANT is the `scheduled_for` that history shows, or any other moment, in UTC without an offset; 02:00 the last
    time that the task's clock showed that; `last` the newest that was due. Without it: the last that was due, and the
    next. The rows that the answer rests on follow it.
    """

    async def read(link: Link) -> tuple[Evidence, list[Verdict], Culprits, str | None]:
        from reconciler.db import provenance

        await _require_ever_known(link, name)
        evidence, found = await _explained(link, name, as_meant(instant) if isinstance(instant, datetime) else instant)
        failed = [(name, one.first) for one in found if one.kind == "failed"]
        return evidence, found, await provenance.first_failures(link, failed), await _awaited_task(link, name)

    evidence, verdicts, culprits, awaited = with_link(read)
    if output != "table":
        from reconciler.cli.verdicts import as_json

        facts = {"name": name, "now": evidence.now, "through": evidence.through, "timezone": evidence.zone}
        facts |= {"awaits_runner_with": awaited}
        document({**facts, "verdicts": [as_json(one, culprits.get((name, one.first))) for one in verdicts]}, output)
        return 0
    _print(evidence, verdicts, culprits)
    if awaited:
        line(f"{name} is waiting for a runner that has the task '{awaited}'")
    return 0


async def _explained(link: Link, name: str, instant: datetime | time | str | None) -> tuple[Evidence, list[Verdict]]:
    from reconciler.db.evidence import around
    from reconciler.ledger import Book, coming, verdict

    keep = given().settings.history.keep
    if isinstance(instant, datetime):
        evidence = _local(await around(link, name, instant, keep=keep))
        return evidence, [verdict(evidence, instant)]
    evidence = _local(await around(link, name, keep=keep))
    if isinstance(instant, time):
        return await _explained(link, name, _last_at(instant, evidence))
    book = Book(evidence)
    last = book.last_due or book.before(evidence.now)
    verdicts = []
    if last is not None:
        # Its own neighbourhood may be further back than that of now.
        near = _local(await around(link, name, last, keep=keep))
        verdicts.append(verdict(near, last))
    if instant is None and book.revisions:
        verdicts.append(coming(book))
    return evidence, verdicts


def _last_at(clock: time, evidence: Evidence) -> datetime:
    """When the clocks of the spec's zone showed that last."""
    today = datetime.combine(evidence.now.astimezone(ZoneInfo(evidence.zone)).date(), clock)
    found = aware(today, evidence.zone)
    return found if found <= evidence.now else aware(today - timedelta(days=1), evidence.zone)


def list_ledger(name: str, since: datetime | None, until: datetime | None, limit: int, output: Format) -> int:
    """`history NAME --ledger`: every verdict from `since` to `until`, newest first, at most `limit`."""
    from reconciler.cli.verdicts import as_json, columns, newest_first

    async def read(link: Link) -> Evidence:
        from reconciler.db.evidence import between
        from reconciler.occurrences import TICK

        await _require_ever_known(link, name)
        return await between(link, name, since and since - TICK, until, limit=limit, keep=given().settings.history.keep)

    evidence = with_link(read)
    from reconciler.ledger import ledger

    found = ledger(evidence, evidence.floor or evidence.now, until or evidence.now)
    rows = [as_json(one) for one in newest_first(found, limit)]
    empty = "nothing was due, as far as asked"
    show(output, "verdicts", rows, columns("UTC"), empty=empty, extra={"name": name, "now": evidence.now})
    return 0


async def _require_ever_known(link: Link, name: str) -> None:
    """ReconcilerError with the nearest name unless there is, or ever was, a spec so named."""
    from reconciler.db import evidence

    if not await evidence.is_known(link, name):
        near = hint(name, await evidence.names(link)) or ": see reconciler status"
        raise ReconcilerError(f"no task named '{name}' in the database, nor was there ever one{near}")


async def _awaited_task(link: Link, name: str) -> str | None:
    """The task of the spec in force where there are runners and none has it, else None."""
    from reconciler.cli.runners import live
    from reconciler.db.overview import overview

    found = await overview(link, [name])
    is_awaited = found and not found[0].known_task and await live(link)
    return str(found[0].config.spec.get("task")) if is_awaited else None


def _local(evidence: Evidence) -> Evidence:
    """The same, with clock times said in the zone of its spec."""
    specs = [one.spec for one in evidence.revisions if one.spec]
    return replace(evidence, zone=specs[-1].timezone) if specs else evidence


def _never_due(evidence: Evidence) -> str:
    from reconciler.cli.words import exact
    from reconciler.ledger import Book

    book = Book(evidence)
    if book.next_due is not None:
        return f"{evidence.name} was not due yet and nothing ran: it is due at {exact(book.next_due, evidence.zone)}"
    spec = book.current.spec if book.current else None
    if spec and spec.after:
        held = ", and is suspended in its spec" if spec.suspend else ""
        return f"{evidence.name} has not run: it runs after {', '.join(spec.after)}{held}"
    return f"{evidence.name} was never due and nothing ran: it has no schedule, or none that ever came"


def _print(evidence: Evidence, verdicts: list[Verdict], culprits: Culprits) -> None:
    from reconciler.cli.verdicts import lines

    if not verdicts:
        line(_never_due(evidence))
        return
    for number, one in enumerate(verdicts):
        if number:
            line()
        for text in lines(evidence, one, culprits.get((evidence.name, one.first))):
            line(text)


COMMANDS = {"why": why}
