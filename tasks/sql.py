"""Run an SQL statement on a PostgreSQL database."""

from __future__ import annotations

from typing import Any

from reconciler.registry import task

MOST = 100
# Set where it can be: a statement whose task was killed ends too, instead of going on for hours.
WATCH_CLIENT = "select set_config(name, '5s', true) from pg_settings where name = 'client_connection_check_interval'"


class UnexpectedRowsError(Exception):
    """The statement ran, and its rows are not as they should be."""


@task("sql.run")
def run(
    dsn: str,
    statement: str,
    *,
    values: list[Any] | dict[str, Any] | None = None,
    expect_rows: int | None = None,
    at_least: int | None = None,
    at_most: int | None = None,
    read_only: bool = False,
    autocommit: bool = False,
) -> dict[str, Any]:
    """Run `statement` in one transaction; fail, and roll back, unless it touches as many rows as expected.

    `values` fill `%s` or `%(name)s` in the statement. The result has `rows`, how many were returned or changed, and
    `first`, the first hundred of what was returned. Give the dsn as `{from_env: NAME}` when it holds a password.
    With `autocommit` there is no transaction, as `vacuum` wants it, and so nothing to roll back.
    """
    import psycopg
    from psycopg.rows import dict_row

    from reconciler.urls import as_database_url

    address = as_database_url(dsn) if "://" in dsn else dsn
    with psycopg.connect(address, row_factory=dict_row, connect_timeout=10, autocommit=autocommit) as connection:
        connection.add_notice_handler(lambda notice: print(f"{notice.severity}: {notice.message_primary}"))
        connection.read_only = read_only
        if not autocommit:
            _watch_client(connection)
        cursor = connection.execute(statement, values)
        while cursor.nextset():
            pass
        first = cursor.fetchmany(MOST) if cursor.description else []
        rows = max(cursor.rowcount, 0)
        print(f"{cursor.statusmessage}: {rows} rows")
        _check(rows, expect_rows, at_least, at_most)
    return {"rows": rows, "first": [{name: _plain(value) for name, value in row.items()} for row in first]}


def _watch_client(connection: Any) -> None:
    import psycopg

    try:
        connection.execute(WATCH_CLIENT)
    except psycopg.errors.InvalidParameterValue:
        connection.rollback()  # the server's platform has no way to see it


def _check(rows: int, exactly: int | None, at_least: int | None, at_most: int | None) -> None:
    if exactly is not None and rows != exactly:
        raise UnexpectedRowsError(f"{rows} rows, expected {exactly}")
    if at_least is not None and rows < at_least:
        raise UnexpectedRowsError(f"{rows} rows, expected at least {at_least}")
    if at_most is not None and rows > at_most:
        raise UnexpectedRowsError(f"{rows} rows, expected at most {at_most}")


def _plain(value: Any) -> Any:
    """As JSON can hold it: the statement has been run, so what it returned must not make a failure of it."""
    import math

    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, bytes | memoryview):
        return "\\x" + bytes(value).hex()
    if value is None or isinstance(value, str | bool | int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)
