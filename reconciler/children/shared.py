"""The runner's end of one process in which async tasks share an event loop: what runs in it, and what hinders it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

from reconciler.children import board
from reconciler.children.board import CURRENT, REVOKED, STARTED, TICKS
from reconciler.children.catalogue import OnOutput, OnProgress
from reconciler.children.frames import Channel, call_row, outcome_from
from reconciler.children.process import Process, Setting, Warden, did_not_stop
from reconciler.execute import Call, Outcome, failed, timed_out
from reconciler.execute.calling import LATE

BLOCKED = 1.0
STUBBORN = 1.0  # seconds after it was told to stop
START_WITHIN = 60.0
BATCH = 500
SLACK = 0.2
BLOCKS = "blocked the event loop that all async tasks share, and its process was killed; make it a plain `def`"


class Verdict(NamedTuple):
    """Why a process had to be killed: for the one that caused it, and for those that shared it."""

    own: str
    others: str
    kinds: tuple[str, ...] = ()


NO_VERDICT = Verdict("", "")


@dataclass(frozen=True)
class Listener:
    """Who hears what becomes of a process. Each call is in exactly one of `on_done` and `on_lost`'s list."""

    on_hello: Callable[[AsyncChild, dict[str, Any], list[str]], None]
    on_done: Callable[[list[tuple[str, Outcome]]], None]
    on_lost: Callable[[AsyncChild, list[Call], str], None]
    on_left: Callable[[AsyncChild, str], None]
    on_progress: OnProgress
    on_output: OnOutput


@dataclass(slots=True)
class _Running:
    call: Call
    since: float
    deadline: float | None = None
    asked: str = ""
    verdict: Verdict = NO_VERDICT
    log: str = ""


