"""One setup, made ready and measured: an empty database and Redis, what its processes are told, its line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import redis
from contents import HERE, OWN, Setup, version
from measuring import Stores, report
from processes import PeerFailed
from venvs import ROOT, programs

from reconciler import __version__
from reconciler.db import schema


@contextmanager
def emptied(own: Stores, setup: Setup) -> Iterator[Stores]:
    """The same servers with an empty database, an empty Redis and an empty directory."""
    with psycopg.connect(own.database_url, autocommit=True) as connection:
        connection.execute("drop database if exists peer with (force)")
        connection.execute("create database peer")
    with redis.from_url(own.redis_url) as cache:
        cache.flushall()
    directory = own.directory / "peer"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    base, _, query = own.database_url.partition("?")
    url = f"{base.rpartition('/')[0]}/peer" + (f"?{query}" if query else "")
    if setup.peer == OWN:
        schema.upgrade(url)
    yield replace(own, database_url=url, directory=directory)


def environment(own: Stores, setup: Setup, **told: object) -> dict[str, str]:
    """What every app is told, for a peer's processes; of our own settings nothing but where the stores are."""
    path = [str(HERE / "apps")]
    values = {"PEERS_DATABASE": own.database_url, "PEERS_REDIS": own.redis_url, "PEERS_MARKS": str(marks_of(own))}
    values |= {f"PEERS_{name.upper()}": str(value) for name, value in told.items() if value is not None}
    if setup.rows:
        values["PEERS_ROWS"] = "1"
    if setup.peer == OWN:
        path.append(str(ROOT))
    own_programs = f"{programs(setup.peer)}{os.pathsep}{os.environ['PATH']}"
    return own.environment | values | {"PYTHONPATH": os.pathsep.join(path), "PATH": own_programs}


def marks_of(own: Stores) -> Path:
    return own.directory / "marks"


def reported(case: str, setup: Setup, count: int, measure: Callable[[], dict[str, object]]) -> None:
    """One line, whatever happens to the peer."""
    try:
        figures = measure()
    except PeerFailed as failure:
        figures = {"failed": str(failure)}
    release = __version__ if setup.peer == OWN else version(setup.peer)
    report(
        case,
        count,
        peer=setup.label,
        version=release,
        **figures,
        durable_rows=bool(setup.rows),
        note=setup.note or None,
    )
