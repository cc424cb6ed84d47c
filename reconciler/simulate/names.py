"""What is known of one name while it is simulated, and the work of all names that waits for its turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush

from reconciler.occurrences import TICK
from reconciler.overlap import Held
from reconciler.schedule import Schedule
from reconciler.simulate.model import Cause, Job, Ran
from reconciler.spec import TaskSpec


@dataclass(slots=True, eq=False)
class Waiting:
    """A claim that nobody owns. `is_over`: it was started, replaced or too late, wherever it still stands."""

    name: Name
    scheduled_for: datetime
    trigger: str
    turn: int
    due_at: datetime
    cause: Cause
    is_over: bool = False


@dataclass(slots=True, eq=False)
class Name:
    """One name: its cursor, what of it runs and waits, and what it knows of the names that it comes after."""

    spec: TaskSpec
    takes: timedelta
    is_async: bool
    schedule: Schedule | None
    is_limited: bool
    is_exclusive: bool
    through: datetime
    after_through: datetime
    upcoming: Iterator[datetime] = field(default_factory=lambda: iter(()))
    next_run: datetime | None = None
    due_at: datetime | None = None
    running: list[Ran] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    parked: list[Waiting] = field(default_factory=list)
    followers: list[Name] = field(default_factory=list)
    leaders: list[Name] = field(default_factory=list)
    successes: list[datetime] = field(default_factory=list)  # in order, where somebody comes after it
    taken: set[datetime] = field(default_factory=set)

    def held(self) -> list[Held]:
        """What the overlap rule is told of."""
        if not self.running and not self.waiting:
            return []
        found = [Held(run.scheduled_for, "owned") for run in self.running]
        found += [Held(one.scheduled_for, "waiting") for one in self.waiting if one.trigger != "after"]
        return found


def named(job: Job, begin: datetime, limits: Mapping[str, int]) -> Name:
    """The name as it stands before anything happened: every instant before `begin` is decided."""
    spec = job.spec
    schedule = spec.when() if spec.is_scheduled else None
    is_exclusive = spec.overlap != "allow"
    before = begin - TICK
    return Name(spec, job.takes, job.is_async, schedule, spec.queue in limits, is_exclusive, before, before)


class Turns:
    """Waiting work in the order in which it is picked up, for each kind of slot and each queue."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._heaps: dict[bool, dict[str, list[tuple[int, int, int, Waiting]]]] = {True: {}, False: {}}
        self._under_way: dict[str, int] = dict.fromkeys(limits, 0)
        self._number = 0
        # How many entries there are for each kind of slot, with those that are over.
        self.left = {True: 0, False: 0}

    def add(self, one: Waiting) -> None:
        self._number += 1
        self.left[one.name.is_async] += 1
        heap = self._heaps[one.name.is_async].setdefault(one.name.spec.queue, [])
        heappush(heap, (-one.name.spec.priority, one.turn, self._number, one))

    def is_full(self, queue: str) -> bool:
        """Whether as many of that queue run as may."""
        return queue in self._limits and self._under_way[queue] >= self._limits[queue]

    def count(self, queue: str, more: int) -> None:
        if queue in self._limits:
            self._under_way[queue] += more

    def pick(self, is_async: bool) -> Waiting | None:
        """The first whose queue has room and whose name is free; it is taken out."""
        heaps = self._heaps[is_async]
        heads = [(heap[0], heap) for queue, heap in heaps.items() if not self.is_full(queue) and _settled(heap)]
        if heads:
            one = heappop(min(heads, key=lambda pair: pair[0][:3])[1])[3]
        self.left[is_async] = sum(map(len, heaps.values()))
        return one if heads else None

    def waiting(self) -> Iterator[Waiting]:
        """All that waits, in no certain order."""
        for heaps in self._heaps.values():
            for heap in heaps.values():
                yield from (one for *_, one in heap if not one.is_over)


def _settled(heap: list[tuple[int, int, int, Waiting]]) -> bool:
    """Whether the heap has something that may start, which is then its first: what may not stands aside."""
    while heap:
        one = heap[0][3]
        if not one.is_over and not (one.name.is_exclusive and one.name.running):
            return True
        heappop(heap)
        if not one.is_over:
            one.name.parked.append(one)
    return False
