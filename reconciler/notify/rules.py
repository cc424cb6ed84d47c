"""When does a silence deserve a word? Two rules, `missed` and `silence`: values in, an opening or nothing out.

They take `now` and read nothing. Whether somebody was told already, and whether it is over, is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from reconciler.db.incidents import Opening
from reconciler.db.watched import Success, Watched
from reconciler.durations import format_duration
from reconciler.occurrences import ON_TIME, TICK, Pause, Skip, wake_at
from reconciler.spec import TaskSpec

# A restart, a deployment or a short outage is over by then; beyond, somebody should know.
GRACE = ON_TIME + timedelta(seconds=30)
# Work that waits for a slot while runners are there is late, not lost: it is told of when it has waited this long.
BUSY = timedelta(minutes=10)


def overdue_at(spec: TaskSpec, through: datetime, pauses: Sequence[Pause] = ()) -> tuple[datetime, datetime] | None:
    """The first instant after `through` that should fire, and from when on it counts as missed while undecided.

    None where none is to come: no schedule, suspended, ended, or under a pause that has no end.
    """
    schedule = spec.when() if spec.is_scheduled else None
    first = schedule.next_after(through) if schedule else None
    ended = through
    while first is not None and schedule is not None:
        held = [pause for pause in pauses if pause.since <= first and (pause.until is None or first < pause.until)]
        if not held:
            break
        if any(pause.until is None for pause in held):
            return None
        ended = max(pause.until for pause in held if pause.until)
        first = schedule.next_after(ended - TICK)
    return (first, max(wake_at(spec, first), ended) + GRACE) if first is not None else None


def missed(row: Watched, spec: TaskSpec, overdue: tuple[datetime, datetime] | None, now: datetime) -> Opening | None:
    """What of this name was missed, or is about to be: the first that applies.

    Overdue and decided by nobody; won by a runner that is gone; waiting with nobody to run it; decided against
    because it came too late. The caller leaves out names that are paused or suspended now.
    """
    if overdue is not None and now >= overdue[1]:
        return _opening(row, overdue[0], f"was due at {_text(overdue[0])}, and no runner has decided it")
    if row.lost is not None and now >= (row.lost_seen or row.lost) + GRACE:
        seen = f"was last seen at {_text(row.lost_seen)}" if row.lost_seen else "is gone"
        return _opening(
            row, row.lost, f"hangs in the run of {_text(row.lost)}: its runner {seen}, and none took it over"
        )
    if row.waiting is not None and row.since is not None and not row.is_running:
        if not row.is_served and now >= row.since + GRACE:
            why = f"no runner takes queue '{spec.queue}' and has task '{spec.task}'"
            return _opening(row, row.waiting, f"waits with the run of {_text(row.waiting)}: {why}")
        if now >= row.since + BUSY:
            waited = format_duration(timedelta(minutes=(now - row.since) // timedelta(minutes=1)))
            return _opening(
                row, row.waiting, f"has waited {waited} for a free slot with the run of {_text(row.waiting)}"
            )
    return _opening(row, row.skip.last, _skipped(row.skip)) if row.skip else None


def silent_at(row: Watched, spec: TaskSpec, success: Success) -> datetime | None:
    """From when on a name has been silent for too long; None where nobody asks, or it is not to run now."""
    if spec.notify is None or spec.notify.no_success_for is None or spec.suspend is True:
        return None
    held = [at for at in (success.finished_at, success.suspended_until, success.paused_until) if at]
    began: datetime = max([row.created_at, *held])
    return began + spec.notify.no_success_for


def silence(row: Watched, spec: TaskSpec, success: Success, now: datetime) -> Opening | None:
    """Nothing has succeeded for as long as the spec allows: since the last success, or since there is this config."""
    at = silent_at(row, spec, success)
    if at is None or now < at or spec.notify is None or spec.notify.no_success_for is None:
        return None
    length = format_duration(spec.notify.no_success_for)
    last = f"the last was at {_text(success.finished_at)}" if success.finished_at else "it never did"
    return Opening(row.name, "silence", success.scheduled_for, f"has not succeeded for {length}: {last}")


def _opening(row: Watched, instant: datetime, detail: str) -> Opening:
    return Opening(row.name, "missed", instant, detail)


def _skipped(skip: Skip) -> str:
    if skip.first == skip.last:
        which = f"was skipped at {_text(skip.last)}"
    else:
        many = f"{skip.count} times" if skip.count else "each time"
        which = f"was skipped {many} from {_text(skip.first)} to {_text(skip.last)}"
    return f"{which}: {skip.detail or 'no runner was there in time'}"


def _text(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "never"
