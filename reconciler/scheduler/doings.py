"""Is what differs in Redis somebody's doing, or a runner at work? A rule on values, with both sides in the answer.

A runner decides in PostgreSQL first and moves on in Redis after it, so a look at both may find either one behind. What
no runner and no clock can have brought about, somebody did by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isnan
from typing import Final

from reconciler.scheduler.differences import LONGEST_HOLD, Kept, kept_as
from reconciler.scheduler.entries import Entry, milliseconds, milliseconds_after, moment

# field -> (what should be there, what is there), as text; None: nothing.
Fields = dict[str, tuple[str | None, str | None]]
SAID: Final = ("state", "queue", "digest", "reason", "until")
LONGEST: Final = 200
# Clocks that agree about when a pause ends agree only so far.
CLOSE: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Sides:
    """A config that Redis keeps otherwise than it should.

    `entry`: what it should be by what PostgreSQL said before the look at Redis; `again`: by what it said after that;
    `through`: its cursor then. `is_touched`: since the last alignment it was paused or resumed.
    """

    found: Kept
    entry: Entry
    again: Entry
    through: datetime | None
    is_touched: bool = False


def by_hand(one: Sides, now: datetime) -> Fields:
    """What somebody changed in Redis; nothing where a runner, a pause or the clock explains it."""
    wanted, found = kept_as(one.again), one.found
    if one.is_touched or _ends_a_pause(one, now):
        return {}
    if found.is_gone:
        return {"entry": (wanted.state, None)}
    fields: Fields = {
        field: (getattr(wanted, field) or None, getattr(found, field) or None)
        for field in SAID
        if getattr(wanted, field) != getattr(found, field)
    }
    if not _is_behind(one, wanted, now):
        if not _is_instant_explained(one, wanted):
            fields["next_run"] = wanted.next_run, found.next_run
        if bool(wanted.score) != bool(found.score) or _is_too_late(wanted, found, now):
            fields["score"] = wanted.score, found.score
    return {field: (_shown(field, expected), _shown(field, there)) for field, (expected, there) in fields.items()}


def _ends_a_pause(one: Sides, now: datetime) -> bool:
    """Whether a pause has just ended, or ends now, and only one of the two sides knows."""
    found, wanted = one.found, one.again
    if found.state == "paused" and wanted.state == "active":
        until = _number(found.until)
        return until is not None and until <= int(milliseconds(now + CLOSE))
    return found.state == "active" and wanted.state == "paused" and bool(wanted.until and wanted.until <= now + CLOSE)


def _is_behind(one: Sides, wanted: Kept, now: datetime) -> bool:
    """Whether Redis names an instant that is decided: a runner has taken it and is about to move on, or is due to."""
    found, score = _number(one.found.next_run), _number(one.found.score)
    if found is None or score is None or one.through is None or found > int(milliseconds(one.through)):
        return False
    is_held = score <= int(milliseconds_after(now + LONGEST_HOLD)) and one.found.score != wanted.score
    return score <= int(milliseconds(now)) or is_held


def _is_instant_explained(one: Sides, wanted: Kept) -> bool:
    """Whether the instant is the one that should be there, or was, or came between the two looks at PostgreSQL."""
    before, found, after = milliseconds(one.entry.next_run), one.found.next_run, wanted.next_run
    if found in (before, after):
        return True
    numbers = [_number(text) for text in (before, found, after)]
    return None not in numbers and numbers == sorted(numbers, key=lambda number: number or 0)


def _is_too_late(wanted: Kept, found: Kept, now: datetime) -> bool:
    if not wanted.score or not found.score:
        return False
    return float(found.score) > max(int(wanted.score), int(milliseconds_after(now + LONGEST_HOLD)))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if isnan(number) else number


def _shown(field: str, text: str | None) -> str | None:
    number = _number(text or "") if field in ("next_run", "until", "score") else None
    if number is not None:
        return moment(text or "").isoformat()
    # Whatever somebody wrote there has to fit into PostgreSQL.
    return text[:LONGEST].replace("\0", "\ufffd") if text else None
