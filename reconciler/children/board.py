"""A few numbers that a child writes and its parent reads without asking, also when the child is stuck or dead."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import threading

CURRENT = 0  # the call whose code runs at this moment; 0 between two
STARTED = 1  # calls start in the order of their numbers: this one and all before it have
TICKS = 2  # counted up by the child's event loop while it turns
REVOKED = 3  # written by the parent: calls from this number on must not start here any more; 0: none
ASKED = 4  # written by the parent of a worker: the call that should stop by itself
CHANGES = 5  # of the progress below, counted up before and after each; odd: it is being written
PROGRESS = struct.Struct("=QdH")  # the call, the fraction, the length of the text that follows
PROGRESS_AT = 6 * 8
TEXT_AT = PROGRESS_AT + PROGRESS.size
SIZE = 1024


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
    """The numbers, shared with every other view of the same file. It holds a file descriptor until it is released."""
    return memoryview(mmap.mmap(fd, SIZE)).cast("Q")


class Progress:
    """How far the call of a worker is: its process writes it as often as it likes, the runner reads it at times."""

    def __init__(self, numbers: memoryview) -> None:
        self._numbers, self._bytes = numbers, numbers.cast("B")
        self._writing = threading.Lock()
        self._seen = 0

    def release(self) -> None:
        """Let go of the board; neither this nor the numbers can be used any more."""
        self._bytes.release()
        self._numbers.release()

    def write(self, number: int, fraction: float, text: str) -> None:
        content = text.encode(errors="replace")[: SIZE - TEXT_AT]
        with self._writing:
            self._numbers[CHANGES] += 1
            PROGRESS.pack_into(self._bytes, PROGRESS_AT, number, fraction, len(content))
            self._bytes[TEXT_AT : TEXT_AT + len(content)] = content
            self._numbers[CHANGES] += 1

    def read(self, number: int) -> tuple[float, str] | None:
        """What call `number` has written since the last time; None: nothing, or it is being written just now."""
        changes = self._numbers[CHANGES]
        if changes == self._seen or changes % 2:
            return None
        whose, fraction, length = PROGRESS.unpack_from(self._bytes, PROGRESS_AT)
        text = bytes(self._bytes[TEXT_AT : TEXT_AT + min(length, SIZE - TEXT_AT)])
        if self._numbers[CHANGES] != changes or whose != number:
            return None
        self._seen = changes
        return fraction, text.decode(errors="ignore")
