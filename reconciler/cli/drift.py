"""`drift`: what differs between git, PostgreSQL and Redis, since when, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import complete_name
from reconciler.cli.command import command, given
from reconciler.cli.output import Column, Format, note, output_option, show
from reconciler.cli.stores import redis_of, with_stores
from reconciler.cli.words import when
from reconciler.errors import ReconcilerError, UsageError
from reconciler.lines import bare

if TYPE_CHECKING:
    from reconciler.cli.differing import Looked, Row
    from reconciler.cli.wish import Reading
    from reconciler.db.link import Link
    from reconciler.embedded import Stores

LONGEST = 200


@command("drift", example="reconciler drift || echo somebody changed something")
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--source", metavar="NAME", help="Only that of one source.")
@click.option("--all", "everything", is_flag=True, help="Also what was put right before, newest first.")
@output_option
def drift(name: str | None, source: str | None, everything: bool, output: Format) -> int:
    """What differs between git, PostgreSQL and Redis.

    Exit code 1 when anything does. A pause is no drift, and is named below the table.
    """
    settings = given().settings
    names = [one.name for one in settings.sources]
    if source is not None and source not in names:
        raise UsageError(f"--source: no source named '{source}': configured here: {', '.join(names)}")

    with _readings([source] if source else names) as (readings, is_whole):

        async def act(link: Link, stores: Stores) -> Looked:
            from reconciler.cli.differing import looked

            redis = redis_of(stores)
            try:
                return await looked(link, redis, readings, settings.drift_modes, ended=everything)
            finally:
                await redis.close()

        found = with_stores(act)
    rows = [row for row in found.rows if _is_meant(row, name, source)]
    past = [row for row in found.past if _is_meant(row, name, source)]
    _show(found, rows, past, readings, output, is_whole=is_whole and not found.trouble)
    if found.trouble:
        note(f"redis was not looked at: {found.trouble}")
    return 1 if rows or found.trouble or not is_whole else 0


@contextmanager
def _readings(names: Sequence[str]) -> Iterator[tuple[list[Reading], bool]]:
    """Each source as it is now, open; whether all of them could be read. What could not be is told."""
    from reconciler.cli.wish import Wish, reading

    found: list[Reading] = []
    with ExitStack() as opened:
        for name in names:
            try:
                found.append(opened.enter_context(reading(Wish(source=name), "drift")))
            except ReconcilerError as error:
                note(f"source '{name}' was not looked at: {bare(str(error), name)}")
        yield found, len(found) == len(names) and not any(read.is_refused for read in found)


def _is_meant(row: Row, name: str | None, source: str | None) -> bool:
    return (name is None or row.name == name) and (source is None or row.source == source)


def _show(
    found: Looked,
    rows: Sequence[Row],
    past: Sequence[Row],
    readings: Sequence[Reading],
    output: Format,
    *,
    is_whole: bool,
) -> None:
    columns = [
        Column("name", lambda row: row["name"] or "(all of it)"),
        Column("side", lambda row: row["side"]),
        Column("source", lambda row: row["source"], usual="default"),
        Column("differs: expected -> found", lambda row: row["words"], gives=True),
        Column("since", lambda row: when(row["since"], found.now) if row["since"] else "now"),
        Column("what becomes of it", lambda row: row["will"], gives=True),
    ]
    listed = [_listed(row) for row in (*rows, *past)]
    empty = "nothing differs" + (": git, PostgreSQL and Redis say the same" if is_whole else " in what was looked at")
    if output != "table":
        extra = {
            "has_drift": bool(rows),
            "pauses": [{"name": one.name, "selector": one.selector, "reason": one.reason} for one in found.pauses],
            "sources": [{"name": one.options.source, "revision": one.revision.label} for one in readings],
        }
        plain = [{key: value for key, value in row.items() if key != "words"} for row in listed]
        show(output, "drifts", plain, (), empty="", extra=extra)
        return
    show(output, "drifts", listed, columns, empty=empty)
    for read in readings:
        if read.revision.is_dirty:
            note(f"source '{read.options.source}': with changes that are not committed, on {read.revision.short}")
    for one in found.pauses:
        from reconciler.cli.standing import pause_words

        note(f"no drift: {one.name or 'all'} {pause_words(one, 'UTC', found.now)}")


def _listed(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "side": row.side,
        "source": row.source,
        "reason": row.reason or None,
        "fields": {field: {"expected": sides[0], "found": sides[1]} for field, sides in row.fields.items()},
        "since": row.since,
        "ended_at": row.ended_at,
        "will": f"{row.will}" if row.ended_at is None else f"{row.will} {row.ended_at:%Y-%m-%d %H:%M:%S} UTC",
        "words": _words(row),
    }


def _words(row: Row) -> str:
    """`changed by hand: spec.timeout: "1m" -> "9m"`: expected first, found after it."""
    from reconciler.plan.text import printable, value_text

    sides = [
        f"{printable(field)}: {value_text(expected)} -> {value_text(found)}"
        for field, (expected, found) in row.fields.items()
    ]
    text = ": ".join(part for part in (row.reason, ", ".join(sides)) if part)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


COMMANDS = {"drift": drift}
