"""A few numbers that a child writes and its parent reads without asking, also when the child is stuck or dead."""

from __future__ import annotations

import mmap
import os
import tempfile

CURRENT = 0  # the call whose code runs at this moment; 0 between two
STARTED = 1  # calls start in the order of their numbers: this one and all before it have
TICKS = 2  # counted up by the child's event loop while it turns
REVOKED = 3  # written by the parent: calls from this number on must not start here any more; 0: none
SIZE = 4 * 8


def create() -> int:
    """A file descriptor to hand to `view`, here and in the child."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("reconciler", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, SIZE)
    return fd


def view(fd: int) -> memoryview:
    """The numbers, shared with every other view of the same file."""
    return memoryview(mmap.mmap(fd, SIZE)).cast("Q")
