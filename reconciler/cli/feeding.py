"""Feeding waiting work in, a few at a time, and telling how it goes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from reconciler.cli.output import Format, is_terminal, line, note, utc
from reconciler.durations import span
from reconciler.errors import StoreUnavailable
from reconciler.lines import first_line

if TYPE_CHECKING:
    from reconciler.db.executions import TaskExecution
    from reconciler.db.link import Link
    from reconciler.scheduler import SchedulerService
    from reconciler.spec import TaskSpec

POLL, PATIENT_POLL = 0.05, 0.3
AWAY = 1.0
# After so many seconds without a start somebody wants to know why.
QUIET = 3.0
# To the beginning of the line, and what stood there goes.
AGAIN = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Fed:
    """What became of one: `nominal` is the instant it stands for, `scheduled_for` the key of its row."""

    nominal: datetime
    scheduled_for: datetime
    is_success: bool
    error: str | None


class Feeder:
    """Keeps up to `parallel` of a name waiting or running, until all have ended or one was cancelled by hand."""

    def __init__(
        self,
        link: Link,
        scheduler: SchedulerService,
        spec: TaskSpec,
        parallel: int,
        put: Callable[[datetime], Awaitable[datetime | None]],
        output: Format,
    ) -> None:
        self._link = link
        self._scheduler = scheduler
        self._spec = spec
        self._parallel = parallel
        self._put = put
        self._say = line if output == "table" else note
        self._under_way: dict[datetime, datetime] = {}
        self._done: list[Fed] = []
        self._total = 0
        self._elsewhere = 0
        self._is_stopped = False

    async def feed(self, todo: Sequence[datetime]) -> list[Fed]:
        """Run these, oldest first; returns what became of those that ended. What is interrupted goes on by itself."""
        self._total = len(todo)
        at_once = "one at a time" if self._parallel == 1 else f"up to {self._parallel} at a time"
        note(f"{self._spec.name}: {self._total:,} to run, {at_once}")
        rest = list(reversed(todo))
        try:
            await self._until_done(rest)
        except asyncio.CancelledError:
            self._clear()
            going = f"{len(self._under_way)} go on by themselves; " if self._under_way else ""
            note(
                f"interrupted: {len(self._done):,} of {self._total:,} ended; {going}give the same command for the rest"
            )
            raise
        self._clear()
        if self._elsewhere:
            note(f"{self._elsewhere:,} were run by somebody else meanwhile")
        return self._done

    async def _until_done(self, rest: list[datetime]) -> None:
        loop = asyncio.get_running_loop()
        stirred = loop.time()
        is_told = False
        while self._under_way or (rest and not self._is_stopped):
            try:
                has_moved = await self._fill_up(rest) | await self._collect()
            except StoreUnavailable as error:
                self._clear()
                note(f"{error}; waiting until it answers")
                await asyncio.sleep(AWAY)
                continue
            if has_moved:
                stirred, is_told = loop.time(), False
            is_quiet = loop.time() - stirred > QUIET
            if is_quiet and not is_told:
                is_told = True
                await self._tell_why()
            self._show()
            await asyncio.sleep(PATIENT_POLL if is_quiet else POLL)

    async def _fill_up(self, rest: list[datetime]) -> bool:
        before = len(self._under_way)
        while rest and not self._is_stopped and len(self._under_way) < self._parallel:
            nominal = rest[-1]
            key = await self._put(nominal)
            rest.pop()  # only now: a store that went away costs none
            if key is None:
                self._elsewhere += 1
                self._total -= 1
            else:
                self._under_way[key] = nominal
        if len(self._under_way) == before:
            return False
        with suppress(StoreUnavailable):  # runners look by themselves, too
            await self._scheduler.wake()
        return True

    async def _collect(self) -> bool:
        from reconciler.db import filling

        keys = list(self._under_way)
        waiting, ended = await filling.became(self._link, self._spec.name, keys)
        for key in keys:
            if key in ended:
                self._end(key, ended[key])
            elif key not in waiting:
                # Somebody cancelled it: hardly only to see the next one begin.
                nominal = self._under_way.pop(key)
                self._is_stopped = True
                self._clear()
                note(f"{utc(nominal)} was cancelled by hand before it began: the rest is not begun")
        return bool(ended)

    def _end(self, key: datetime, row: TaskExecution) -> None:
        nominal = self._under_way.pop(key)
        self._done.append(Fed(nominal, key, row.is_success, row.error))
        took = span(row.finished_at - row.started_at)
        place = f"{len(self._done):,}/{self._total:,}  {utc(nominal)}"
        if not row.is_success:
            self._clear()
            self._say(f"{place}  ✗ in {took}: {first_line(row.error, 160)}")
        elif not is_terminal():
            self._say(f"{place}  ✓ in {took}")

    async def _tell_why(self) -> None:
        """What it is that nothing begins."""
        from reconciler.cli import asking
        from reconciler.db import pending

        claims = await pending.claims_of(self._link, self._spec.name)
        other = next((one for one in claims if one.holds and one.scheduled_for not in self._under_way), None)
        if other is not None and not any(one.is_owned and one.scheduled_for in self._under_way for one in claims):
            self._clear()
            note(f"waits: {asking.holding(other, await asking.clock(self._link))}")

    def _show(self) -> None:
        """One line that is written over, where a person looks on."""
        if not sys.stderr.isatty():
            return
        failed = sum(not one.is_success for one in self._done)
        now = ", ".join(utc(nominal) for nominal in list(self._under_way.values())[:3])
        text = f"{len(self._done):,} of {self._total:,} done, {failed:,} failed; now {now or '-'}"
        click.echo(AGAIN + text, nl=False, err=True)

    def _clear(self) -> None:
        if sys.stderr.isatty():
            click.echo(AGAIN, nl=False, err=True)
