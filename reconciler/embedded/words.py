"""What the operating system said about `.reconciler/`, as one line that says what to do."""

from __future__ import annotations

import errno
from pathlib import Path

OWN_SERVERS = "set RECONCILER_DATABASE_URL and RECONCILER_REDIS_URL"


def in_words(error: OSError, root: Path) -> str:
    """One line about what went wrong with the files under `root`, and what to do."""
    where = error.filename or root
    if error.errno == errno.ENOSPC:
        return f"{where}: the disk is full: free some space, or {OWN_SERVERS}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}: cannot be written: {error.strerror}: make {root.parent} writable, or {OWN_SERVERS}"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{where}: in the place of a directory: move it away, or {OWN_SERVERS}"
    if error.errno == errno.ENOENT and not root.parent.is_dir():
        return f"{root.parent}: no such directory: make it, or {OWN_SERVERS}"
    return f"{where}: {error.strerror}: see {root / 'log'}"
