"""A terminal on which a task prints, with one line below that says how far it is."""

from __future__ import annotations

import io
import shutil
import time
from typing import TextIO

from reconciler.execute.output import Recording, progress_text
from reconciler.registry.context import Signs

CLEARED = "\r\x1b[K"
EVERY = 0.1


class Screen(io.TextIOBase):
    """Takes what is printed and moves the line out of its way."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._has_line, self._is_at_start, self._shown_at = False, True, 0.0

    def write(self, text: str) -> int:
        self.clear()
        if text:
            self._is_at_start = text.endswith("\n")
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def show(self, fraction: float, text: str) -> None:
        """At most ten times a second, and not behind a line that the task has begun."""
        now = time.monotonic()
        if not self._is_at_start or (now - self._shown_at < EVERY and fraction < 1):
            return
        line = f"{fraction:4.0%} {text}"[: shutil.get_terminal_size().columns - 1]
        self._stream.write(f"{CLEARED}{line}")
        self._stream.flush()
        self._has_line, self._shown_at = True, now

    def clear(self) -> None:
        if self._has_line:
            self._has_line = False
            self._stream.write(CLEARED)


class Shown(Signs):
    """Progress that goes to a screen at once."""

    __slots__ = ("_own", "_screen")

    def __init__(self, screen: Screen, own: Recording) -> None:
        super().__init__()
        self._screen, self._own = screen, own

    def report(self, fraction: float, text: str) -> None:
        self._screen.show(fraction, progress_text(text, self._own.mask))
