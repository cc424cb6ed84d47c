"""What one look comes to before anything is written, and how a decision reads as rows: values, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from reconciler.db.claimrows import Claim, Move, Wanted
from reconciler.db.cursors import Sighted
from reconciler.occurrences import Decision, Fire, Skip, wake_at
from reconciler.runner.running import Run
from reconciler.scheduler import Advance, Due
from reconciler.spec import TaskSpec


@dataclass(slots=True)
class Batch:
    """What a look comes to, before anything is written; `free` is the slots it has left, by kind.

    What finds none of them free is offered again at `no_slot_until`.
    """

    free: dict[bool, int]
    no_slot_until: datetime
    busy: set[str]  # names that are under way here
    remembered: set[int] = field(default_factory=set)  # ids of configs whose cursors were not asked for
    moves: list[Move] = field(default_factory=list)
    fires: list[Wanted] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)  # of those fires, the ones that start at once if they are won
    skips: list[Skip] = field(default_factory=list)
    items: dict[str, Due] = field(default_factory=dict)
    rows: dict[str, Sighted] = field(default_factory=dict)  # as the moves were decided from
    advances: dict[str, Advance] = field(default_factory=dict)
    returns: dict[datetime, list[Due]] = field(default_factory=dict)
    crowded: list[Due] = field(default_factory=list)  # for the next look, which follows at once
    stale: set[str] = field(default_factory=set)
    is_waiting: bool = False
    is_asked: bool = False


def advance_of(item: Due, spec: TaskSpec, decision: Decision) -> Advance:
    following = decision.next_run
    wake = wake_at(spec, following) if following else None
    return Advance(item.config_id, item.queue, item.digest, item.next_run, following, wake)


def wanted_of(row: Sighted, spec: TaskSpec, fire: Fire, has_to_wait: bool) -> Wanted:
    return Wanted(
        row.name,
        fire.scheduled_for,
        spec.task,
        uuid4(),
        spec.queue,
        spec.priority,
        fire.trigger,
        spec.overlap != "allow",
        fire.turn,
        fire.start_by,
        spec.overlap,
        waits=has_to_wait or fire.waits,
        is_backlog=fire.waits,
    )


def claim_of(row: Sighted, wanted: Wanted) -> Claim:
    name, scheduled_for, task, token, queue, priority, trigger, exclusive, *_ = wanted
    return Claim(
        name,
        scheduled_for,
        task,
        token,
        queue,
        priority,
        attempts=[],
        params=None,
        trigger=trigger,
        replays=None,
        digest=row.digest,
        exclusive=exclusive,
        started_at=None,
        revision=row.revision,
    )
