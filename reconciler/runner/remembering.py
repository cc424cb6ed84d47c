"""Cursors that this runner set itself last: what it need not ask PostgreSQL again before it decides more.

Only a hint. Redis must still say what it said then, and the statement that decides refuses what was overtaken.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from reconciler.db.cursors import Sighted
from reconciler.scheduler import Due

# Configs; beyond, all are forgotten, and seen again when they come due.
MOST = 200_000


class Remembered:
    """By config: as it was when its cursor was set, and the instant that comes next."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Sighted, datetime]] = {}

    def recall(self, item: Due) -> Sighted | None:
        """What was kept of this config, if it is due for just the instant that was to come next."""
        row, next_run = self._known.get(item.config_id, (None, None))
        return row if row is not None and next_run == item.next_run and row.digest == item.digest else None

    def keep(self, row: Sighted, through: datetime, next_run: datetime | None) -> None:
        """Its cursor is at `through` now. What had a pause on the way is seen anew next time."""
        if next_run is None or row.pauses:
            self._known.pop(row.config_id, None)
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[row.config_id] = Sighted(row.config_id, row.name, row.digest, row.revision, through, ()), next_run

    def forget(self, items: Iterable[Due]) -> None:
        """These have been overtaken."""
        for item in items:
            self._known.pop(item.config_id, None)
