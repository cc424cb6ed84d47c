"""`rollback`: put an earlier state of a source back and keep it there, or let the source go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from reconciler.cli.arguments import actor
from reconciler.cli.command import command, given
from reconciler.cli.output import line, note
from reconciler.cli.stores import redis_of, with_stores
from reconciler.errors import Refused, UsageError
from reconciler.lines import of_source

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.sources import Pin
    from reconciler.db.syncs import Sync
    from reconciler.embedded import Stores
    from reconciler.plan import Plan
    from reconciler.settings import SourceSettings
    from reconciler.sync.request import Pass
    from reconciler.sync.rollback import Rollback

Report = Literal["text", "json", "yaml"]


@command("rollback", example="reconciler rollback previous --reason 'the report of last night was wrong'")
@click.argument("revision", metavar="REV", required=False)
@click.option("--source", metavar="NAME", help="The source; needed where there are several.")
@click.option("--reason", metavar="TEXT", help="Why; it is shown wherever the pin is.")
@click.option("--release", is_flag=True, help="End the pin: the next pass applies the newest commit.")
@click.option("--max-prune", metavar="N|N%", help="How many may be deleted at once.")
@click.option("--allow-empty", is_flag=True, help="Deleting everything is meant.")
@click.option("--dry-run", is_flag=True, help="Show what it would change, and change nothing.")
@click.option(
    "-o", "--format", "report", type=click.Choice(["text", "json", "yaml"]), default="text", help="How to print it."
)
def rollback(
    revision: str | None,
    source: str | None,
    reason: str | None,
    release: bool,
    max_prune: str | None,
    allow_empty: bool,
    dry_run: bool,
    report: Report,
) -> int:
    """Put back what was in force after REV, and pin the source there.

    REV is a commit that was applied, the first letters of one, the number of a sync, or `previous`. The specs come
    from PostgreSQL: git is not needed. A commit that comes after the one left behind ends the pin, or --release does.
    """
    from reconciler.sync.options import options_of
    from reconciler.sync.rollback import Rollback

    if release == bool(revision):
        raise UsageError("rollback: REV or --release: one of the two; 'reconciler syncs' lists what was applied")
    chosen = _chosen(source)
    if release:
        return _release(chosen.name, reason)
    options = options_of(chosen, max_prune=max_prune, allow_empty=allow_empty)
    wish = Rollback(revision or "", options, actor(), reason)
    return _show(wish, report) if dry_run else _carry_out(wish, report)


def _chosen(name: str | None) -> SourceSettings:
    """A source of the settings, or one by name alone: what is pinned need not be configured here."""
    from reconciler.settings import SourceSettings

    configured = given().settings.sources
    if name is None:
        if len(configured) > 1:
            known = ", ".join(source.name for source in configured)
            raise UsageError(f"--source: several sources are configured; name one of: {known}")
        return configured[0]
    return next((source for source in configured if source.name == name), None) or SourceSettings(name=name)


def _release(name: str, reason: str | None) -> int:
    async def act(link: Link, stores: Stores) -> Pin | None:
        from reconciler.sync.rollback import release

        return await release(link, name, actor(), reason)

    pin = with_stores(act)
    if pin is None:
        line(f"source '{name}' is not pinned: nothing to release")
        return 0
    line(f"released: source '{name}' was {pin.text}")
    note(f"the next pass applies its newest commit; at once: {of_source('reconciler apply', name)}")
    return 0


def _show(wish: Rollback, report: Report) -> int:
    from reconciler.cli.output import document
    from reconciler.plan import text as plantext
    from reconciler.sync.rollback import label_of

    async def act(link: Link, stores: Stores) -> tuple[Sync, Plan]:
        from reconciler.sync.rollback import rollback_preview

        return await rollback_preview(link, wish)

    target, plan = with_stores(act)
    if report == "text":
        note(f"to {label_of(target)}, applied {target.finished_at:%Y-%m-%d %H:%M} UTC by {target.actor}")
        line(plantext.as_text(plan))
    else:
        document({**plantext.as_json(plan), "to": target.revision, "to_sync": target.id}, report)
    return Refused.exit_code if plan.refusals else 0


def _carry_out(wish: Rollback, report: Report) -> int:
    from reconciler.cli.applied import exit_code, show_pass

    async def act(link: Link, stores: Stores) -> Pass:
        from reconciler.scheduler import SchedulerService
        from reconciler.sync.rollback import rollback

        redis = redis_of(stores)
        try:
            return await rollback(link, SchedulerService(redis), wish)
        finally:
            await redis.close()

    from dataclasses import replace

    outcome = with_stores(act)
    # Pinned is what was asked for, and nothing that holds this back.
    show_pass(replace(outcome, pin=None), report, wish.options.source)
    if outcome.sync_id is not None and outcome.pin:
        note(f"source '{wish.options.source}' is {outcome.pin.text}")
        note(f"until a newer commit comes, or: {of_source('reconciler rollback --release', wish.options.source)}")
    return exit_code(outcome)


COMMANDS = {"rollback": rollback}
