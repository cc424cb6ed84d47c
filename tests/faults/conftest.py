"""Servers that a test may harm, a project on them, and proxies between the two."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from faultkit import PostgreSQLServer, Project, Proxy, RedisServer

SECONDS = float(os.environ.get("RECONCILER_TEST_FAULTS_SECONDS", "0"))


@pytest.fixture(scope="module")
def _postgresql(make_short_directory: Callable[[], Path]) -> Iterator[PostgreSQLServer]:
    with PostgreSQLServer(make_short_directory()) as server:
        yield server


@pytest.fixture(scope="module")
def _redis_server(make_short_directory: Callable[[], Path]) -> Iterator[RedisServer]:
    with RedisServer(make_short_directory()) as server:
        yield server


@pytest.fixture
def postgresql(_postgresql: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    """This module's PostgreSQL, which works when a test begins, with the settings of the beginning."""
    yield _postgresql
    _postgresql.resume()
    if not _postgresql.is_running:
        _postgresql.start()


@pytest.fixture
def redis_server(_redis_server: RedisServer) -> Iterator[RedisServer]:
    """This module's Redis, which works when a test begins."""
    yield _redis_server
    _redis_server.resume()
    if not _redis_server.is_running:
        _redis_server.start()


@pytest.fixture
def database(postgresql: PostgreSQLServer) -> str:
    """The URL of a migrated, empty database on it."""
    return postgresql.database()


@pytest.fixture
def house(tmp_path: Path, database: str, redis_server: RedisServer) -> Iterator[Project]:
    """A project on the two; what it starts ends with the test."""
    with Project(tmp_path, database, redis_server.url) as project:
        yield project


@pytest.fixture
def proxied(postgresql: PostgreSQLServer, redis_server: RedisServer) -> Iterator[Callable[[str], Proxy]]:
    """`proxied("postgresql")`, `proxied("redis")`: a proxy to that store, for one program."""
    with ExitStack() as stack:
        sockets = {"postgresql": postgresql.socket, "redis": redis_server.socket}
        yield lambda kind: stack.enter_context(Proxy(sockets[kind], kind))
