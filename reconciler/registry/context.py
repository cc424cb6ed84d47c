"""What a task is told about its run, and what it may say back: how far it is, and that it wants to be tried later."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

LONGEST_TEXT = 1000  # more than is shown: what is secret in it is masked before it is cut
LONGEST_DELAY = 366 * 24 * 3600.0


class RetryAfter(Exception):
    """Raised by a task: this attempt failed, and the next one should come in `delay`, not after the usual back-off.

    `delay` is in seconds, a timedelta, or the aware moment of the next attempt; at most 366 days. It needs an attempt
    that is left, as any other failure does.
    """

    def __init__(self, delay: float | timedelta | datetime, why: str = "") -> None:
        self.delay = _checked_delay(delay)
        self.why = str(why)
        super().__init__(self.why or f"again {_worded(delay)}")

    def __reduce__(self) -> tuple[Any, ...]:  # it may come out of a pool of processes
        return type(self), (self.delay, self.why)

    def seconds(self, now: datetime) -> float:
        """How long to wait from `now`; 0 where that moment is past."""
        if isinstance(self.delay, datetime):
            return min(max((self.delay - now).total_seconds(), 0.0), LONGEST_DELAY)
        return self.delay


class Signs:
    """What goes between a running call and who watches it: how far it is, and that it should stop.

    `ends_at` is the monotonic moment at which its time is over. `was_told` says whether the task has read that it
    should stop.
    """

    __slots__ = ("_is_asked_to_stop", "ends_at", "progress", "was_told")

    def __init__(self, ends_at: float | None = None) -> None:
        self.ends_at = ends_at
        self.progress: tuple[float, str] | None = None
        self.was_told = self._is_asked_to_stop = False

    def ask_to_stop(self) -> None:
        self._is_asked_to_stop = True

    def should_stop(self) -> bool:
        return self._is_asked_to_stop or (self.ends_at is not None and time.monotonic() >= self.ends_at)

    def report(self, fraction: float, text: str) -> None:
        """Only the newest is kept: whoever watches looks when it suits them."""
        self.progress = fraction, text


@dataclass
class TaskContext:
    """What a task may ask about its own run: a parameter of this type, or one called `ctx` or `context`.

    `last_success` is the instant of the newest successful run of this spec, `last_result` what that returned. `token`
    is this attempt's own; the final row of an occurrence keeps that of its last.
    """

    name: str
    scheduled_for: datetime
    started_at: datetime
    attempt: int
    trigger: str
    idempotency_key: str
    revision: str | None
    logger: logging.Logger
    params: dict[str, Any] = field(default_factory=dict)
    last_success: datetime | None = None
    last_result: Any = None
    token: str = ""
    signs: Signs = field(default_factory=Signs, repr=False, compare=False)

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the run is, from 0 to 1, as often as you like; TypeError or ValueError for anything else."""
        self.signs.report(_checked_fraction(fraction), _checked_text(text)[:LONGEST_TEXT])

    @property
    def cancelled(self) -> bool:
        """Whether it should stop: it was cancelled, or its time is over."""
        if not self.signs.should_stop():
            return False
        self.signs.was_told = True
        return True


def _checked_fraction(fraction: float) -> float:
    if isinstance(fraction, str | bytes | bool) or not hasattr(fraction, "__float__"):
        raise TypeError(f"progress: {fraction!r} is not a number; it goes from 0 to 1, as in 0.4")
    value = float(fraction)
    if not 0 <= value <= 1:  # NaN is not either
        raise ValueError(f"progress: {fraction!r} is not from 0 to 1; divide what is done by all there is")
    return value


def _checked_text(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"progress: the text {text!r} is of type {type(text).__name__}; it has to be str")
    return text


def _checked_delay(delay: float | timedelta | datetime) -> float | datetime:
    if isinstance(delay, datetime):
        if delay.tzinfo is None:
            raise ValueError(f"RetryAfter: {delay.isoformat()} has no time zone; use datetime.now(UTC) + …")
        return delay.astimezone(UTC)
    if isinstance(delay, timedelta):
        delay = delay.total_seconds()
    elif isinstance(delay, bool) or not isinstance(delay, int | float):
        raise TypeError(f"RetryAfter: {delay!r} is not a delay; give seconds, a timedelta or a moment")
    if not 0 <= delay <= LONGEST_DELAY or math.isnan(delay):
        raise ValueError(f"RetryAfter: {delay!r} seconds is not from 0 to 366 days")
    return float(delay)


def _worded(delay: float | timedelta | datetime) -> str:
    if isinstance(delay, datetime):
        return f"at {delay.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"in {delay}" if isinstance(delay, timedelta) else f"in {delay:g} s"
