"""`apply`: what the specs say, or what a saved plan says, made so in both stores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.applied import Report, exit_code, retold, show_pass
from reconciler.cli.command import command, given
from reconciler.cli.stores import redis_of, with_stores
from reconciler.cli.wish import Reading, Wish, options, reading
from reconciler.errors import Refused

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.embedded import Stores
    from reconciler.sync.reconcile import Pass

report_option = click.option(
    "-o", "--format", "report", type=click.Choice(["text", "json", "yaml"]), default="text", help="How to print it."
)


@command("apply", example="reconciler apply specs --prune --max-prune 5")
@options
@report_option
@click.option("--dry-run", is_flag=True, help="Show what it would do, refusals too, and do nothing.")
def apply(report: Report, dry_run: bool, path: Path | None, **wish: Any) -> int:
    """Make PostgreSQL and Redis say what the specs say.

    PATH may be a file that `plan --out` wrote: then exactly that is applied, or nothing, where what it touches has
    moved since. With a fault in any spec nothing is applied. Exit code 3 when a guard refused something: what could
    be applied was applied, and the refusal says what to type if it was meant.
    """
    wanted = Wish(path=path, **wish)
    if path is not None:
        from reconciler.cli import planfile

        if planfile.is_plan(path):
            return planfile.apply(path, wanted, report, dry_run=dry_run)
    return carry_out(wanted, "apply", report, dry_run=dry_run)


def carry_out(wanted: Wish, verb: str, report: Report, *, dry_run: bool, again: str | None = None) -> int:
    """Read, compare, guard, apply and show it, as `verb`; the exit code.

    `again`: the command that a refusal names, where `apply` would not know the source.
    """
    with reading(wanted, verb) as read:
        if read.is_refused and (dry_run or not _keeps_failures(verb)):
            return 1
        if dry_run:
            return _show(read, report, again)
        outcome = _applied(read)
        if again and outcome.plan:
            outcome = replace(outcome, plan=retold(outcome.plan, again, read.options.source))
        show_pass(outcome, report, read.options.source)
        return exit_code(outcome)


def _keeps_failures(verb: str) -> bool:
    # Whoever waits for this commit hears of it then. Stores of this directory alone are not started for that.
    return verb == "sync" or given().settings.database_url is not None


def _show(read: Reading, report: Report, again: str | None) -> int:
    from reconciler.cli.planned import show
    from reconciler.cli.previewed import from_stores

    found = from_stores(read)
    plan = retold(found.plan, again, read.options.source) if again else found.plan
    show(plan, found.impact, report, now=found.now, paused=found.paused, specs=read.specs)
    if plan.refusals:
        return Refused.exit_code
    return 1 if read.specs.faults else 0


def _applied(read: Reading) -> Pass:
    from reconciler.spec.by_digest import remember

    for one in read.specs.specs:
        if one.is_parsed:
            remember(one.digest, one.spec)  # so that aligning Redis need not read them back

    async def act(link: Link, stores: Stores) -> Pass:
        from reconciler.cli.ticking import ticking
        from reconciler.scheduler import SchedulerService
        from reconciler.sync.reconcile import reconcile

        redis = redis_of(stores)
        redis.modes = {**redis.modes, read.options.source: read.options.drift}
        try:
            async with ticking("applying"):
                return await reconcile(read.specs, link, SchedulerService(redis), read.request(believing=True))
        finally:
            await redis.close()

    return with_stores(act)


COMMANDS = {"apply": apply}
