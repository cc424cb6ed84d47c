"""Until something is so: no fault test sleeps and hopes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")
EVERY = 0.1


def until(condition: Callable[[], T], seconds: float = 30, what: str = "") -> T:
    """The first value of `condition` that is true; a store that is away for now counts as "not yet"."""
    end = time.monotonic() + seconds
    trouble: Exception | None = None
    while time.monotonic() < end:
        try:
            if value := condition():
                return value
        except psycopg.OperationalError as error:
            trouble = error
        time.sleep(EVERY)
    raise AssertionError(f"it did not come to pass: {what or condition}" + (f" ({trouble})" if trouble else ""))


def rows(url: str, statement: str, params: Any = None) -> list[tuple[Any, ...]]:
    """The rows of one statement over a connection of its own."""
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(statement.encode(), params)
        return cursor.fetchall() if cursor.description else []


def now(url: str) -> datetime:
    """PostgreSQL's clock."""
    [(moment,)] = rows(url, "select clock_timestamp()")
    return moment  # type: ignore[no-any-return]
