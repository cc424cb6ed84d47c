"""How long does a source rest after an attempt that failed? A value for each source; it asks no clock.

The rest belongs to a revision and an error: the same again doubles it, up to the interval at which the source is looked
at anyway. A new revision or another error begins anew, so a fix is never kept waiting by the failures before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

FIRST: Final = timedelta(milliseconds=500)
# Errors of one revision that are told apart; whoever has more has them at random.
MOST: Final = 16
FIGURES: Final = re.compile(r"\d+(\.\d+)?")


@dataclass(slots=True)
class Backoff:
    """What failed so far, of one revision. `until`: before that nothing is tried by itself; None: nothing failed."""

    revision: str | None = None
    until: datetime | None = None
    _counts: dict[str, int] = field(default_factory=dict)

    def failed(self, revision: str | None, error: str, now: datetime, longest: timedelta) -> timedelta:
        """The rest after this failure. Figures in the error (seconds, ports, ids) do not make it another one."""
        if revision != self.revision:
            self.revision, self._counts = revision, {}
        kind = FIGURES.sub("0", error)
        if kind not in self._counts and len(self._counts) >= MOST:
            del self._counts[next(iter(self._counts))]
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        rest = min(longest, FIRST * (1 << min(count - 1, 20)))
        self.until = now + rest
        return rest

    def succeeded(self, revision: str | None) -> None:
        """Forget the failures: what comes next begins anew."""
        self.revision, self.until, self._counts = revision, None, {}

    def rest(self, now: datetime) -> timedelta:
        """What is left of it at `now`; nothing where nothing failed."""
        return max(timedelta(), self.until - now) if self.until else timedelta()
