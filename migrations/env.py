"""Where Alembic gets its connection from, and how two upgrades at once stay out of each other's way.

`reconciler db upgrade` hands its connection over. The `alembic` command by itself, for writing a migration,
takes `-x url=...`, else the database of the settings.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from reconciler.db.schema import MIGRATION_LOCK, connected
from reconciler.db.tables import metadata


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=True,
        on_version_apply=context.config.attributes.get("on_version_apply"),
    )
    with context.begin_transaction():
        # Before the revision is read: whoever waits here finds the other's work done.
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text("set local lock_timeout = '30s'"))
        context.run_migrations()


def configured_url() -> str:
    given = context.get_x_argument(as_dictionary=True).get("url")
    if given:
        return str(given)
    from reconciler.settings import load_settings

    url = load_settings().database_url
    if url is None:
        raise SystemExit("alembic: no database: give -x url=postgresql://... or set RECONCILER_DATABASE_URL")
    return url.get_secret_value()


def run_online() -> None:
    connection = context.config.attributes.get("connection")
    if connection is not None:
        migrate(connection)
        return
    with connected(configured_url()) as own:
        migrate(own)


def run_offline() -> None:
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
