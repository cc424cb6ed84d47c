"""A lock that the kernel drops when its holder dies, on a file that may vanish when nobody needs it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

PAUSE = 0.005


class Lock:
    """A held flock. It ends with the last copy of its descriptor, so never outlives a killed holder."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, exclusive: bool, wait: float = 0.0) -> Lock | None:
        """The lock, or None when it is still somebody else's after `wait` seconds. OSError: no such directory."""
        until = time.monotonic() + wait
        while True:
            # The file is not opened for writing: a lock does not need that, and the file may be another user's.
            lock = cls(path, os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
            # The last holder removes the file: a lock on a removed file excludes nobody, so open the new one.
            if lock._acquire(exclusive) and lock.is_current():
                return lock
            lock.release()
            if time.monotonic() >= until:
                return None
            time.sleep(PAUSE)

    def _acquire(self, exclusive: bool) -> bool:
        try:
            fcntl.flock(self.descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def become_exclusive(self) -> bool:
        """Whether nobody shares it: then it is exclusive from now on. Else it may be lost: release it."""
        return self._acquire(exclusive=True)

    def is_current(self) -> bool:
        """Whether the path still names the file that is locked."""
        try:
            there = self.path.stat()
        except OSError:
            return False
        mine = os.fstat(self.descriptor)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def remove(self) -> None:
        """Take the file away; only while holding it exclusively."""
        if self.is_current():
            self.path.unlink(missing_ok=True)

    def release(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock exclusively. Asking makes no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    lock = Lock(path, descriptor)
    try:
        # Shared, so that two who ask at once do not take each other for the holder.
        return not lock._acquire(exclusive=False)
    finally:
        lock.release()
