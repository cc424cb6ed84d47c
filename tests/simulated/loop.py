"""An event loop whose time is pretended: it jumps to the next timer as soon as nothing is ready.

What is ready at the same moment runs in an order that the seed chooses. Each callback belongs to a process, by its
context: one that is dead runs nothing any more, one that is frozen runs it later.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any

START = 1000.0
TURN = 1e-6


class Process:
    """Who runs what: its tasks, and all that they start. A child lives as long as its parent, and is not frozen
    with it.
    """

    def __init__(self, name: str, parent: Process | None = None) -> None:
        self.name = name
        self.parent = parent
        self.is_over = False
        self.is_frozen = False
        self.frozen_until = 0.0
        self.held: list[asyncio.Handle] = []
        self.context = copy_context()
        self.context.run(PROCESS.set, self)

    @property
    def is_dead(self) -> bool:
        return self.is_over or (self.parent is not None and self.parent.is_dead)

    def kill(self) -> None:
        """As `kill -9`: nothing of it runs any more, no clean-up either."""
        self.is_over = True


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class Standstill(Exception):
    """Nothing is ready and no timer is set: everybody waits for somebody else."""


class VirtualLoop(asyncio.BaseEventLoop):
    """No sockets, no threads, no sleeping."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.now = START
        self.random = random
        self.errors: list[str] = []
        self.turns = 0
        self.is_ending = False
        self._stopped: dict[int, Process] = {}
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self.set_exception_handler(lambda loop, context: self.errors.append(_told(context)))

    def time(self) -> float:
        return self.now

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def start(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of that process."""
        return self.create_task(work, context=process.context)

    def thaw(self, process: Process) -> None:
        """It goes on, with all that has become ready meanwhile."""
        if process.is_frozen:
            process.is_frozen, process.frozen_until = False, self.now
        held, process.held = process.held, []
        self._ready.extend(held)

    def end(self) -> None:
        """From now on everybody goes on, the dead too: so that each task can come to its end."""
        self.is_ending = True
        for process in self._stopped.values():
            self.thaw(process)

    def _run_once(self) -> None:
        self.turns += 1
        self.now += TURN  # time must go on for whoever only waits for it to do so
        if not self._ready:
            self._jump()
        ready = list(self._ready)
        self._ready.clear()
        if len(ready) > 1:
            self.random.shuffle(ready)
        for handle in ready:
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None and (process.is_frozen or process.is_dead) and not self.is_ending:
                process.held.append(handle)
                self._stopped[id(process)] = process
                continue
            handle._run()

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise Standstill(f"at {self.now:.3f}")
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:
                self._ready.append(timer)

    def _process_events(self, events: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""


def _told(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return f"{context.get('message')}: {error!r}" if error else str(context.get("message"))
