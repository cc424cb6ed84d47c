"""Names that are busy here: what comes due of them needs no slot, for it is skipped, waits, or replaces what runs.

Without this a run that holds the last slot would keep its own successor from being judged.
"""

from __future__ import annotations

from datetime import datetime

from reconciler.db import cursors
from reconciler.db.link import Link
from reconciler.runner.running import Running
from reconciler.scheduler import Due, SchedulerService


def busy_names(running: Running) -> set[str]:
    """Names of which a run is under way here that has none beside it."""
    return {run.claim.name for run in running.runs.values() if run.claim.exclusive}


async def due_of_busy(link: Link, scheduler: SchedulerService, running: Running, now: datetime) -> list[Due]:
    """What is due by `now` of busy names, without taking it from anybody."""
    names = set()
    for run in running.runs.values():
        schedule = run.spec.when() if run.claim.exclusive else None
        following = schedule.next_after(run.claim.scheduled_for) if schedule else None
        if following is not None and following <= now:
            names.add(run.claim.name)
    if not names:
        return []
    known = await scheduler.status(await cursors.ids_of(link, sorted(names)))
    return [
        Due(config_id, one["queue"], one["next_run"], one["digest"], one["wake_at"])
        for config_id, one in known.items()
        if one["state"] == "active" and one["next_run"] and one["digest"] and one["wake_at"] and one["wake_at"] <= now
    ]
