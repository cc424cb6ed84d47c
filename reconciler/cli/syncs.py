"""`syncs`: what was applied when, from which revision and by whom."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.command import command
from reconciler.cli.output import Column, Format, output_option, show
from reconciler.cli.stores import with_link
from reconciler.cli.words import when
from reconciler.lines import bare, first_line

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.syncs import Sync


@command("syncs", example="reconciler syncs --limit 5")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many at most.")
@output_option
def syncs(limit: int, output: Format) -> int:
    """The last applies: which revision, what changed, who."""

    async def read(link: Link) -> list[Sync]:
        from reconciler.db import syncs

        return await syncs.listing(link, limit)

    rows = [_listed(sync) for sync in with_link(read)]
    now = datetime.now(UTC)
    columns = [
        Column("sync", lambda row: str(row["id"])),
        Column("when", lambda row: when(row["finished_at"], now)),
        Column("source", lambda row: row["source"], usual="default"),
        Column("revision", lambda row: revision(row["revision"])),
        Column("result", counts, lambda row: "green" if row["is_success"] else "red"),
        Column("by", lambda row: row["actor"], gives=True),
        Column("subject", lambda row: first_line(row["subject"], 50), usual="", gives=True),
        Column("reason", lambda row: first_line(row["reason"], 50), usual="", gives=True),
        Column("error", lambda row: first_line(bare(row["error"] or "", row["source"]), 200), usual="", gives=True),
    ]
    show(output, "syncs", rows, columns, empty="nothing was applied yet: reconciler apply")
    return 0


def revision(label: str | None) -> str:
    """`a1b2c3d`, `a1b2c3d-dirty`, `-`."""
    if label is None:
        return "-"
    commit, dirty, _ = label.partition("-dirty")
    return commit[:7] + dirty


def counts(row: Any) -> str:
    """`✓ 2 created, 1 deleted`; `✓ no change`; `✗`."""
    done = [f"{row[verb]} {verb}" for verb in ("created", "adopted", "updated", "deleted") if row[verb]]
    if row["is_success"]:
        return f"✓ {', '.join(done) or 'no change'}"
    return f"✗ {', '.join(done)}".rstrip()


def _listed(sync: Sync) -> dict[str, Any]:
    return {key: value for key, value in asdict(sync).items() if key != "plan"}


COMMANDS = {"syncs": syncs}
