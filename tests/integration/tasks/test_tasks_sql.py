"""`sql.run`: one statement on a real database, what its rows are held to, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

CallTask = Callable[..., Any]


@pytest.fixture
def url(empty_database_url: str) -> str:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table things as select n as id, 'thing ' || n as name from generate_series(1, 5) n")
    return empty_database_url


def count(url: str) -> int:
    with psycopg.connect(url) as connection:
        return connection.execute("select count(*) from things").fetchall()[0][0]


def test_rows_come_back_as_json(call_task: CallTask, url: str) -> None:
    outcome = call_task("sql.run", dsn=url, statement="select * from things where id < 3 order by id")
    assert outcome.result == {"rows": 2, "first": [{"id": 1, "name": "thing 1"}, {"id": 2, "name": "thing 2"}]}
    assert outcome.log == "SELECT 2: 2 rows\n"


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("1.50::numeric", "1.50"),
        ("'NaN'::float8", "nan"),
        ("1.5::float8", 1.5),
        ("'\\x00ff'::bytea", "\\x00ff"),
        ("date '2026-01-02'", "2026-01-02"),
        ("timestamptz '2026-01-02 03:04Z' at time zone 'UTC'", "2026-01-02 03:04:00"),
        ("interval '1 hour'", "1:00:00"),
        ("array[1, null]", [1, None]),
        ("'{\"a\": [1.5, true]}'::jsonb", {"a": [1.5, True]}),
        ("'00000000-0000-0000-0000-000000000001'::uuid", "00000000-0000-0000-0000-000000000001"),
        ("'10.0.0.1'::inet", "10.0.0.1"),
        ("null", None),
    ],
)
def test_a_statement_that_ran_is_not_a_failure_for_the_type_of_its_rows(
    call_task: CallTask, url: str, sql: str, value: object
) -> None:
    outcome = call_task("sql.run", dsn=url, statement=f"select {sql} as x")
    assert outcome.is_success, outcome.error
    assert outcome.result["first"] == [{"x": value}]


def test_only_the_first_hundred_rows_come_back(call_task: CallTask, url: str) -> None:
    outcome = call_task("sql.run", dsn=url, statement="select n from generate_series(1, 250) n")
    assert outcome.result["rows"] == 250
    assert [row["n"] for row in outcome.result["first"]] == list(range(1, 101))


@pytest.mark.parametrize("values", [[2], {"id": 2}])
def test_values_are_sent_beside_the_statement(call_task: CallTask, url: str, values: object) -> None:
    where = "id = %s" if isinstance(values, list) else "id = %(id)s"
    outcome = call_task("sql.run", dsn=url, statement=f"delete from things where {where}", values=values)
    assert outcome.result == {"rows": 1, "first": []}
    assert count(url) == 4


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        ({"expect_rows": 5}, None),
        ({"at_least": 5, "at_most": 5}, None),
        ({"expect_rows": 4}, "5 rows, expected 4"),
        ({"at_least": 6}, "5 rows, expected at least 6"),
        ({"at_most": 0}, "5 rows, expected at most 0"),
    ],
)
def test_an_unexpected_number_of_rows_changes_nothing(
    call_task: CallTask, url: str, expected: dict[str, int], error: str | None
) -> None:
    outcome = call_task("sql.run", dsn=url, statement="delete from things", **expected)
    assert outcome.error == (error and f"UnexpectedRowsError: {error}")
    assert count(url) == (5 if error else 0)


def test_read_only_is_held_by_the_server(call_task: CallTask, url: str) -> None:
    outcome = call_task("sql.run", dsn=url, statement="delete from things", read_only=True)
    assert outcome.error.startswith("ReadOnlySqlTransaction: cannot execute DELETE in a read-only transaction")
    assert count(url) == 5


def test_what_cannot_run_in_a_transaction_runs_with_autocommit(call_task: CallTask, url: str) -> None:
    assert "cannot run inside a transaction" in call_task("sql.run", dsn=url, statement="vacuum things").error
    assert call_task("sql.run", dsn=url, statement="vacuum things", autocommit=True).log == "VACUUM: 0 rows\n"


def test_of_several_statements_the_last_one_counts(call_task: CallTask, url: str) -> None:
    statement = "delete from things where id = 1; delete from things where id > 3"
    assert call_task("sql.run", dsn=url, statement=statement, expect_rows=2).is_success
    assert count(url) == 2


def test_what_the_server_notes_is_in_the_log(call_task: CallTask, url: str) -> None:
    statement = "do $$ begin raise notice 'half way'; end $$"
    assert call_task("sql.run", dsn=url, statement=statement).log == "NOTICE: half way\nDO: 0 rows\n"


def test_a_mistake_in_the_statement_is_one_line(call_task: CallTask, url: str) -> None:
    error = call_task("sql.run", dsn=url, statement="select * from thinks").error
    assert error.startswith('UndefinedTable: relation "thinks" does not exist')
    assert "\n" not in error


def test_a_password_is_never_shown(call_task: CallTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", "postgresql://ada:hunter22@127.0.0.1:1/shop")
    outcome = call_task("sql.run", dsn={"from_env": "SHOP"}, statement="select 1")
    assert "refused" in outcome.error
    assert "hunter22" not in f"{outcome.error}{outcome.traceback}{outcome.log}"


def test_a_dsn_in_the_form_of_sqlalchemy_is_understood(call_task: CallTask, url: str) -> None:
    given = url.replace("postgresql:", "postgresql+psycopg:")
    assert call_task("sql.run", dsn=given, statement="select 1").is_success
