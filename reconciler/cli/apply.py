"""`plan`, `diff`, `apply`: one comparison of the specs with the database, shown or carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from reconciler.cli.arguments import actor
from reconciler.cli.command import command, given
from reconciler.cli.output import document, line, note
from reconciler.cli.specs import choose_source, discover, read
from reconciler.cli.stores import redis_of, with_stores
from reconciler.errors import Refused, UsageError

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.overrides import Override
    from reconciler.embedded import Stores
    from reconciler.plan import Plan
    from reconciler.plan.guards import Options
    from reconciler.spec.specset import SpecSet
    from reconciler.sync.reconcile import Pass

Report = Literal["text", "json", "yaml"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Wish:
    """What stands on the command line of these three."""

    path: Path | None
    environment: str | None
    source: str | None
    prune: bool | None
    max_prune: str | None
    allow_empty: bool
    adopt: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan, and which pause holds the names that it creates or changes, at `now` of the database's clock."""

    plan: Plan
    paused: Mapping[str, Override]
    now: datetime


def options(function: F) -> F:
    """The options that plan, diff and apply share."""
    for option in reversed(
        (
            click.argument("path", required=False, type=click.Path(exists=True, path_type=Path)),
            click.option("--environment", metavar="NAME", help="Read the specs as they are in that environment."),
            click.option("--source", metavar="NAME", help="The configured source that the specs belong to."),
            click.option(
                "--prune/--no-prune",
                default=None,
                help="Delete what the specs no longer name; by default only when PATH is the source's own.",
            ),
            click.option("--max-prune", metavar="N|N%", help="How many may be deleted at once."),
            click.option("--allow-empty", is_flag=True, help="Deleting everything is meant."),
            click.option("--adopt", is_flag=True, help="Take over names that another source owns."),
            click.option(
                "-o",
                "--format",
                "report",
                type=click.Choice(["text", "json", "yaml"]),
                default="text",
                help="How to print it.",
            ),
        )
    ):
        function = option(function)
    return function


@command("plan", example="reconciler plan --detailed-exitcode")
@options
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 0 for no changes, 1 on error, 2 for changes.")
def plan(report: Report, detailed_exitcode: bool, **wish: Any) -> int:
    """Show what apply would change, and change nothing."""
    found = _preview(Wish(**wish), "plan")
    if found is None:
        return 1
    _show_plan(found, report)
    return 2 if detailed_exitcode and _differs(found.plan) else 0


@command("diff", example="reconciler diff specs || echo drifted")
@options
def diff(report: Report, **wish: Any) -> int:
    """The plan, with exit codes as diff has them: 0 same, 1 differs, 2 error."""
    with _errors_exit_with(2):
        found = _preview(Wish(**wish), "diff")
        if found is None:
            return 2
        _show_plan(found, report)
        return int(_differs(found.plan))


@command("apply", example="reconciler apply specs --prune --max-prune 5")
@options
@click.option("--dry-run", is_flag=True, help="Show what it would do, refusals too, and do nothing.")
def apply(report: Report, dry_run: bool, **wish: Any) -> int:
    """Make PostgreSQL and Redis say what the specs say.

    With a fault in any spec nothing is applied. Exit code 3 when a guard refused something: what could be applied was
    applied, and the refusal says what to type if it was meant.
    """
    wanted = Wish(**wish)
    if dry_run:
        found = _preview(wanted, "apply")
        if found is None:
            return 1
        _show_plan(found, report)
        return Refused.exit_code if found.plan.refusals else 0
    specs, settled = _read(wanted, "apply")
    if specs is None:
        return 1
    outcome = _apply(specs, settled, wanted)
    _show_pass(outcome, report)
    return _code(outcome)


