"""What async calls print and how far they are, told to the runner while they run, also by a loop that is blocked."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from reconciler.children.frames import frame
from reconciler.execute.output import Recording, progress_text

TICK = 0.2
PROGRESS_EVERY = 1.0  # for each call


class Reports:
    """`run` is a thread of its own in the child.

    `running` gives the calls under way by number, `outcomes` those rows of finished ones that the loop has not sent.
    """

    def __init__(
        self,
        sock: socket.socket,
        running: Callable[[], Iterable[tuple[int, Recording]]],
        outcomes: Callable[[], list[list[Any]]],
    ) -> None:
        self._sock, self._running, self._outcomes = sock, running, outcomes
        self._written: Mapping[int, int] = {}
        self._progress: Mapping[int, tuple[float, object]] = {}
        self._sending, self._telling = threading.Lock(), threading.Lock()

    def run(self) -> None:
        wait = threading.Event()
        while not wait.wait(TICK):
            self.tell()

    def tell(self) -> None:
        """Everything that is new."""
        with self._telling:
            self._send("done", self._outcomes())
            running = list(self._running())
            self._send("logs", self._logs(running))
            self._send("progress", self._changes(running, time.monotonic()))
            for number, own in running:
                self.hand_on(number, own)

    def hand_on(self, number: int, own: Recording, *, is_last: bool = False) -> None:
        """Send what a followed call has printed since; at its end before its outcome is sent."""
        if own.pieces is None:
            return
        with self._sending:  # in the order in which they were taken
            pieces = own.pieces.take(own.mask, is_last=is_last)
            self._send("output", [[number, offset, text] for offset, text in pieces])

    def _logs(self, running: list[tuple[int, Recording]]) -> list[list[Any]]:
        old, self._written = self._written, {number: own.written for number, own in running}
        return [[number, own.text()] for number, own in running if self._written[number] != old.get(number, 0)]

    def _changes(self, running: list[tuple[int, Recording]], now: float) -> list[list[Any]]:
        """The progress of those that have a new one, and told none in the last second."""
        told, changes = {}, []
        for number, own in running:
            progress = own.signs and own.signs.progress
            if progress:
                at, last = self._progress.get(number, (0.0, None))
                if progress is not last and now - at >= PROGRESS_EVERY:
                    at, last = now, progress
                    changes.append([number, progress[0], progress_text(progress[1], own.mask)])
                told[number] = at, last
        self._progress = told
        return changes

    def _send(self, kind: str, rows: list[list[Any]]) -> None:
        if rows:
            with suppress(OSError):
                self._sock.sendall(frame([kind, rows]))
