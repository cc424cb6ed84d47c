"""Is the database at the revision that this program needs, and if not, what brings it there?

To look needs neither Alembic nor SQLAlchemy: both are imported where something is migrated, and only there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

import reconciler
from reconciler.db.address import connection_options, reason
from reconciler.db.link import Link
from reconciler.errors import ReconcilerError, StoreUnavailable
from reconciler.urls import redacted

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

MIGRATION_LOCK = 0x5EC0_0001_5C4E_3A00
CONNECT_TIMEOUT = 3.0
REACHED_WITHIN = 4.0


@cache
def migrations_directory() -> Path:
    """Where the migrations are: inside the package of a wheel, beside it in a clone."""
    package = Path(reconciler.__file__).parent
    for directory in (package / "migrations", package.parent / "migrations"):
        if (directory / "env.py").is_file():
            return directory
    raise ReconcilerError(f"migrations: none in {package}: install reconciler again")


@cache
def revisions() -> tuple[str, ...]:
    """Every revision that this program knows, oldest first. They are numbered, so the files' names say it."""
    names = (path.name for path in (migrations_directory() / "versions").glob("*.py"))
    return tuple(sorted(found.group(1) for name in names if (found := re.match(r"(\d{4})_", name))))


def head_revision() -> str:
    """The revision that this program needs."""
    return revisions()[-1]


async def current_revision(link: Link) -> str | None:
    """The revision that the database is at; None when it was never migrated, or back to nothing."""
    try:
        rows = await link.run("select version_num from alembic_version order by version_num desc limit 1")
    except psycopg.errors.UndefinedTable:
        return None
    return str(rows[0][0]) if rows else None


async def require_current(link: Link) -> None:
    """Nothing when program and database fit; else ReconcilerError with the command that makes them fit."""
    if difference := difference_of(await current_revision(link)):
        raise ReconcilerError(f"postgresql: {link.place}: {difference}")


def difference_of(current: str | None) -> str | None:
    """How a database at `current` differs from what this program needs, and what mends it; None where it fits."""
    head = head_revision()
    if current == head:
        return None
    if current is None:
        what = "the database is empty"
    elif current in revisions():
        what = f"the database is at revision {current} and this version needs {head}"
    else:
        return _too_new(current)
    return f"{what}: run 'reconciler db upgrade'"


def upgrade(url: str, target: str = "head") -> list[str]:
    """Bring the database to `target`; returns the revisions applied, oldest first (none: it was there).

    All of it in one transaction: it is done or it is not. Two at once wait for each other.
    """
    return _migrate(url, "upgrade", target)


def downgrade(url: str, target: str) -> list[str]:
    """Take the database back to `target` (`base`: no table of ours); returns what was undone, newest first."""
    return _migrate(url, "downgrade", target)


async def reach(url: str) -> None:
    """StoreUnavailable, soon and in one line, where a psql would wait for minutes or say it in several."""
    options = connection_options(url, REACHED_WITHIN)
    try:
        async with asyncio.timeout(REACHED_WITHIN):
            await (await psycopg.AsyncConnection.connect(**options.arguments)).close()
    except (psycopg.Error, OSError) as error:  # a TimeoutError is an OSError
        why = f"no answer within {REACHED_WITHIN:g} s" if isinstance(error, TimeoutError) else reason(error, options)
        raise StoreUnavailable(f"postgresql: {redacted(url)}: cannot connect: {why}: check database_url") from error


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A SQLAlchemy connection for migrations; StoreUnavailable when there is none to be had."""
    from sqlalchemy import NullPool, create_engine

    options = connection_options(url, CONNECT_TIMEOUT)
    # The creator's arguments are psycopg's own, so every url that the program takes is taken here too.
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(**options.arguments, prepare_threshold=None),
        poolclass=NullPool,
    )
    try:
        connection = engine.connect()
    except Exception as error:
        cause = error.__cause__ or error
        raise StoreUnavailable(
            f"postgresql: {redacted(url)}: cannot connect: {reason(cause, options)}: check database_url"
        ) from error
    with connection:
        yield connection


def _migrate(url: str, verb: str, target: str) -> list[str]:
    from alembic import command
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError

    done: list[str] = []

    def note(*, step: Any, **_: Any) -> None:
        done.append(step.up_revision_id)

    with connected(url) as connection:
        try:
            getattr(command, verb)(_config(connection, note), target)
            connection.commit()
        except CommandError as error:
            raise ReconcilerError(_unknown(url, target, str(error))) from error
        except DBAPIError as error:
            what = str(error.orig).splitlines()[0]
            raise ReconcilerError(f"postgresql: {redacted(url)}: cannot {verb}: {what}: nothing was changed") from error
    return done


def _config(connection: Connection, note: Any) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["on_version_apply"] = note
    return config


def _unknown(url: str, target: str, error: str) -> str:
    named = re.search(r"identified by '([^']+)'", error)
    if named and named.group(1) != target:
        return f"postgresql: {redacted(url)}: {_too_new(named.group(1))}"
    if named:
        return f"revision: no revision {target!r}: this version knows {', '.join(revisions())}"
    return f"postgresql: {redacted(url)}: cannot migrate: {error}: see 'reconciler db current'"


def _too_new(current: str) -> str:
    what = f"the database is at revision {current}, newer than this version knows ({head_revision()})"
    return f"{what}: install a newer reconciler"