def _read(wish: Wish, verb: str) -> tuple[SpecSet | None, Options]:
    """The specs, None when they have faults, which are on stderr by then; and what the guards let through."""
    from reconciler.plan.guards import Options

    settings = given().settings
    source, root, is_own = choose_source(settings, wish.source, wish.path)
    prune = wish.prune if wish.prune is not None else is_own and source.prune
    if wish.prune is None and not is_own:
        note(
            f"reconciler: note: {root} is not the path of source '{source.name}': nothing is deleted; --prune if meant"
        )
    for fault in discover(settings):
        note(f"reconciler: {fault}")
    specs = read(root, wish.environment or settings.environment)
    for text in (*specs.faults, *(f"{warning} (warning)" for warning in specs.warnings)):
        note(str(text))
    settled = Options(
        source=source.name,
        prune=prune,
        max_prune=wish.max_prune or source.max_prune,
        adopt=wish.adopt,
        allow_empty=wish.allow_empty,
    )
    if specs.faults:
        many = f"{len(specs.faults)} fault{'' if len(specs.faults) == 1 else 's'}"
        upshot = "nothing was applied" if verb == "apply" else "no plan is made"
        note(f"reconciler: {verb}: {many} in the specs: {upshot}")
        return None, settled
    return specs, settled


def _preview(wish: Wish, verb: str) -> Preview | None:
    specs, settled = _read(wish, verb)
    if specs is None:
        return None

    async def act(link: Link, stores: Stores) -> Preview:
        from reconciler.cli.asking import clock
        from reconciler.cli.planned import paused
        from reconciler.db import overrides
        from reconciler.sync.reconcile import preview

        found = await preview(specs, link, settled)
        now = await clock(link)
        return Preview(found, paused(found, specs, await overrides.active(link)), now)

    return with_stores(act)


def _apply(specs: SpecSet, settled: Options, wish: Wish) -> Pass:
    from reconciler.gitrepo import revision_of
    from reconciler.spec.by_digest import remember

    for one in specs.specs:
        if one.is_parsed:
            remember(one.digest, one.spec)  # so that aligning Redis need not read them back
    _, root, _ = choose_source(given().settings, wish.source, wish.path)
    revision = revision_of(root)

    async def act(link: Link, stores: Stores) -> Pass:
        from reconciler.scheduler import SchedulerService
        from reconciler.sync.reconcile import Request, reconcile

        redis = redis_of(stores)
        try:
            request = Request(settled, actor(), revision, believing=True)
            return await reconcile(specs, link, SchedulerService(redis), request)
        finally:
            await redis.close()

    return with_stores(act)


def _show_plan(found: Preview, report: Report) -> None:
    from reconciler.cli.planned import as_json, words
    from reconciler.plan import text as plantext

    if report != "text":
        document({**plantext.as_json(found.plan), "paused": as_json(found.paused)}, report)
    else:
        line(plantext.as_text(found.plan, words(found.paused, found.now)))


def _show_pass(outcome: Pass, report: Report) -> None:
    from reconciler.plan import text as plantext

    plan = outcome.plan
    if plan is None:
        return
    if report != "text":
        extra = {"sync_id": outcome.sync_id, "aligned": outcome.aligned, "trouble": outcome.trouble}
        document({**plantext.as_json(plan), **extra}, report)
    else:
        line("\n".join([*plantext.change_lines(plan), _summary(outcome, plan)]))
    for refusal in plan.refusals:
        note("reconciler: " + "\n".join(plantext.refusal_lines(refusal)))
    if outcome.trouble:
        note(f"reconciler: applied, but not yet in force: {outcome.trouble}")


def _summary(outcome: Pass, plan: Plan) -> str:
    """`applied: 2 created, 1 updated; 97 unchanged`."""
    from reconciler.plan.text import nothing

    past = {"create": "created", "adopt": "adopted", "update": "updated", "delete": "deleted"}
    done = ", ".join(f"{count:,} {past[verb]}" for verb, count in plan.counts().items() if count)
    healed = f"; {outcome.aligned:,} put right in Redis" if outcome.aligned and not plan.changes else ""
    return f"{'applied: ' + done if done else nothing(plan)}; {plan.unchanged:,} unchanged{healed}"


def _code(outcome: Pass) -> int:
    if outcome.trouble or outcome.plan is None:
        return 1
    return Refused.exit_code if outcome.plan.refusals else 0


def _differs(plan: Plan) -> bool:
    return plan.has_changes or bool(plan.refusals)


@contextmanager
def _errors_exit_with(code: int) -> Iterator[None]:
    try:
        yield
    except (UsageError, click.ClickException):
        raise
    except Exception as error:
        error.exit_code = code  # type: ignore[attr-defined]
        raise


COMMANDS = {"plan": plan, "diff": diff, "apply": apply}
