"""What time it is for a runner: a monotonic clock plus its distance to PostgreSQL's, so that a stepped clock of this
host neither fires early nor twice.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """PostgreSQL's time as far as this process knows it; the host's own until the first `set`."""

    def __init__(self) -> None:
        self._origin = datetime.now(UTC) - timedelta(seconds=time.monotonic())

    def now(self) -> datetime:
        return self.at(time.monotonic())

    def at(self, monotonic: float) -> datetime:
        """The moment at which the monotonic clock showed `monotonic` seconds."""
        return self._origin + timedelta(seconds=monotonic)

    def monotonic(self, moment: datetime) -> float:
        """What the monotonic clock showed at `moment`."""
        return (moment - self._origin).total_seconds()

    def set(self, server_now: datetime, asked: float, answered: float) -> None:
        """Take over a time that the server told between two monotonic readings.

        What is known already stays as far as that allows: a slow answer says little, and its middle may be far off.
        """
        earliest, latest = (server_now - timedelta(seconds=reading) for reading in (answered, asked))
        self._origin = min(max(self._origin, earliest), latest)
