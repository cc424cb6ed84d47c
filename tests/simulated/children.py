"""Pretended child processes: calls that take as long, and end as, the seed says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from random import Random
from typing import Any

from reconciler.children.catalogue import TaskInfo
from reconciler.execute import Call, Outcome, failed, stopped, timed_out
from reconciler.execute.calling import LATE
from simulated.loop import PROCESS, Process

CATALOGUE = {
    "sim.work": TaskInfo("sim.work", True, {}, ""),
    "sim.heavy": TaskInfo("sim.heavy", False, {}, ""),
    "sim.told": TaskInfo("sim.told", True, {}, "", wants_context=True),
}


@dataclass(slots=True)
class Fate:
    """Of one attempt: seconds until it begins, how long it takes, whether it succeeds, and how long it resists."""

    begins: float
    takes: float
    is_success: bool
    resists: float


def fate_of(seed: int, call: Call) -> Fate:
    """The same for the same attempt, in whatever order things happen."""
    random = Random(f"{seed}:{call.idempotency_key}:{call.attempt}")
    kind = random.random()
    slowly = 4.0 if seed % 3 == 0 else 1.0  # in some stories runs are long, so that more happens to them
    takes = random.random() * slowly * (0.3 if kind < 0.5 else 4.0 if kind < 0.95 else 1e9)
    resists = 0.0 if random.random() < 0.8 else random.random()
    return Fate(random.random() * 0.02, takes, random.random() < 0.8, resists)


class Children:
    """Stands for `reconciler.children.children.Children`; `began` and `ended` hear of each call."""

    seed = 0
    began: Callable[[Process, Call], None]
    ended: Callable[[Process, Call], None]
    cancelled: Callable[[str], None]

    def __init__(self, *, on_done: Callable[[list[tuple[str, Outcome]]], None], **_: Any) -> None:
        self.catalogue: dict[str, TaskInfo] = {}
        self.faults: list[str] = []
        self._on_done = on_done
        self._calls: dict[str, _Under] = {}

    @property
    def running(self) -> int:
        return len(self._calls)

    @property
    def is_there(self) -> bool:
        return bool(self.catalogue)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        parent = PROCESS.get()
        assert parent is not None
        self._parent, self._home = parent, copy_context()
        self._child = Process(f"{parent.name}'s children", parent)
        await asyncio.sleep(0.01)
        self.catalogue = dict(CATALOGUE)

    def submit(self, calls: Sequence[Call]) -> None:
        for call in calls:
            one = _Under(call, fate_of(self.seed, call))
            self._calls[call.id] = one
            one.timer = self._later(one.fate.begins, self._begin, one)

    def cancel(self, call_id: str, why: str) -> None:
        one = self._calls.get(call_id)
        if one is None or one.is_told:
            return
        one.is_told = True
        self.cancelled(call_id)
        if one.began_at is None:
            one.timer.cancel()
            self._end(one, failed(why, is_started=False))
        else:
            one.timer.cancel()
            one.timer = self._later(one.fate.resists, self._stopped, one, why)

    def follow(self, call_id: str, is_wanted: bool = True) -> None:
        """Nothing is printed."""

    async def stop(self, grace: float, why: str) -> None:
        until = self._loop.time() + grace
        while self._calls and self._loop.time() < until:
            await asyncio.sleep(0.02)
        for one in list(self._calls.values()):
            one.timer.cancel()
            is_started = one.began_at is not None
            since = one.began_at
            self._calls.pop(one.call.id)
            if is_started:
                self.ended(self._parent, one.call)
            self._on_done([(one.call.id, failed(why, since=since, is_started=is_started))])

    async def reload(self) -> None:
        """The same tasks."""

    def _later(self, seconds: float, what: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        context: Context = self._child.context
        return self._loop.call_later(seconds, what, *args, context=context)

    def _begin(self, one: _Under) -> None:
        one.began_at = self._loop.time()
        self.began(self._parent, one.call)
        limit = one.call.timeout
        if limit is not None and limit <= one.fate.takes:
            one.timer = self._later(limit, self._timed_out, one)
        else:
            one.timer = self._later(one.fate.takes, self._finished, one)

    def _finished(self, one: _Under) -> None:
        began = one.began_at or 0.0
        if one.fate.is_success:
            self._end(one, Outcome(True, began, self._loop.time(), result=one.call.attempt))
        else:
            error = f"ValueError: attempt {one.call.attempt}"
            kinds = ("builtins.ValueError", "builtins.Exception")
            self._end(one, failed(error, since=began, kinds=kinds))

    def _timed_out(self, one: _Under) -> None:
        self._end(one, failed(timed_out(one.call.timeout or 0), since=one.began_at, kinds=LATE))

    def _stopped(self, one: _Under, why: str) -> None:
        self._end(one, stopped(failed(why, since=one.began_at), why))

    def _end(self, one: _Under, outcome: Outcome) -> None:
        if one.began_at is not None:
            self.ended(self._parent, one.call)
        self._loop.call_soon(self._told, one.call.id, outcome, context=self._home)

    def _told(self, call_id: str, outcome: Outcome) -> None:
        if self._calls.pop(call_id, None) is not None:
            self._on_done([(call_id, outcome)])


@dataclass(slots=True)
class _Under:
    call: Call
    fate: Fate
    timer: asyncio.TimerHandle = None  # type: ignore[assignment]
    began_at: float | None = None
    is_told: bool = False
