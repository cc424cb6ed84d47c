"""`plan` and `diff`: what apply would change, shown and not done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click

from reconciler.cli.command import command
from reconciler.cli.previewed import Preview, against_state, from_stores
from reconciler.cli.wish import Reading, Wish, options, reading
from reconciler.errors import Refused, UsageError

Report = Literal["text", "json", "yaml", "markdown", "github"]

report_option = click.option(
    "-o",
    "--format",
    "report",
    type=click.Choice(["text", "json", "yaml", "markdown", "github"]),
    default="text",
    help="How to print it.",
)
against_option = click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Compare with what `export --state` wrote, not with a store.",
)


@command("plan", example="reconciler plan --detailed-exitcode")
@options
@report_option
@against_option
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it for `apply FILE`."
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 0 for no changes, 1 on error, 2 for changes.")
def plan(report: Report, against: Path | None, out: Path | None, detailed_exitcode: bool, **wish: Any) -> int:
    """Show what apply would change, and change nothing."""
    _stay_offline(against)
    if out and against:
        raise UsageError("--out: a plan against a file may be of any age, so apply would not take it: leave out one")
    with reading(Wish(**wish), "plan") as read:
        found = _preview(read, against, report)
        if found is None:
            return 1
        _show(found, read, report)
        if out and not _write(found, read, out):
            return Refused.exit_code
    if read.specs.faults:
        return 1
    return 2 if detailed_exitcode and differs(found) else 0


@command("diff", example="reconciler diff specs || echo drifted")
@options
@report_option
@against_option
def diff(report: Report, against: Path | None, **wish: Any) -> int:
    """The plan, with exit codes as diff has them: 0 same, 1 differs, 2 error."""
    _stay_offline(against)
    with _errors_exit_with(2), reading(Wish(**wish), "diff") as read:
        found = _preview(read, against, report)
        if found is None:
            return 2
        _show(found, read, report)
        return 2 if read.specs.faults else int(differs(found))


def _stay_offline(against: Path | None) -> None:
    if against:
        from reconciler.cli.checking import stay_offline

        stay_offline()


def _show(found: Preview, read: Reading, report: Report) -> None:
    from reconciler.cli.planned import show

    show(found.plan, found.impact, report, now=found.now, paused=found.paused, specs=read.specs)


def _preview(read: Reading, against: Path | None, report: Report) -> Preview | None:
    from reconciler.cli.planned import show_faults

    if read.is_refused:
        show_faults(read.specs, report)
        return None
    return against_state(read, against) if against else from_stores(read)


def _write(found: Preview, read: Reading, out: Path) -> bool:
    from reconciler.cli.planfile import write

    return write(found, read, out)


def differs(found: Preview) -> bool:
    """Whether apply would find anything to do, or refuse it."""
    return found.plan.has_changes or bool(found.plan.refusals)


@contextmanager
def _errors_exit_with(code: int) -> Iterator[None]:
    try:
        yield
    except (UsageError, click.ClickException):
        raise
    except Exception as error:
        error.exit_code = code  # type: ignore[attr-defined]
        raise


COMMANDS = {"plan": plan, "diff": diff}
