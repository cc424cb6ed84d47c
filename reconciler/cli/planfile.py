"""A saved plan on this disk: written by `plan --out`, recognised and carried out by `apply FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.arguments import actor
from reconciler.cli.command import given
from reconciler.cli.output import note
from reconciler.cli.stores import redis_of, with_stores
from reconciler.errors import Refused, UsageError

if TYPE_CHECKING:
    from reconciler.cli.applied import Report
    from reconciler.cli.previewed import Preview
    from reconciler.cli.wish import Reading, Wish
    from reconciler.db.link import Link
    from reconciler.embedded import Stores
    from reconciler.plan.saved import SavedPlan
    from reconciler.spec.specset import LocatedSpec
    from reconciler.sync.reconcile import Pass, Request

HEAD = 4096


def is_plan(path: Path) -> bool:
    """Whether this is no spec file: specs are .yaml and .yml, and a plan called so still says what it is."""
    if not path.is_file():
        return False
    if path.suffix.lower() not in (".yaml", ".yml"):
        return True
    with path.open("rb") as file:
        return b'"kind":"reconciler.plan"' in file.read(HEAD).replace(b" ", b"")


def write(found: Preview, read: Reading, out: Path) -> bool:
    """Save the plan for `apply FILE`; False, and no file, where nothing of it may be applied."""
    from pydantic_core import to_json

    from reconciler.cli.newfile import replaced

    if found.plan.withheld or found.plan.pin:
        note(f"reconciler: {out} is not written: nothing of this plan may be applied")
        return False
    saved = _saved(found, read)
    with replaced(out) as file:
        file.write(to_json(saved, indent=1) + b"\n")
    note(f"reconciler: plan written to {out}: reconciler apply {out}")
    return True


def _saved(found: Preview, read: Reading) -> SavedPlan:
    from reconciler.plan.saved import SavedOptions, SavedPlan, SavedRefusal, saved_changes

    plan, options, revision = found.plan, read.options, read.revision
    written = {change.name for change in plan.changes if change.verb != "delete"}
    documents = {one.name: one.spec.document() for one in read.specs.specs if one.name in written}
    return SavedPlan(
        source=options.source,
        environment=read.environment,
        revision=revision.label,
        author=revision.author,
        subject=revision.subject,
        last_revision=found.last_revision,
        made_at=found.now,
        made_by=actor(),
        options=SavedOptions(adopt=options.adopt, allow_rewind=options.allow_rewind, reason=options.reason),
        has_changes=plan.has_changes,
        changes=saved_changes(plan, documents, found.before),
        refusals=tuple(SavedRefusal(what=one.what, text=one.text, names=one.names) for one in plan.refusals),
    )


def apply(path: Path, wish: Wish, report: Report, *, dry_run: bool) -> int:
    """Carry it out, and show what came of it as `apply` does; the exit code."""
    from reconciler.cli.applied import exit_code, show_pass
    from reconciler.plan.saved import read_plan, written

    _refuse_more(wish, path)
    saved = read_plan(path.read_bytes(), str(path))
    specs = written(saved, str(path))
    request = _request(saved, wish, path)
    if dry_run:
        return _preview(saved, specs, request, report)
    outcome = _applied(saved, specs, request)
    show_pass(outcome, report, saved.source)
    return exit_code(outcome)


def _refuse_more(wish: Wish, path: Path) -> None:
    """What stands in the plan cannot be said otherwise here."""
    given_too = {
        "--prune/--no-prune": wish.prune is not None,
        "--max-prune": wish.max_prune is not None,
        "--allow-empty": wish.allow_empty,
        "--adopt": wish.adopt,
        "--on-fault": wish.on_fault is not None,
        "--drift": wish.drift is not None,
        "--environment": wish.environment is not None,
    }
    for option, is_given in given_too.items():
        if is_given:
            raise UsageError(f"{option}: {path} is a saved plan, and says so itself: give it to reconciler plan --out")
    if wish.allow_rewind and not (wish.reason or "").strip():
        raise UsageError("--allow-rewind: say why: --allow-rewind --reason 'the commit was amended'")


def _request(saved: SavedPlan, wish: Wish, path: Path) -> Request:
    from dataclasses import replace

    from reconciler.errors import ReconcilerError
    from reconciler.gitrepo import Revision, origin_of
    from reconciler.plan.saved import options_for
    from reconciler.sync.reconcile import Request

    settings = given().settings
    if wish.source is not None and wish.source != saved.source:
        raise UsageError(f"--source: {path} is a plan for source '{saved.source}', not for '{wish.source}'")
    source = next((one for one in settings.sources if one.name == saved.source), None)
    if source is None:
        known = ", ".join(one.name for one in settings.sources)
        raise ReconcilerError(f"{path}: is a plan for source '{saved.source}': configured here: {known}")
    commit = saved.revision.removesuffix("-dirty") if saved.revision else None
    revision = Revision(commit, commit != saved.revision, saved.author, saved.subject, "the plan names none")
    reason = wish.reason or saved.options.reason
    options = replace(options_for(saved), drift=source.drift, allow_rewind=wish.allow_rewind, reason=reason)
    return Request(options, actor(), revision, origin_of(source, settings.directory), believing=True)


def _preview(saved: SavedPlan, specs: list[LocatedSpec], request: Request, report: Report) -> int:
    from reconciler.cli.output import document, line
    from reconciler.plan import text as plantext

    async def act(link: Link, stores: Stores) -> int:
        from reconciler.sync.saved import preview_saved

        plan = await preview_saved(saved, specs, link, request)
        if report == "text":
            line(plantext.as_text(plan))
        else:
            document(plantext.as_json(plan), report)
        return Refused.exit_code if plan.refusals else 0

    return with_stores(act)


def _applied(saved: SavedPlan, specs: list[LocatedSpec], request: Request) -> Pass:
    async def act(link: Link, stores: Stores) -> Pass:
        from reconciler.cli.ticking import ticking
        from reconciler.scheduler import SchedulerService
        from reconciler.sync.saved import apply_saved

        redis = redis_of(stores)
        try:
            async with ticking("applying"):
                return await apply_saved(saved, specs, link, SchedulerService(redis), request)
        finally:
            await redis.close()

    return with_stores(act)
