"""What tests stand on: real stores, a database and Redis keys of their own each, and a project to run the command in.

Stores are the embedded ones, in a directory of this run, unless RECONCILER_TEST_DATABASE_URL and
RECONCILER_TEST_REDIS_URL name others. Somebody else's data there is never touched: each test has its own database
and its own key prefix.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.embedded import Stores

# How long an example takes is a matter of what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

COMMAND_TIMEOUT = 120.0
PERSON = {"NAME": "Ada Lovelace", "EMAIL": "ada@example.org"}


@pytest.fixture(scope="session")
def make_short_directory() -> Iterator[Callable[[], Path]]:
    """Makes directories with short paths, which are removed when all tests are done."""
    made: list[Path] = []
    usual = tempfile.gettempdir()

    def make() -> Path:
        made.append(Path(tempfile.mkdtemp(prefix="r-", dir=usual if len(usual) < 30 else "/tmp")))
        return made[-1]

    yield make
    for directory in made:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def stores(make_short_directory: Callable[[], Path]) -> Iterator[Stores]:
    """The servers that all tests of this run share."""
    from reconciler.embedded import EmbeddedServers

    servers = EmbeddedServers(
        make_short_directory(),
        database_url=os.environ.get("RECONCILER_TEST_DATABASE_URL"),
        redis_url=os.environ.get("RECONCILER_TEST_REDIS_URL"),
    )
    try:
        yield servers.start()
    finally:
        servers.stop()


@pytest.fixture(scope="session")
def template(stores: Stores) -> Iterator[str]:
    """The name of a migrated database that is only copied."""
    from reconciler.db import schema

    name = f"template_{uuid.uuid4().hex}"
    _execute(stores.database_url, f"create database {name}")
    try:
        schema.upgrade(_with_name(stores.database_url, name))
        yield name
    finally:
        _execute(stores.database_url, f"drop database {name} with (force)")


@pytest.fixture
def database_url(stores: Stores, template: str) -> Iterator[str]:
    """A migrated, empty database for one test."""
    with _database(stores.database_url, template) as url:
        yield url


@pytest.fixture
def empty_database_url(stores: Stores) -> Iterator[str]:
    """A database that was never migrated."""
    with _database(stores.database_url, "template1") as url:
        yield url


@pytest.fixture
async def link(database_url: str) -> AsyncIterator[Link]:
    from reconciler.db.link import Link

    link = Link(database_url)
    yield link
    await link.close()


@pytest.fixture
def redis_url(stores: Stores) -> str:
    return stores.redis_url


@pytest.fixture
def redis_prefix(stores: Stores) -> Iterator[str]:
    """A prefix that no other test has; what is under it is deleted afterwards."""
    import redis

    prefix = f"test:{uuid.uuid4().hex}:"
    yield prefix
    with redis.Redis.from_url(stores.redis_url) as client:
        if found := list(client.scan_iter(f"{prefix}*", count=1000)):
            client.delete(*found)


@pytest.fixture
def short_directory(make_short_directory: Callable[[], Path]) -> Path:
    """A directory whose path leaves room for sockets in it; pytest's own are too long on some systems."""
    return make_short_directory()


@pytest.fixture
def project(tmp_path: Path, redis_prefix: str) -> Path:
    """A repository with settings and no specs and no tasks yet."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").touch()
    (tmp_path / "reconciler.toml").write_text(f'redis_prefix = "{redis_prefix}"\n')
    return tmp_path


@pytest.fixture
def command_environment(database_url: str, redis_url: str) -> dict[str, str]:
    """The environment of a command that works on this test's stores."""
    urls = {"RECONCILER_DATABASE_URL": database_url, "RECONCILER_REDIS_URL": redis_url, "RECONCILER_API_PORT": "0"}
    return {name: text for name, text in os.environ.items() if not name.startswith("RECONCILER_")} | urls


@pytest.fixture
def run_cli(project: Path, command_environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_cli("plan", "specs", env={"X": "1"}, input="y")`: the command in the project, its output as text."""

    def run(
        *args: str, cwd: Path = project, env: Mapping[str, str] | None = None, input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "reconciler", *args],
            cwd=cwd,
            env=command_environment | dict(env or {}),
            input=input,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )

    return run


@dataclass
class Listener:
    """Who can be told, on this machine. `heard` is (method, path, body); `status` answers what comes next."""

    port: int = 0
    status: int = 200
    heard: list[tuple[str, str, Any]] = field(default_factory=list)

    @property
    def target(self) -> str:
        """As a target of the settings."""
        return f"json://127.0.0.1:{self.port}/hook?token=geheim99"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def titles(self) -> list[str]:
        """The subjects of the messages."""
        return [body["title"] for method, _, body in self.heard if method == "POST"]

    @property
    def paths(self) -> list[str]:
        """What was pinged."""
        return [path for method, path, _ in self.heard if method == "GET"]


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A web server that keeps what it hears."""
    one = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _answer(self, body: Any) -> None:
            one.heard.append((self.command, self.path, body))
            self.send_response(one.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        one.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield one
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _database(server: str, template: str) -> Iterator[str]:
    """The URL of a new database, a copy of `template`, until it is left."""
    name = f"test_{uuid.uuid4().hex}"
    _execute(server, f"create database {name} template {template}")
    try:
        yield _with_name(server, name)
    finally:
        _execute(server, f"drop database if exists {name} with (force)")


def _with_name(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}")).replace(f"postgresql:/{name}", f"postgresql:///{name}")


def _execute(url: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


class Repository:
    """A bare repository that serves partial clones, and a working tree whose commits are pushed to it."""

    def __init__(self, directory: Path) -> None:
        self.bare, self.tree = directory / "remote.git", directory / "tree"
        self.git("init", "-q", "--bare", "-b", "main", str(self.bare), cwd=directory)
        self.git("config", "uploadpack.allowFilter", "true", cwd=self.bare)
        self.git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=self.bare)
        self.git("clone", "-q", str(self.bare), str(self.tree), cwd=directory)
        (self.tree / "specs").mkdir()

    @property
    def url(self) -> str:
        return f"file://{self.bare}"

    def git(self, *line: str, cwd: Path | None = None) -> str:
        """What git prints, run as a person of its own, without the settings of whoever runs the tests."""
        person = {f"GIT_{role}_{key}": text for role in ("AUTHOR", "COMMITTER") for key, text in PERSON.items()}
        nothing = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *line],
            cwd=cwd or self.tree,
            env={**os.environ, **person, **nothing},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, subject: str, /, *, push: bool = True, amend: bool = False, **specs: str | None) -> str:
        """Write specs (None: remove), commit all, push with force if it is amended; the commit."""
        for name, text in specs.items():
            path = self.tree / "specs" / f"{name}.yaml"
            path.unlink() if text is None else path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject, *(["--amend"] if amend else []))
        if push:
            self.git("push", "-q", "--force", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty one, in a place that the project does not look at."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    return Repository(place)
