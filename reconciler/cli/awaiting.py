"""Waiting for one occurrence: what it prints as it comes, and its result in the end.

The log comes over Redis, which may lose some of it; the final row has all of it, and what was not shown is shown then.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from reconciler.cli.output import line, note, utc
from reconciler.cli.standing import progress_words
from reconciler.durations import span
from reconciler.errors import ReconcilerError, StoreUnavailable
from reconciler.lines import first_line

if TYPE_CHECKING:
    from reconciler.db.executions import TaskExecution
    from reconciler.db.link import Link
    from reconciler.db.pending import Pending
    from reconciler.scheduler import SchedulerService

POLL, PATIENT_POLL = 0.1, 0.3
# A change of progress is told so often at most; seconds.
PROGRESS_EVERY = 2.0
# As much of what was shown is kept, to find its end in the log of the final row.
KEPT = 200_000
# The end of an error is often what to do; a line of the terminal may wrap.
LONGEST = 400


class Shown:
    """What of a run's output has been shown, on stderr; nothing is shown twice."""

    def __init__(self) -> None:
        self._text = ""
        self._next = 0  # a piece that begins before this has been shown
        self._is_line_open = False

    def hear(self, offset: int, text: str) -> None:
        """Show a piece that begins `offset` characters into the output; one at 0 begins another attempt."""
        if offset == 0:
            self._text, self._next = "", 0
        if offset < self._next or not text:
            return
        self._next = offset + 1  # a masked piece is not as long as what was printed
        self._text = (self._text + text)[-KEPT:]
        self._show(text)

    def finish(self, log: str) -> None:
        """Show what the whole log of the last attempt has beyond it."""
        self._show(rest_of(log, self._text))
        self.end_line()

    def end_line(self) -> None:
        if self._is_line_open:
            note("")
        self._is_line_open = False

    def _show(self, text: str) -> None:
        if text:
            click.echo(text, nl=False, err=True)
            self._is_line_open = not text.endswith("\n")


def rest_of(log: str, shown: str) -> str:
    """What of the log comes after what was shown; where pieces were lost, after the last of it that the log has."""
    if log.startswith(shown):
        return log[len(shown) :]
    last_line = "".join(shown.splitlines(keepends=True)[-1:])
    for end in (shown[-4_096:], shown[-512:], shown[-64:], last_line):
        place = log.rfind(end)
        if place >= 0:
            return log[place + len(end) :]
    # What was shown is of an attempt before this one.
    return log


class Waiting:
    """One occurrence that somebody waits for."""

    def __init__(self, link: Link, scheduler: SchedulerService, verb: str, name: str, moment: datetime) -> None:
        self._link = link
        self._scheduler = scheduler
        self._verb, self._name, self._moment = verb, name, moment
        self._shown = Shown()
        self._last: Pending | None = None
        self._progress: object = None
        self._progress_at = 0.0

    async def result(self, timeout: timedelta | None) -> TaskExecution:
        """Its final row. ReconcilerError: it is not there after `timeout`, or is never going to be."""
        listening = asyncio.create_task(self._listen())
        try:
            async with asyncio.timeout(timeout.total_seconds() if timeout else None):
                await self._wake(listening)
                found = await self._row()
        except TimeoutError:
            self._shown.end_line()
            raise ReconcilerError(
                f"{self._verb}: {self._name}: no result after {span(timeout or timedelta())}: {self._state()}: "
                f"reconciler status {self._name}"
            ) from None
        except asyncio.CancelledError:
            self._shown.end_line()
            note(f"{self._name}: {self._state()}; end it: reconciler cancel {self._name} {utc(self._moment)}")
            raise
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
        self._shown.finish(found.log or "")
        return found

    async def _wake(self, listening: asyncio.Task[None]) -> None:
        # The ear first: what a quick task prints is over soon after the wake.
        await asyncio.wait([listening], timeout=0.05)
        try:
            await self._scheduler.wake()
        except StoreUnavailable as error:
            note(f"Redis is away: the log is shown at the end, runners look by themselves each second: {error}")

    async def _listen(self) -> None:
        with suppress(StoreUnavailable):
            async for offset, text in self._scheduler.logs(self._name, self._moment):
                self._shown.hear(offset, text)

    async def _row(self) -> TaskExecution:
        from reconciler.db import executions, pending

        polls, is_away = 0, False
        while True:
            try:
                claim = await pending.claim(self._link, self._name, self._moment)
                found = None if claim else await executions.one(self._link, self._name, self._moment)
                if found is not None:
                    return found
                if claim is None:
                    raise await self._never()
                self._tell(claim)
                is_away = False
            except StoreUnavailable as error:
                if not is_away:
                    self._note(f"{error}; waiting until it answers")
                is_away = True
            polls += 1
            await asyncio.sleep(POLL if polls < 50 else PATIENT_POLL)

    async def _never(self) -> ReconcilerError:
        from reconciler.db import pending

        why = await pending.skipped(self._link, self._name, self._moment)
        text = (why[1] or why[0]) if why else "it is not there any more"
        return ReconcilerError(f"{self._verb}: {self._name}: did not run: {text}")

    def _tell(self, claim: Pending) -> None:
        """Say what has changed since the last look."""
        last, self._last = self._last, claim
        if last is not None and len(claim.attempts) > len(last.attempts):
            error = first_line(str(claim.attempts[-1].get("error")), LONGEST)
            again = "" if claim.is_owned else f"; the next one not before {utc(claim.not_before)}"
            self._note(f"attempt {len(claim.attempts)} failed: {error}{again}")
        if claim.is_owned and (last is None or not last.is_owned):
            self._note(f"started: on {claim.runner or 'a runner'}")
        now = asyncio.get_running_loop().time()
        if claim.progress and claim.progress != self._progress and now >= self._progress_at:
            self._progress, self._progress_at = claim.progress, now + PROGRESS_EVERY
            self._note(progress_words(claim.progress))

    def _note(self, text: str) -> None:
        self._shown.end_line()
        note(text)

    def _state(self) -> str:
        if self._last is None or not self._last.is_owned:
            return "it stays queued"
        return "it goes on running"


def tell(result: TaskExecution) -> None:
    """The result in a line, and where to read more of a failure."""
    took = span(result.finished_at - result.started_at)
    if result.is_success:
        line(f"✓ {result.name} succeeded in {took}")
    else:
        line(f"✗ {result.name} failed after {took}: {first_line(result.error, LONGEST)}")
        note(f"its log: reconciler logs {result.name} {utc(result.scheduled_for)}")


async def waited_for(
    link: Link, scheduler: SchedulerService, verb: str, name: str, moment: datetime, timeout: timedelta | None
) -> TaskExecution:
    """Wake the runners, show what the run prints, and return its final row."""
    return await Waiting(link, scheduler, verb, name, moment).result(timeout)
