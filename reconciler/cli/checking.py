"""Against what are tasks and parameters checked: the code here, a catalogue in a file, or what runners published?

In this order; and where there is none of them, the runner decides. It says which it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
FLAG, CHOSEN, LOCAL, OFFLINE = (f"{__name__}.{what}" for what in ("flag", "chosen", "local", "offline"))
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Checking:
    """What checks, as `SpecReader` takes it; `said` is what it was, None where there is nothing to say of it.

    `left` are the tasks that nothing here knows: filled as specs are read.
    """

    check: Any
    said: str | None = None
    left: set[str] = field(default_factory=set)
    trouble: str = ""
    is_local: bool = False

    def words(self) -> str | None:
        """`checked against tasks.json, 14 tasks`; where specs name what nothing here knows, a warning."""
        if not self.left:
            return self.said
        some = sorted(self.left)
        more = f" and {len(some) - MOST_NAMED} more" if len(some) > MOST_NAMED else ""
        return (
            f"reconciler: warning: no task modules here and no catalogue{self.trouble}, so these are not checked and "
            f"the runner decides: {', '.join(some[:MOST_NAMED])}{more}: see reconciler schema --catalogue"
        )


def catalogue_option(function: F) -> F:
    """`--catalogue FILE`, which whoever reads specs then goes by where no task module is here."""

    def keep(ctx: click.Context, option: click.Parameter, value: Path | None) -> None:
        if value is not None:
            ctx.meta[FLAG] = value

    return click.option(
        "--catalogue",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=keep,
        help="Where no task module is here, check tasks and parameters by what schema --catalogue wrote.",
    )(function)


def chosen(settings: Settings) -> Checking:
    """What specs are checked against; the task modules are imported already. ReconcilerError for a bad catalogue."""
    context = click.get_current_context()
    if CHOSEN not in context.meta:
        context.meta[CHOSEN] = _choose(settings, context.meta.get(FLAG))
        context.call_on_close(lambda: _tell(context))  # by then it is known what was left, too
    found: Checking = context.meta[CHOSEN]
    return found


def stay_offline() -> None:
    """Do not ask the database what runners published: nothing is opened but files."""
    click.get_current_context().meta[OFFLINE] = True


def tell_also_of_code() -> None:
    """Let the answer say by what specs were checked where that is the code here, too."""
    click.get_current_context().meta[LOCAL] = True


def _tell(context: click.Context) -> None:
    from reconciler.cli.output import note

    found: Checking = context.meta[CHOSEN]
    text = found.words()
    if text and (context.meta.get(LOCAL) or not found.is_local):
        note(text)


def _choose(settings: Settings, flag: Path | None) -> Checking:
    from reconciler.registry import TASKS
    from reconciler.registry.discover import has_modules
    from reconciler.specfiles import check_against

    if has_modules(settings.task_modules, settings.directory):
        unused = f"; {flag} is for where they are absent" if flag else ""
        local = check_against(TASKS) if TASKS else None
        return Checking(local, f"checked against the task modules, {_count(TASKS)}{unused}", is_local=True)
    from reconciler.registry.catalogue import catalogue_of, check_of
    from reconciler.specfiles.cataloguefile import read_catalogue

    file = flag or (settings.directory / settings.catalogue if settings.catalogue else None)
    if file is not None:
        tasks = read_catalogue(file, str(flag or settings.catalogue))
        return Checking(check_of(tasks), f"checked against {flag or settings.catalogue}, {_count(tasks)}")
    tasks, trouble = ({}, "") if click.get_current_context().meta.get(OFFLINE) else published(settings)
    if tasks:
        return Checking(check_of(tasks), f"checked against what the runners published, {_count(tasks)}")
    partial = check_of(catalogue_of(TASKS), is_partial=True)
    return Checking(partial, None, partial.left, trouble)


def published(settings: Settings) -> tuple[dict[str, Any], str]:
    """What the runners say in a database of one's own, and why that could not be read."""
    if settings.database_url is None:
        return {}, ""
    import asyncio

    try:
        return asyncio.run(_published(settings.database_url.get_secret_value())), ""
    except ReconcilerError as error:
        why = " ".join(str(error).split())
        return {}, f" (what the runners published cannot be read: {why})"


async def _published(url: str) -> dict[str, Any]:
    from reconciler.db import runners, schema
    from reconciler.db.link import Link

    link = Link(url)
    try:
        await schema.require_current(link)
        return await runners.catalogue(link)
    finally:
        await link.close()


def _count(tasks: Mapping[str, Any]) -> str:
    return f"{len(tasks)} task{'' if len(tasks) == 1 else 's'}"
