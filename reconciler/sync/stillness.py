"""Is git at work in a directory right now? Told from the files that git itself leaves there; no process is started.

`git checkout` writes the files first and the branch last. Whoever reads in between sees half of another branch and
takes it for unsaved work on this one. While git writes, `index.lock` lies in its directory; and what it did shows in
the index, in HEAD and in HEAD's log.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# `git commit -a` holds the lock for as long as somebody writes the message, and a git that died holds it for ever.
FORGOTTEN: Final = 60.0


@dataclass(frozen=True, slots=True)
class Mark:
    """What a directory's git looked like. Two that are equal: nothing was checked out or committed in between."""

    lock: Path | None = None  # git is at work, and this file says so
    seen: tuple[object, ...] = ()


def mark_of(directory: Path, now: float | None = None) -> Mark:
    """The mark as of now; that of a directory without git is always the same. `now`: seconds since 1970."""
    git = _git_directory(directory)
    if git is None:
        return Mark()
    lock = git / "index.lock"
    age = (time.time() if now is None else now) - _modified(lock)
    is_at_work = lock.exists() and age < FORGOTTEN
    return Mark(lock if is_at_work else None, (_head(git), _stamp(git / "index"), _stamp(git / "logs" / "HEAD")))


def _git_directory(directory: Path) -> Path | None:
    """Where git keeps what belongs to this working tree; a linked one has a file that names the place."""
    directory = directory.absolute()
    for place in (directory, *directory.parents):
        found = place / ".git"
        if found.is_dir():
            return found
        if found.is_file():
            try:
                named = found.read_text("utf-8", "surrogateescape").removeprefix("gitdir:").strip()
            except OSError:
                return None
            return place / named
    return None


def _head(git: Path) -> str:
    try:
        return (git / "HEAD").read_text("utf-8", "replace")
    except OSError:
        return ""


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
