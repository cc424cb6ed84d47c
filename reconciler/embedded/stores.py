"""The two stores of a directory, for whoever needs them: their URLs, and that something answers there.

Knows nothing of what is kept in them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.embedded.binaries import postgresql_bin, redis_server
from reconciler.embedded.servers import PostgreSQL, Redis, Server
from reconciler.embedded.use import Use
from reconciler.embedded.words import OWN_SERVERS, in_words
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.settings import Settings

PLACE = ".reconciler"
# sun_path of sockaddr_un, less the closing NUL.
SOCKET_LIMIT = 103 if sys.platform == "darwin" else 107
LOOK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Stores:
    """`is_embedded` and `bin_path` (pg_dump, psql) are about the database; the path is None for your own server."""

    database_url: str
    redis_url: str
    is_embedded: bool
    bin_path: Path | None


@contextmanager
def open_stores(settings: Settings, *, linger: bool = True) -> Iterator[Stores]:
    """Both stores, started or shared for as long as this is open; URLs of your own pass through untouched.

    Without `linger` the last user waits at its end until nothing of the embedded servers is left. ReconcilerError,
    in one line, when one cannot be started.
    """
    database = settings.database_url.get_secret_value() if settings.database_url else None
    redis = settings.redis_url.get_secret_value() if settings.redis_url else None
    servers = EmbeddedServers(settings.directory, database_url=database, redis_url=redis)
    try:
        yield servers.start()
    finally:
        servers.stop(linger=linger)


class EmbeddedServers:
    """The servers under `.reconciler/` of a directory, without those whose URL is given."""

    def __init__(self, directory: Path, *, database_url: str | None = None, redis_url: str | None = None) -> None:
        root = Path(os.path.realpath(directory)) / PLACE
        self.database_url = database_url
        self.redis_url = redis_url
        self.postgresql = PostgreSQL(root)
        self.redis = Redis(root)
        self.uses: list[Use] = []
        self.stopping = threading.Event()
        self.watch = threading.Thread(target=self._look_after, name="embedded-servers", daemon=True)

    def start(self) -> Stores:
        """Both working. Fast where another process uses them already. ReconcilerError, in one line."""
        stores = Stores(
            database_url=self.database_url or self.postgresql.url,
            redis_url=self.redis_url or self.redis.url,
            is_embedded=self.database_url is None,
            bin_path=None if self.database_url else postgresql_bin(),
        )
        self.uses = self._needed()
        if not self.uses:
            return stores
        for use in self.uses:
            _refuse_path(use.server)
        try:
            self._make_directories()
            for use in self.uses:
                use.begin()
            for use in self.uses:
                use.settle()
        except OSError as error:
            self.stop()
            raise ReconcilerError(in_words(error, self.redis.root)) from None
        except BaseException:
            self.stop()
            raise
        self.watch.start()
        return stores

    def stop(self, *, linger: bool = False) -> None:
        """End our use. Without `linger`, and when nobody else uses them, all is gone when this returns."""
        self.stopping.set()
        if self.watch.ident is not None:
            self.watch.join()
        for use in self.uses if not linger else ():
            use.ask_for_end()
        for use in self.uses:
            use.await_end()
        self.uses = []

    def _needed(self) -> list[Use]:
        uses = []
        if self.database_url is None:
            uses.append(Use(self.postgresql, lambda: postgresql_bin() / "postgres"))
        if self.redis_url is None:
            uses.append(Use(self.redis, redis_server))
        return uses

    def _make_directories(self) -> None:
        root = self.redis.root
        root.mkdir(exist_ok=True)
        (root / "log").mkdir(exist_ok=True)
        # Whoever reaches a socket is the database's superuser.
        (root / "run").mkdir(mode=0o700, exist_ok=True)
        ignore = root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")

    def _look_after(self) -> None:
        """A supervisor that was killed took its server along: for a long-lived user, have another one."""
        while not self.stopping.wait(LOOK_EVERY):
            for use in self.uses:
                try:
                    use.resummon()
                except (OSError, ReconcilerError):
                    continue


def _refuse_path(server: Server) -> None:
    length = len(os.fsencode(server.socket))
    if length > SOCKET_LIMIT:
        raise ReconcilerError(
            f"{server.socket}: {length} bytes long, and a socket's path may have {SOCKET_LIMIT}: use a directory with "
            f"a shorter path, or {OWN_SERVERS}"
        )
    if "," in str(server.run):
        raise ReconcilerError(
            f"{server.run}: has a comma, at which PostgreSQL splits a path: use another directory, or {OWN_SERVERS}"
        )
