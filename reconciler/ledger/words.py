"""How moments, people and commits are said in a verdict: short where the reader already knows the day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from reconciler.ledger.evidence import Removal, Revision
from reconciler.lines import first_line

LONGEST_ERROR = 200
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Words:
    """Moments on the clocks of `zone`, without the day where it is that of `near`."""

    zone: str
    near: datetime

    def at(self, moment: datetime) -> str:
        """`03:00`, `03:00:12`, or `2026-01-02 03:00` on another day."""
        return self._said(moment, "%H:%M:%S" if moment.replace(microsecond=0).second else "%H:%M")

    def instant(self, moment: datetime) -> str:
        """The same for an instant that has to be told from its neighbours: `12:00:01.123`."""
        text = self.at(moment)
        if not moment.microsecond:
            return text
        return f"{text}{'' if moment.second else ':00'}.{moment.microsecond // 1000:03d}"

    def between(self, since: datetime, until: datetime | None) -> str:
        """`from 01:50 to 04:00`; `since 01:50` where there is no end."""
        return f"since {self.at(since)}" if until is None else f"from {self.at(since)} to {self.at(until)}"

    def _said(self, moment: datetime, clock: str) -> str:
        local, near = moment.astimezone(ZoneInfo(self.zone)), self.near.astimezone(ZoneInfo(self.zone))
        day = "" if local.date() == near.date() else f"{local:%Y-%m-%d} "
        # In an hour that the clock says twice only the offset tells which is meant.
        is_twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
        return day + local.strftime(clock + ("%z" if is_twice else ""))


def change(of: Revision | Removal, words: Words, moment: datetime) -> str:
    """`commit 1a2b3c4 (Ada: 'later')`; without a commit who applied it, and when."""
    if of.commit:
        commit, dash, dirty = of.commit.partition("-")
        author = (of.author or "").partition("<")[0].strip()
        subject = f"'{of.subject}'" if of.subject else ""
        said = ": ".join(filter(None, (author, subject)))
        return f"commit {commit[:7]}{dash}{dirty}" + (f" ({said})" if said else "")
    by = f" by {of.actor}" if of.actor else ""
    return f"the apply{by} at {words.at(moment)}"


def error(text: str | None) -> str:
    """The first line that says something."""
    return first_line(text, LONGEST_ERROR) or "no error was recorded"


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `11th`."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
