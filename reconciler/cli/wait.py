"""`wait`: until a commit is in force, or is known not to get there."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.arguments import Length
from reconciler.cli.command import command, given
from reconciler.cli.output import line, note
from reconciler.cli.specs import choose_source
from reconciler.cli.stores import with_link
from reconciler.errors import ReconcilerError, UsageError

if TYPE_CHECKING:
    from reconciler.db.link import Link


@command("wait", example="reconciler wait --revision $GITHUB_SHA --timeout 5m")
@click.option("--revision", required=True, metavar="SHA", help="The commit, its first seven digits, or HEAD.")
@click.option("--source", metavar="NAME", help="The configured source that it belongs to.")
@click.option(
    "--timeout", type=Length(), default=timedelta(minutes=5), metavar="TIME", help="For so long.  [default: 5m]"
)
def wait(revision: str, source: str | None, timeout: timedelta) -> int:
    """Wait until a commit is applied.

    One that descends from it will do, too. Exit code 0: it is in force. 1: not in time, or the attempt at it failed,
    whose error is shown. 3: a guard refused it.
    """
    commit = _commit(revision)
    settings = given().settings
    chosen, _, _ = choose_source(settings, source, None)

    async def until(link: Link) -> tuple[int, str]:
        from reconciler.cli.arrival import arrival
        from reconciler.gitrepo import origin_of

        # The checkout that a pipeline works in knows the history, whatever kind of source it is.
        origin = origin_of(chosen, settings.directory, Path.cwd())
        return await arrival(link, origin, chosen.name, commit, timeout)

    code, text = with_link(until)
    (line if code == 0 else note)(text)
    return code


def _commit(revision: str) -> str:
    """Its digits; of `HEAD` those of the commit that is checked out in this directory."""
    if revision == "HEAD":
        from reconciler.gitrepo import revision_of

        here = revision_of(Path.cwd())
        if here.commit is None:
            raise ReconcilerError(f"wait: --revision: HEAD is no commit here: {here.reason}")
        return here.commit
    if not re.fullmatch(r"[0-9a-f]{7,64}", revision.lower()):
        raise UsageError(f"wait: --revision: '{revision}' is no commit: give its digits, at least seven, or HEAD")
    return revision.lower()


COMMANDS = {"wait": wait}
