"""`sources`: where specs come from, how far each source has come, and taking one away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import actor
from reconciler.cli.command import command, given, group
from reconciler.cli.output import Column, Format, line, note, output_option, show
from reconciler.cli.stores import redis_of, with_link, with_stores
from reconciler.cli.words import when
from reconciler.errors import ReconcilerError, Refused
from reconciler.lines import bare, first_line

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.sources import Source
    from reconciler.embedded import Stores
    from reconciler.settings import SourceSettings
    from reconciler.sync.removal import Removed


@group("sources", example="reconciler sources remove old-team --prune --yes")
@output_option
def sources(output: Format) -> int | None:
    """Where specs come from: how far each source has come, its pin; remove.

    A source that is not configured here, and still has tasks, is listed too: they go on as they are.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return None

    async def read(link: Link) -> tuple[list[Source], Counter[str]]:
        from reconciler.db import configs, sources

        return await sources.every(link), Counter(key.source for key in await configs.keys(link))

    known, tasks = with_link(read)
    rows = _listed(given().settings.sources, known, tasks)
    now = datetime.now(UTC)
    columns = [
        Column("source", lambda row: row["name"]),
        Column("place", lambda row: row["place"] or "-", gives=True),
        Column("revision", lambda row: _revision(row["revision"])),
        Column("applied", lambda row: when(row["applied_at"], now) if row["applied_at"] else "never"),
        Column("tried", lambda row: when(row["tried_at"], now) if row["tried_at"] else "never"),
        Column("tasks", lambda row: f"{row['tasks']:,}"),
        Column("state", _state, _colour, gives=True),
    ]
    show(output, "sources", rows, columns, empty="no source is configured")
    return 0


# It answers by itself, too.
sources.invoke_without_command = True
sources.no_args_is_help = False


@command("remove", example="reconciler sources remove old-team --prune --yes")
@click.argument("name")
@click.option("--prune", is_flag=True, help="Delete its tasks, too; by default they go on as they are.")
@click.option("--yes", is_flag=True, help="Deleting them is meant.")
def remove(name: str, prune: bool, yes: bool) -> int:
    """Forget a source that is no longer configured.

    Its tasks stay in force, owned by nobody's settings: another source may take them over with --adopt. With --prune
    they are deleted; a protected one refuses, and then the source stays.
    """
    if any(source.name == name for source in given().settings.sources):
        what = "it is configured, so its next pass would bring it back"
        raise ReconcilerError(f"sources: {name}: {what}: take it out of reconciler.toml first")

    async def act(link: Link, stores: Stores) -> Removed:
        from reconciler.scheduler import SchedulerService
        from reconciler.sync.removal import remove_source, tasks_of

        names = await tasks_of(link, name)
        if prune and names and not yes:
            raise Refused(f"sources: {name}: this deletes {_named(names)}; if that is meant, add --yes")
        redis = redis_of(stores)
        try:
            return await remove_source(link, SchedulerService(redis), name, actor(), prune=prune)
        finally:
            await redis.close()

    return _tell(name, with_stores(act))


def _tell(name: str, removed: Removed) -> int:
    plan = removed.outcome.plan
    deleted = len(plan.changes) if plan else 0
    if deleted:
        line(f"deleted: {_named([change.name for change in plan.changes] if plan else [])}")
    if removed.outcome.trouble:
        note(f"reconciler: deleted, but not yet from Redis: {removed.outcome.trouble}")
    for refusal in plan.refusals if plan else ():
        note(f"reconciler: {refusal.text}")
    if plan and plan.refusals:
        note(f"reconciler: source '{name}' stays, with {_named(removed.orphans)}")
        return Refused.exit_code
    line(f"removed: source '{name}'")
    if removed.orphans:
        note(f"its tasks go on, and no source looks after them: {_named(removed.orphans)}")
    return 1 if removed.outcome.trouble else 0


def _listed(configured: Sequence[SourceSettings], known: Sequence[Source], tasks: Counter[str]) -> list[dict[str, Any]]:
    from reconciler.db.sources import Source

    places = {source.name: source.place for source in configured}
    stood = {source.name: source for source in known}
    rows = []
    for name in sorted(places.keys() | stood.keys() | tasks.keys()):
        row = asdict(stood.get(name) or Source(name=name))
        row["place"] = places.get(name, row["place"])
        rows.append({**row, "tasks": tasks[name], "is_configured": name in places})
    return rows


def _revision(commit: str | None) -> str:
    return commit[:7] if commit else "-"


def _state(row: Any) -> str:
    """`ok`, `pinned at 1a2b3c4: why`, the first line of an error, `not configured here`."""
    said = []
    if row["pinned_at"]:
        where = _revision(row["pinned_revision"]) if row["pinned_revision"] else f"sync {row['pinned_sync_id']}"
        said.append(f"pinned at {where}" + (f": {row['pin_reason']}" if row["pin_reason"] else ""))
    if row["error"]:
        said.append(first_line(bare(row["error"], row["name"]), 200))
    if not row["is_configured"]:
        said.append("not configured here")
    return "; ".join(said) or ("ok" if row["applied_at"] else "never applied")


def _colour(row: Any) -> str:
    if row["error"]:
        return "red"
    return "yellow" if row["pinned_at"] or not row["is_configured"] or not row["applied_at"] else "green"


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{len(names):,} task{'' if len(names) == 1 else 's'} ({listed})"


sources.add_command(remove)
COMMANDS = {"sources": sources}
