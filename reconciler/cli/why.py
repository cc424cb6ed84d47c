"""`why`: what became of an instant, in a sentence with its evidence; and `history --ledger`, all of them in a row."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import Instant, aware, complete_name
from reconciler.cli.command import command, given, hint
from reconciler.cli.output import Format, document, line, output_option, show
from reconciler.cli.stores import with_link
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.ledger import Evidence, Verdict


class Asked(Instant):
    """An instant as `history` prints it, or `last`."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "last" else super().convert(value, param, ctx)


@command("why", example="reconciler why nightly-sales 2026-01-02T02:00:00Z")
@click.argument("name", shell_complete=complete_name)
@click.argument("instant", required=False, type=Asked(), metavar="[INSTANT|last]")
@output_option
def why(name: str, instant: datetime | str | None, output: Format) -> int:
    """Why a task ran, or did not, at an instant.

    INSTANT is the `scheduled_for` that history shows, or any other moment; `last` is the newest that was due. Without
    it: the last that was due, and the next. The rows that the answer rests on follow it.
    """

    async def read(link: Link) -> tuple[Evidence, list[Verdict]]:
        await _require_ever_known(link, name)
        return await _explained(link, name, instant)

    evidence, verdicts = with_link(read)
    if output != "table":
        from reconciler.cli.verdicts import as_json

        facts = {"name": name, "now": evidence.now, "through": evidence.through, "timezone": evidence.zone}
        document({**facts, "verdicts": [as_json(one) for one in verdicts]}, output)
        return 0
    _print(evidence, verdicts, instant)
    return 0


async def _explained(link: Link, name: str, instant: datetime | str | None) -> tuple[Evidence, list[Verdict]]:
    from reconciler.db.evidence import around
    from reconciler.ledger import Book, verdict

    keep = given().settings.history.keep
    if isinstance(instant, datetime):
        evidence = _local(await around(link, name, aware(instant), keep=keep))
        return evidence, [verdict(evidence, aware(instant))]
    evidence = _local(await around(link, name, keep=keep))
    book = Book(evidence)
    last = book.before(evidence.now) if book.last_due is None else book.last_due
    verdicts = []
    if last is not None:
        # Its own neighbourhood may be further back than that of now.
        near = _local(await around(link, name, last, keep=keep))
        verdicts.append(verdict(near, last))
    if instant is None and book.next_due is not None:
        verdicts.append(verdict(book, book.next_due))
    return evidence, verdicts


def list_ledger(name: str, since: datetime | None, until: datetime | None, limit: int, output: Format) -> int:
    """`history NAME --ledger`: every verdict, newest first, at most `limit`."""
    from reconciler.cli.verdicts import as_json, columns, newest_first

    async def read(link: Link) -> Evidence:
        from reconciler.db.evidence import between

        await _require_ever_known(link, name)
        return await between(link, name, since, until, limit=limit, keep=given().settings.history.keep)

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


def _local(evidence: Evidence) -> Evidence:
    """The same, with clock times said in the zone of its spec."""
    specs = [one.spec for one in evidence.revisions if one.spec]
    return replace(evidence, zone=specs[-1].timezone) if specs else evidence


def _print(evidence: Evidence, verdicts: list[Verdict], instant: datetime | str | None) -> None:
    from reconciler.cli.verdicts import lines

    if not verdicts:
        line(f"{evidence.name} was never due and nothing ran: it has no schedule, or none that ever came")
        return
    for number, one in enumerate(verdicts):
        if number:
            line()
        for text in lines(evidence, one):
            line(text)


COMMANDS = {"why": why}
