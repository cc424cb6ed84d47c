"""`db`: the database as such: its schema, its address, a shell on it."""

from __future__ import annotations

import asyncio
import os
import subprocess

import click

from reconciler.cli.command import command, given
from reconciler.cli.output import Format, document, line, note, output_option
from reconciler.errors import ReconcilerError

CONNECT_TIMEOUT = 5.0


class Database(click.Group):
    """The commands below `db`; an unknown one is answered with the nearest."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from reconciler.cli.command import hint

        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no command named 'db {args[0]}'{hint(args[0], self.commands)}", ctx)
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            formatter.write_text("reconciler db upgrade")


@click.group("db", cls=Database, context_settings={"help_option_names": ["-h", "--help"]})
def db() -> None:
    """The database: upgrade, downgrade, current, url, shell.

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
def downgrade(revision: str) -> int:
    """Take the schema back to REVISION; `base` drops every table, with all history."""
    _migrate("downgrade", revision)
    return 0


@command("current", example="reconciler db current")
@output_option
def current(output: Format) -> int:
    """Which revision the schema has, and which one this version wants."""
    from reconciler.db import schema
    from reconciler.embedded import open_stores

    with open_stores(given().settings) as stores:
        found = asyncio.run(_revision(stores.database_url))
    wanted = schema.head_revision()
    answer = {"current": found, "head": wanted, "is_current": found == wanted}
    if output != "table":
        document(answer, output)
        return 0
    hint = "" if found == wanted else f"; this version wants {wanted}: reconciler db upgrade"
    line(f"{found or 'no tables yet'}{hint or ' (current)'}")
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

    from reconciler.embedded import open_stores

    with open_stores(given().settings) as stores:
        places = [str(stores.bin_path)] if stores.bin_path else []
        psql = shutil.which("psql", path=os.pathsep.join([*places, os.environ.get("PATH", "")]))
        if psql is None:
            raise ReconcilerError("db shell: psql: not found: install the PostgreSQL client")
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


def _migrate(direction: str, revision: str) -> None:
    from reconciler.db import schema
    from reconciler.embedded import open_stores

    with open_stores(given().settings) as stores:
        before = asyncio.run(_revision(stores.database_url))
        getattr(schema, direction)(stores.database_url, revision)
        after = asyncio.run(_revision(stores.database_url))
    if before == after:
        note(f"nothing to do: the database is at {after or 'base'}")
    else:
        note(f"the database is at {after or 'base'}, from {before or 'base'}")


async def _revision(address: str) -> str | None:
    from reconciler.db import schema
    from reconciler.db.link import Link

    link = Link(address)
    try:
        return await schema.current_revision(link)
    finally:
        await link.close()


for each in (upgrade, downgrade, current, url, shell):
    db.add_command(each)
COMMANDS = {"db": db}
