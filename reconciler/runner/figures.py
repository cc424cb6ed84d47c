"""What a runner counts of itself: plain numbers, cheap to keep, for whoever asks how it is doing.

Knows nothing of who reads them, nor in what form. Counted in batches, so a run costs next to nothing here.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reconciler.runner.cutoff import Outages
from reconciler.spec.by_digest import known_spec

LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
DURATIONS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)


class Spread:
    """How values are spread: `counts` says how many are at most each of `bounds`, the last one: how many are beyond."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Figures:
    """The counts of one runner since its start. `ticked` tells when its control loop ticked last (monotonic, or 0)."""

    def __init__(self, outages: Outages, ticked: Callable[[], float]) -> None:
        self._outages = outages
        self._ticked = ticked
        self.lags: dict[str, Spread] = {}  # by queue: seconds from the instant to the start of what came on time
        self.durations: dict[str, Spread] = {}  # by task function, seconds
        self.outcomes: Counter[tuple[str, str, str]] = Counter()  # by task function, queue, and what became of it
        self.skipped: Counter[str] = Counter()  # instants decided against, by reason
        self.decided = Spread(SIZES)  # occurrences in one decision
        self.written = Spread(SIZES)  # rows in one statement

    def finished(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Final rows that were just written, as column values."""
        self.written.add(len(records))
        for record in records:
            task, queue, started_at = record["task"], _queue(record["digest"]), record["started_at"]
            self.outcomes[task, queue, "succeeded" if record["is_success"] else "failed"] += 1
            spread = self.durations.get(task) or self.durations.setdefault(task, Spread(DURATIONS))
            spread.add((record["finished_at"] - started_at).total_seconds())
            if record["trigger"] == "schedule" and not record["attempts"]:
                lag = self.lags.get(queue) or self.lags.setdefault(queue, Spread(LAGS))
                lag.add(max(0.0, (started_at - record["scheduled_for"]).total_seconds()))

    def looked(self, fires: int, skipped: Mapping[str, int]) -> None:
        """One decision: how many occurrences fire in it, and how many are skipped, by reason."""
        if fires:
            self.decided.add(fires)
        self.skipped.update(skipped)

    @property
    def beats(self) -> int:
        """Beats that came through."""
        return self._outages.times["beats", True]

    @property
    def store_errors(self) -> dict[str, int]:
        """How often a store did not answer or refused, by the part that it hurt."""
        return {part: count for (part, is_good), count in self._outages.times.items() if not is_good}

    @property
    def beat_age(self) -> float | None:
        """Seconds since a beat came through; None: none has yet."""
        at = self._outages.worked_at("beats")
        return None if at is None else time.monotonic() - at

    @property
    def control_age(self) -> float | None:
        """Seconds since the control loop ticked; None: it has not begun."""
        return time.monotonic() - self._ticked() if self._ticked() else None


def _queue(digest: str) -> str:
    spec = known_spec(digest)
    return spec.queue if spec else "unknown"
