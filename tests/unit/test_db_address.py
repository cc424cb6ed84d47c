"""What is said when PostgreSQL cannot be reached."""

from __future__ import annotations

import psycopg
import pytest

from reconciler.db.address import connection_options, reason
from reconciler.errors import ReconcilerError

SERVER = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (f'{SERVER}FATAL:  password authentication failed for user "ada"', "the password for user 'ada' was refused"),
        (f'{SERVER}FATAL:  database "sales" does not exist', "there is no database 'sales'"),
        (f'{SERVER}FATAL:  role "ada" does not exist', "there is no user 'ada'"),
        (f"{SERVER}Connection refused\n\tIs the server running?", "nothing listens there"),
        (f"{SERVER}FATAL:  sorry, too many clients already", "the server has no connection left"),
        (f"{SERVER}FATAL:  the database system is starting up", "the server is starting up"),
        (
            "failed to resolve host 'db.internal': [Errno -2] Name or service",
            "the host name 'db.internal' is not known",
        ),
        (f"{SERVER}something new\n  with a second line", "something new with a second line"),
        ("server closed the connection unexpectedly\n\tThis probably means", "the server went away"),
    ],
)
def test_a_refusal_is_said_in_plain_words(said: str, words: str) -> None:
    assert reason(psycopg.OperationalError(said)) == words


def test_a_timeout_says_how_long() -> None:
    options = connection_options("postgresql://host/name", 3.0)
    assert reason(TimeoutError(), options) == "no answer within 3 s"
    assert reason(psycopg.errors.ConnectionTimeout("x"), options) == "no answer within 3 s"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "name",
        "mysql://ada:hunter2@host/name",
        "host=/tmp password=hunter2",
        "postgresql://ada:hunter2@x@host/name",
        "postgresql://ada:x/hunter2@host/name",
        "postgresql://ada:hunter2@host/name?nonsense=1",
        "postgresql://host/name?connect_timeout=hunter2",
        "postgresql://host/name?password=hunter2&sslmode",
    ],
)
def test_what_is_no_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ReconcilerError, match="not the url of a PostgreSQL database: write") as caught:
        connection_options(url, 3.0)
    assert "hunter2" not in str(caught.value)


def test_what_the_url_says_wins() -> None:
    url = "postgresql+psycopg://host/name?connect_timeout=9&application_name=mine"
    options = connection_options(url, 3.0)
    assert options.arguments["connect_timeout"] == 9
    assert options.arguments["application_name"] == "mine"
    assert options.arguments["dbname"] == "name"


def test_every_host_of_several_has_its_turn() -> None:
    assert connection_options("postgresql://a,b,c/name", 3.0).patience > 9