class AsyncChild:
    def __init__(self, setting: Setting, warden: Warden, listener: Listener) -> None:
        self.is_ready = self.is_retired = False
        self.importing: str | None = None
        self._setting, self._listener = setting, listener
        self._running: dict[int, _Running] = {}
        self._numbers: dict[str, int] = {}
        self._followed: set[int] = set()
        self._last = 0
        self._guilty: dict[int, Verdict] = {}
        self._ticks, self._stalled = 0, 0.0
        self._since = time.monotonic()
        with ExitStack() as ours, ExitStack() as closing:
            shared = board.create()
            closing.callback(os.close, shared)
            self._board = board.view(shared)
            reports, theirs = socket.socketpair()
            closing.callback(theirs.close)
            self._logs = Channel(asyncio.get_running_loop(), reports, self._take_report)
            ours.callback(self._logs.close)
            self._process = Process(
                ["async", theirs.fileno(), shared],
                setting,
                warden,
                fds=(theirs.fileno(), shared),
                stdout=2,
                stderr=None,
                on_message=self._take,
                on_exit=self._exited,
            )
            ours.pop_all()

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def is_blocked(self) -> bool:
        return self._stalled >= BLOCKED

    @property
    def stubborn(self) -> str | None:
        """The name of a call that was told to stop and goes on; all that runs here will be lost if it does not end."""
        started, late = self._board[STARTED], time.monotonic() + self._setting.cancel_grace - STUBBORN
        return next(
            (
                running.call.name
                for number, running in self._running.items()
                if running.deadline is not None and running.deadline < late and number <= started
            ),
            None,
        )

    @property
    def blocker(self) -> str | None:
        """The name of the call whose code runs at this moment."""
        running = self._running.get(self._board[CURRENT])
        return running.call.name if running else None

    def submit(self, calls: Sequence[Call]) -> None:
        now = time.monotonic()
        for first in range(0, len(calls), BATCH):
            rows = []
            for call in calls[first : first + BATCH]:
                self._last += 1
                self._running[self._last] = running = _Running(call, now)
                self._numbers[call.id] = self._last
                if call.timeout is not None:
                    running.deadline = now + call.timeout + self._setting.cancel_grace + SLACK
                    running.verdict = _did_not_stop(timed_out(call.timeout), "timed out", LATE)
                if call.follow:
                    self._followed.add(self._last)
                rows.append(call_row(self._last, call))
            self._process.send(["calls", rows])

    def cancel(self, call_id: str, why: str) -> None:
        number = self._numbers.get(call_id)
        if number is not None:
            running = self._running[number]
            running.asked, running.deadline = why, time.monotonic() + self._setting.cancel_grace
            running.verdict = _did_not_stop(why, "was cancelled")
            self._process.send(["cancel", number, why])

    def follow(self, call_id: str, is_wanted: bool) -> None:
        """Hand on what a call prints from now on, or no more."""
        number = self._numbers.get(call_id)
        if number is not None and (running := self._running[number]).call.follow != is_wanted:
            running.call = running.call._replace(follow=is_wanted)
            (self._followed.add if is_wanted else self._followed.discard)(number)
            self._process.send(["follow", number, is_wanted])

    def retire(self) -> None:
        """Let it end once nothing runs in it any more."""
        if not self.is_retired:
            self.is_retired = True
            self._since = time.monotonic()
            self._process.send(["end"])

    def stop(self, why: str) -> None:
        """Kill it; all that runs in it has failed with `why`."""
        self._kill({number: Verdict(why, why) for number in self._running})

    def reclaim(self) -> list[Call]:
        """Take back the calls that a blocked loop has not started; they will never start here."""
        if not self._process.is_running or not self._running:
            return []
        back: list[Call] = []
        if self._process.freeze():  # else it might start one between our reading and our writing
            started = self._board[STARTED]
            self._board[REVOKED] = started + 1
            back = self._not_begun(started)
        self._process.thaw()
        return back

    def check(self, elapsed: float) -> None:
        """Kill it where that is the only way to stop something. `elapsed`: seconds since the last check."""
        now, ticks = time.monotonic(), self._board[TICKS]
        is_still = self.is_ready and ticks == self._ticks and self._running
        self._stalled = self._stalled + elapsed if is_still else 0.0
        self._ticks = ticks
        if not self.is_ready and now - self._since > START_WITHIN:
            self._process.kill()
        elif self.is_retired and not self._running:
            if now - self._since > self._setting.cancel_grace:
                self._process.kill()
        elif overdue := self._overdue(now):
            self._kill(overdue)
        elif len(self._running) > 1 and self._stalled >= self._patience():
            self._kill({self._board[CURRENT]: Verdict(BLOCKS, ", which blocked the event loop")})

    def _patience(self) -> float:
        """How long a loop may stand still that others share; longer where no task's code is what holds it up."""
        patience = max(self._setting.cancel_grace, 2 * BLOCKED)
        return patience if self.blocker else 6 * patience

    def _overdue(self, now: float) -> dict[int, Verdict]:
        started = self._board[STARTED]
        return {
            number: running.verdict
            for number, running in self._running.items()
            if running.deadline is not None and running.deadline < now and number <= started
        }

    def _kill(self, guilty: dict[int, Verdict]) -> None:
        if self._process.is_running:  # else it has ended by itself, and what it started is being ended
            self._guilty = guilty
            self._process.kill()

    def _take(self, message: list[Any]) -> None:
        kind = message[0]
        if kind == "done":
            if self._followed:
                self._logs.drain()  # what they printed last comes before what became of them
            self._finish(message[1])
        elif kind == "left":
            self._listener.on_left(self, message[1])
        elif kind == "importing":
            self.importing = message[1]
        elif kind == "hello":
            self.is_ready = True
            self._listener.on_hello(self, message[1], message[2])

    def _finish(self, rows: list[list[Any]]) -> None:
        running = self._running
        self._listener.on_done([(self._forget(row[0]).call.id, outcome_from(row)) for row in rows if row[0] in running])

    def _take_report(self, message: list[Any]) -> None:
        kind, rows = message
        if kind == "done":  # the loop is blocked: what had finished before has finished
            self._finish(rows)
            return
        for number, *said in rows:
            running = self._running.get(number)
            if running is None:
                continue
            if kind == "logs":
                running.log = said[0]
            elif kind == "progress":
                self._listener.on_progress(running.call.id, *said)
            elif running.call.follow:
                self._listener.on_output(running.call.id, *said)

    def _forget(self, number: int) -> _Running:
        running = self._running.pop(number)
        del self._numbers[running.call.id]
        if self._followed:
            self._followed.discard(number)
        if self.is_retired:
            self._since = time.monotonic()
        return running

    def _not_begun(self, started: int) -> list[Call]:
        """Let go of the calls after the last that started, to begin elsewhere, save what was cancelled meanwhile."""
        unbegun = [self._forget(number) for number in list(self._running) if number > started]
        if over := [(one.call.id, failed(one.asked, is_started=False)) for one in unbegun if one.asked]:
            self._listener.on_done(over)
        return [one.call for one in unbegun if not one.asked]

    def _exited(self, how: str) -> None:
        self._logs.drain()
        self._logs.close()
        started, current = self._board[STARTED], self._board[CURRENT]
        if not self._guilty and current in self._running:
            self._guilty = {current: Verdict(f"its process {how}", f": it {how}")}
        names = ", ".join(sorted({self._running[n].call.name for n in self._guilty if n in self._running}))
        whose = next(iter(self._guilty.values()), None)
        lost = (
            f"its process was lost through {names or 'a task in it'}{whose.others}" if whose else f"its process {how}"
        )
        back, outcomes = self._not_begun(started), []
        for number in list(self._running):
            running = self._forget(number)
            own = self._guilty.get(number, Verdict(lost, ""))
            outcomes.append((running.call.id, failed(own.own, since=running.since, log=running.log, kinds=own.kinds)))
        if outcomes:
            self._listener.on_done(outcomes)
        self._board.release()
        self._listener.on_lost(self, back, how)


def _did_not_stop(what: str, others: str, kinds: tuple[str, ...] = ()) -> Verdict:
    return Verdict(did_not_stop(what), f", which {others} and did not stop", kinds)
