"""`blame`: which commit set each field of a task's spec that is in force, by whom, and which sync brought it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import complete_name
from reconciler.cli.command import command, hint
from reconciler.cli.output import Column, Format, line, output_option, show
from reconciler.cli.stores import with_link
from reconciler.cli.words import when
from reconciler.errors import ReconcilerError
from reconciler.lines import first_line

if TYPE_CHECKING:
    from reconciler.db.configs import TaskConfig
    from reconciler.db.link import Link
    from reconciler.db.provenance import Origin, Removed
    from reconciler.spec.blame import SetField

LONGEST_VALUE, LONGEST_SUBJECT = 80, 60
BY_HAND = "changed in PostgreSQL by hand"


@dataclass(frozen=True, slots=True)
class Past:
    """A name as it is in force, or as it last was: `config` None, and then `removed` says by whom if it is known."""

    name: str
    config: TaskConfig | None
    life: list[Origin]
    removed: Removed | None
    now: datetime

    @property
    def is_tampered(self) -> bool:
        """Whether the config says what no sync wrote."""
        return self.config is not None and (not self.life or self.config.spec != self.life[0].spec)


@command("blame", example="reconciler blame nightly-sales schedule")
@click.argument("name", shell_complete=complete_name)
@click.argument("field", required=False)
@click.option("--all", "is_all", is_flag=True, help="Also the fields that nobody ever set.")
@output_option
def blame(name: str, field: str | None, is_all: bool, output: Format) -> int:
    """Which commit set each field in force, and who applied it.

    FIELD is one of them, dotted, or what several are below: `retries.attempts`, `params`. Of a removed task its last
    state, and what removed it.
    """
    from reconciler.spec.blame import fields_of

    past = with_link(lambda link: look(link, name))
    by_hand = [past.config.spec] if past.is_tampered and past.config else []
    fields = fields_of([*by_hand, *(one.spec for one in past.life)])
    rows = [_row(one, past) for one in _asked(fields, field, name)]
    if output == "table":
        for text in headlines(past):
            line(text)
        rows = [row for row in rows if is_all or field or not row["is_default"]]
    show(output, "fields", rows, _columns(past.now), empty="no field of it was ever set", extra=_about(past))
    return 0


async def look(link: Link, name: str) -> Past:
    """What is kept of a name; ReconcilerError, with the nearest one, where it never was."""
    from reconciler.db import configs, evidence, provenance
    from reconciler.db.server import server

    found = await configs.load(link, [name])
    origins = await provenance.revisions(link, name)
    if not found and not origins:
        near = hint(name, await evidence.names(link)) or ": see reconciler status"
        raise ReconcilerError(f"no task named '{name}' in the database, nor was there ever one{near}")
    life = of_one_life(origins)
    removed = None if found else await provenance.removal(link, name, life[0].applied_at)
    return Past(name, found[0] if found else None, life, removed, (await server(link)).now)


def of_one_life(origins: list[Origin]) -> list[Origin]:
    """The newest revisions, back to where the name was created, or created anew."""
    born = next((number for number, one in enumerate(origins) if number and one.removed_at), len(origins))
    return origins[:born]


def headlines(past: Past) -> list[str]:
    """What is to be said before the fields: that it was removed, or changed by hand."""
    from reconciler.cli.syncs import revision

    if past.is_tampered:
        return [f"{past.name}: was {BY_HAND}: see reconciler drift", ""]
    if past.config is not None:
        return []
    gone = past.removed
    if gone is None:
        ended = past.life[0].removed_at
        return [f"{past.name}: was removed{f' {when(ended, past.now)}' if ended else ''}; its last state:", ""]
    why = f": {gone.reason}" if gone.reason else ""
    commit = (
        f"with {revision(gone.revision)}{_told(gone.author, gone.subject)}" if gone.revision else "without a commit"
    )
    by = f"sync {gone.sync_id} by {gone.actor}{why}"
    return [f"{past.name}: was removed {when(gone.at, past.now)}, {commit}, {by}; its last state:", ""]


def _told(author: str | None, subject: str | None) -> str:
    """` (Ada: drop old reports)`, or nothing."""
    text = ": ".join(filter(None, (author, first_line(subject, LONGEST_SUBJECT))))
    return f" ({text})" if text else ""


def _asked(fields: list[SetField], wanted: str | None, name: str) -> list[SetField]:
    from reconciler.spec.blame import chosen

    if wanted is None:
        return fields
    if found := chosen(fields, wanted):
        return found
    near = hint(wanted, [one.field for one in fields]) or f": see reconciler blame {name} --all"
    raise ReconcilerError(f"{name}: has no field '{wanted}'{near}")


def _row(one: SetField, past: Past) -> dict[str, Any]:
    """`revision` and what belongs to it None: it was set by hand, or by nobody."""
    number = one.since - past.is_tampered
    origin = past.life[number] if number >= 0 else None
    about = ("revision", "author", "subject", "applied_at", "sync_id", "actor", "reason", "path", "source")
    return {
        "field": one.field,
        "value": one.value,
        "is_default": one.is_default,
        "is_by_hand": origin is None,
        **{key: getattr(origin, key, None) for key in about},
    }


def _about(past: Past) -> dict[str, Any]:
    from dataclasses import asdict

    last = past.config or past.life[0]
    removed = {**asdict(past.removed), "removed_at": past.life[0].removed_at} if past.removed else None
    is_removed = past.config is None
    return {"name": past.name, "source": last.source, "path": last.path, "is_removed": is_removed, "removed": removed}


def _columns(now: datetime) -> list[Column]:
    from reconciler.cli.syncs import revision

    def grey(row: Any) -> str:
        return "bright_black" if row["is_default"] else ""

    def of_set(key: str, told: Any) -> Any:
        return lambda row: "" if row["is_default"] or row[key] is None else told(row[key])

    def commit(row: Any) -> str:
        if row["is_by_hand"]:
            return BY_HAND
        return "by default" if row["is_default"] else revision(row["revision"])

    def value(row: Any) -> str:
        return first_line(json.dumps(row["value"], ensure_ascii=False), LONGEST_VALUE)

    return [
        Column("field", lambda row: row["field"], lambda row: "bright_black" if row["is_default"] else "bold"),
        Column("value", value, grey, gives=True),
        Column("set by", commit, grey),
        Column("author", of_set("author", str), usual="", gives=True),
        Column("when", of_set("applied_at", lambda moment: when(moment, now)), usual=""),
        Column("subject", of_set("subject", lambda text: first_line(text, LONGEST_SUBJECT)), usual="", gives=True),
        Column("sync", of_set("sync_id", str), usual=""),
        Column("applied by", of_set("actor", str), usual="", gives=True),
        Column("reason", of_set("reason", lambda text: first_line(text, LONGEST_SUBJECT)), usual="", gives=True),
    ]


COMMANDS = {"blame": blame}
