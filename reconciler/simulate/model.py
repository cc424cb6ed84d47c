"""What a simulation is told, and what comes out of it. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from reconciler.occurrences import Skip
from reconciler.spec import TaskSpec

# `slots`: every slot of its kind was taken; `queue`: as many of its queue ran as may; `overlap`: its name was busy.
Cause = Literal["slots", "queue", "overlap", "down"]
Ending = Literal["succeeded", "cut short", "replaced"]


@dataclass(frozen=True, slots=True)
class Job:
    """One spec, how long each of its runs takes, and whether it takes an async slot or a worker process."""

    spec: TaskSpec
    takes: timedelta
    is_async: bool = True


@dataclass(frozen=True, slots=True)
class Setup:
    """From `begin` until just before `end`, with so many slots of all runners together.

    `limits`: how many runs of a queue may be under way. In an outage nothing is decided and nothing starts; what runs
    goes on.
    """

    begin: datetime
    end: datetime
    async_slots: int = 100
    worker_slots: int = 2
    limits: Mapping[str, int] = field(default_factory=dict)
    outages: Sequence[tuple[datetime, datetime]] = ()

    def slots(self, is_async: bool) -> int:
        """How many runs of that kind may be under way."""
        return self.async_slots if is_async else self.worker_slots


@dataclass(slots=True)
class Ran:
    """One run. `due_at` is its instant with its jitter; `cause`: why it did not start then; it may end after `end`.

    Not frozen: a run that is replaced ends sooner than it was going to.
    """

    name: str
    scheduled_for: datetime
    trigger: str
    due_at: datetime
    started_at: datetime
    ended_at: datetime
    is_async: bool
    cause: Cause | None = None
    ending: Ending = "succeeded"

    @property
    def waited(self) -> timedelta:
        return self.started_at - self.due_at


@dataclass(frozen=True, slots=True)
class Unstarted:
    """What was due and had not started when the simulation ended."""

    name: str
    scheduled_for: datetime
    due_at: datetime
    is_async: bool
    cause: Cause


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every run in the order of its start, every skip in the order of its decision, and what still waits.

    `most_async`, `most_worker`: how many slots of a kind were taken at most.
    """

    ran: tuple[Ran, ...]
    skips: tuple[Skip, ...]
    unstarted: tuple[Unstarted, ...]
    most_async: int = 0
    most_worker: int = 0
