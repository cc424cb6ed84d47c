"""`db`: the database as such: its schema, its address, a shell on it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING

import click

from reconciler.cli.command import command, given, group
from reconciler.cli.output import Format, document, line, note, output_option
from reconciler.errors import ReconcilerError, Refused

if TYPE_CHECKING:
    from reconciler.db.link import Link

CONNECT_TIMEOUT = 5.0


@group("db", example="reconciler db upgrade")
def db() -> None:
    """The database: upgrade, downgrade, current, prune, url, shell.

    The embedded one, or your own server's when `database_url` is set.
    """


@command("upgrade", example="reconciler db upgrade")
@click.argument("revision", default="head")
def upgrade(revision: str) -> int:
    """Bring the schema up to this version, or to REVISION."""
    _migrate("upgrade", revision)
    return 0


@command("downgrade", example="reconciler db downgrade base")
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Losing what the dropped tables hold is meant.")
def downgrade(revision: str, yes: bool) -> int:
    """Take the schema back to REVISION; `base` drops every table, with all history.

    Exit code 3 while there is something to lose, unless you say --yes.
    """
    _migrate("downgrade", revision, may_lose=yes)
    return 0


@command("current", example="reconciler db current")
@output_option
def current(output: Format) -> int:
    """Which revision the schema has, and which one this version wants.

    Exit code 0 whatever it is: `-o json` has `is_current`.
    """
    from reconciler.db import schema
    from reconciler.embedded import open_stores

    with open_stores(given().settings) as stores:
        found = asyncio.run(_revision(stores.database_url))
    wanted = schema.head_revision()
    answer = {"current": found, "head": wanted, "is_current": found == wanted}
    if output != "table":
        document(answer, output)
        return 0
    line(schema.difference_of(found) or f"{found} (current)")
    return 0


@command("prune", example="reconciler db prune --dry-run")
@click.option("--dry-run", is_flag=True, help="Only count what would go.")
@output_option
def prune(dry_run: bool, output: Format) -> int:
    """Remove history past its time, as every service does by itself.

    How long it is kept is in the specs (`history`) and in the settings (`history.keep`).
    """
    from dataclasses import asdict

    from reconciler.cli.stores import with_link
    from reconciler.db.retention import prune_now

    history = given().settings.history
    gone = with_link(lambda link: prune_now(link, history.keep, is_trial=dry_run))
    if output != "table":
        document({"is_dry_run": dry_run, "pruned": asdict(gone)}, output)
        return 0
    line(f"{'would prune' if dry_run else 'pruned'} {gone}")
    return 0


@command("url", example='psql "$(reconciler db url --reveal)"')
@click.option("--reveal", is_flag=True, help="Show the password too.")
def url(reveal: bool) -> int:
    """The database's address, its password hidden."""
    from reconciler.embedded import open_stores
    from reconciler.settings import redacted

    with open_stores(given().settings) as stores:
        line(stores.database_url if reveal else redacted(stores.database_url))
    return 0


@command("shell", example="reconciler db shell -- -c 'select name, is_success from task_executions limit 5'")
@click.argument("arguments", nargs=-1, metavar="[-- PSQL OPTIONS]...")
def shell(arguments: tuple[str, ...]) -> int:
    """A psql on the database; what stands after `--` goes to psql."""
    import shutil

    from reconciler.db import schema
    from reconciler.embedded import open_stores

    with open_stores(given().settings) as stores:
        places = [str(stores.bin_path)] if stores.bin_path else []
        psql = shutil.which("psql", path=os.pathsep.join([*places, os.environ.get("PATH", "")]))
        if psql is None:
            raise ReconcilerError("db shell: psql: not found: install the PostgreSQL client")
        asyncio.run(schema.reach(stores.database_url))
        arguments_, environment = _connection(stores.database_url)
        return _in_terminal([psql, *arguments_, *arguments], {**os.environ, **environment})


def _connection(address: str) -> tuple[list[str], dict[str, str]]:
    """The address for psql, its password in the environment: others on this host can read a command line."""
    from reconciler.db.address import connection_options

    parts = connection_options(address, CONNECT_TIMEOUT).arguments
    password = parts.pop("password", None)
    quoted = {key: str(value).replace("\\", "\\\\").replace("'", "\\'") for key, value in parts.items()}
    words = " ".join(f"{key}='{value}'" for key, value in quoted.items())
    return [words], {"PGPASSWORD": str(password)} if password else {}


def _in_terminal(words: list[str], environment: dict[str, str]) -> int:
    """Run it as the foreground of this terminal: Ctrl-C is for it, not for us."""
    import signal

    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = subprocess.Popen(words, env=environment, preexec_fn=lambda: signal.signal(signal.SIGINT, kept))
        return child.wait()
    finally:
        signal.signal(signal.SIGINT, kept)


def _migrate(direction: str, revision: str, *, may_lose: bool = True) -> None:
    from reconciler.db import schema
    from reconciler.embedded import open_stores

    with open_stores(given().settings) as stores:
        before = asyncio.run(_revision(stores.database_url))
        if before is not None and before != revision and not may_lose:
            asyncio.run(_refuse_loss(stores.database_url, revision))
        getattr(schema, direction)(stores.database_url, revision)
        after = asyncio.run(_revision(stores.database_url))
    if before == after:
        note(f"nothing to do: the database is at {after or 'base'}")
    else:
        note(f"the database is at {after or 'base'}, from {before or 'base'}")


# Tables that hold what nothing brings back, and what their rows are called.
LOSSES = {"task_executions": "result", "task_overrides": "pause", "task_configs": "task", "task_claims": "waiting run"}


async def _refuse_loss(address: str, revision: str) -> None:
    """Refused when a table of ours has a row, naming what would go and the runners that still work with it."""
    from reconciler.cli.runners import live
    from reconciler.db.link import Link

    link = Link(address)
    try:
        found = [text for table, word in LOSSES.items() if (text := await _counted(link, table, word))]
        runners = await live(link) if await _exists(link, "runners") else []
    finally:
        await link.close()
    if not found and not runners:
        return
    named = ", ".join(row.place for row in runners)
    first = f"stop the runners first ({named}), then" if named else "if that is meant:"
    what = f"would lose {', '.join(found)}" if found else "would take the tables from under the runners"
    raise Refused(f"db downgrade: refused: {what}: {first} reconciler db downgrade {revision} --yes")


async def _counted(link: Link, table: str, word: str) -> str:
    if not await _exists(link, table):
        return ""
    ((number,),) = await link.run(f"select count(*) from {table}")
    return f"{number:,} {word}{'' if number == 1 else 's'}" if number else ""


async def _exists(link: Link, table: str) -> bool:
    return bool((await link.run("select to_regclass(%s::text) is not null", (table,)))[0][0])


async def _revision(address: str) -> str | None:
    from reconciler.db import schema
    from reconciler.db.link import Link

    link = Link(address)
    try:
        return await schema.current_revision(link)
    finally:
        await link.close()


for each in (upgrade, downgrade, current, prune, url, shell):
    db.add_command(each)
COMMANDS = {"db": db}
