"""How far long work has come: one line that is written over itself, for a person who waits at a terminal.

The first stands there within a second; then there is a new one each second at the most. Through a pipe there is none.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

FIRST_AFTER = 0.5
EVERY = 1.0
CLEARED = "\r\x1b[K"


class Progress:
    """Called with how much is done and how much there is; `clock` in seconds, only ever forward."""

    def __init__(self, what: str, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.what = what
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self._next = self._began + FIRST_AFTER
        self._is_shown = False

    def __call__(self, done: int, total: int) -> None:
        self._show(f"{done:,} of {total:,}")

    def passed(self) -> None:
        """For work that cannot say how much there is: how long it has taken so far."""
        self._show(f"{self._clock() - self._began:.0f} s")

    def _show(self, text: str) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + EVERY
        self._is_shown = True
        self._stream.write(f"{CLEARED}{self.what}: {text}")
        self._stream.flush()

    def clear(self) -> None:
        """Leave nothing of it on the screen."""
        if self._is_shown:
            self._stream.write(CLEARED)
            self._stream.flush()


@contextmanager
def progress(what: str) -> Iterator[Progress | None]:
    """Something to report to while it is open; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    shown = Progress(what, sys.stderr)
    try:
        yield shown
    finally:
        shown.clear()
