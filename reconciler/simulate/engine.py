"""The runner's rules on a pretended clock, from event to event.

What is due is decided by `occurrences.decide`, what a busy name does with it by `overlap`, what follows others by
`after`, how long it may take by `attempts`, all as in the real service. What is pretended: each run takes as long as
it is said to, succeeds unless it is cut short, and all runners together are one. The same values always give the same
outcome.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Any

from reconciler.after import meeting
from reconciler.attempts import Attempt, limit_of
from reconciler.occurrences import (
    ON_TIME,
    STILL_GOOD,
    TICK,
    Fire,
    Skip,
    decide,
    not_started_within,
    start_by,
    turn_of,
    wake_at,
)
from reconciler.overlap import Held, overlap_verdict
from reconciler.simulate.model import Cause, Job, Outcome, Ran, Setup, Unstarted
from reconciler.simulate.names import Name, Turns, Waiting, named
from reconciler.spec import TaskSpec

# What happens at the same moment happens in this order: an end makes room for what is due.
UP, END, EXPIRED, DUE = range(4)
MILLISECOND = timedelta(milliseconds=1)


def simulate(jobs: Iterable[Job], setup: Setup) -> Outcome:
    """Everything that these jobs do in that time."""
    return _Engine(sorted(jobs, key=lambda job: job.spec.name), setup).run()


def decided_alone(spec: TaskSpec, instant: datetime, late: timedelta) -> Fire | None:
    """What `decide` says of an instant that alone is due, in the plain cases, but for its turn; None: ask it.

    A week of a thousand tasks would otherwise ask the calendar three times as often.
    """
    if spec.deadline.start is not None:
        return None
    if late <= ON_TIME:
        return Fire(instant, "schedule")
    return Fire(instant, "catch_up") if spec.missed == "latest" and late <= STILL_GOOD else None


class _Engine:
    def __init__(self, jobs: Sequence[Job], setup: Setup) -> None:
        self.setup = setup
        self.events: list[tuple[datetime, int, int, Any]] = []
        self.number = 0
        self.free = {kind: setup.slots(kind) for kind in (True, False)}
        self.least_free = dict(self.free)
        self.undecided: dict[bool, deque[Name]] = {True: deque(), False: deque()}
        self.turns = Turns(setup.limits)
        self.ran: list[Ran] = []
        self.skips: list[Skip] = []
        self.names = {job.spec.name: named(job, setup.begin, setup.limits) for job in jobs}
        for name in self.names.values():
            name.leaders = [self.names[other] for other in name.spec.after if other in self.names]
            if len(name.leaders) == len(name.spec.after) and name.spec.suspend is not True:
                for leader in name.leaders:
                    leader.followers.append(name)
            if name.schedule is not None:
                name.upcoming = name.schedule.upcoming(name.through)
                self.look_ahead(name, next(name.upcoming, None))
        for _, end in setup.outages:
            self.at(end, UP, None)

    def run(self) -> Outcome:
        end, events = self.setup.end, self.events
        while events and events[0][0] < end:
            now, kind, _, what = heappop(events)
            if kind == DUE:
                self.due(now, what)
            elif kind == END:
                self.ended(now, *what)
            elif kind == EXPIRED:
                self.expired(now, what)
            for is_async, undecided in self.undecided.items():
                if self.free[is_async] > 0 and (undecided or self.turns.left[is_async]):
                    self.fill(now, is_async, undecided)
        most = (self.setup.slots(kind) - self.least_free[kind] for kind in (True, False))
        return Outcome(tuple(self.ran), tuple(self.skips), tuple(self.unstarted()), *most)

    def at(self, moment: datetime, kind: int, what: Any) -> None:
        self.number += 1
        heappush(self.events, (moment, kind, self.number, what))

    def look_ahead(self, name: Name, next_run: datetime | None) -> None:
        """Come back when the next instant that is not decided is due."""
        name.next_run = next_run
        if next_run is not None and next_run < self.setup.end:
            name.due_at = wake_at(name.spec, next_run) if name.spec.jitter else next_run
            self.at(name.due_at, DUE, name)

    def down_until(self, now: datetime) -> datetime | None:
        return next((end for begin, end in self.setup.outages if begin <= now < end), None)

    def due(self, now: datetime, name: Name) -> None:
        if self.setup.outages and (until := self.down_until(now)):
            self.at(until, DUE, name)
        elif self.free[name.is_async] > 0 or name.is_limited:
            self.decide(now, name, None if now == name.due_at else "down")
        else:
            # It stays in the due queue, and is decided when a slot of its kind is free.
            self.undecided[name.is_async].append(name)

    def decide(self, now: datetime, name: Name, cause: Cause | None) -> None:
        instant, due_at, schedule = name.next_run, name.due_at, name.schedule
        if instant is None or due_at is None or schedule is None:
            return
        following = next(name.upcoming, None)
        alone = decided_alone(name.spec, instant, now - due_at) if following is None or following > now else None
        if alone is not None:
            fires: Sequence[Fire] = (alone,)
            name.through = instant
        else:
            decision = decide(name.spec, name.through, now)
            fires, name.through = decision.fires, decision.through
            name.upcoming = schedule.upcoming(name.through)
            following = next(name.upcoming, None)
            self.skips += decision.skips
        held = name.held() if name.is_exclusive else ()
        for fire in fires:
            at = due_at if fire.scheduled_for == instant else wake_at(name.spec, fire.scheduled_for)
            self.judge(now, name, fire, held, at, cause)
        self.look_ahead(name, following)

    def judge(
        self, now: datetime, name: Name, fire: Fire, held: Sequence[Held], due_at: datetime, cause: Cause | None
    ) -> None:
        spec, instant = name.spec, fire.scheduled_for
        if not held and not fire.waits and not name.is_limited:
            self.start(now, name, instant, fire.trigger, due_at, cause)
            return
        overlap = overlap_verdict(spec.overlap, instant, held, is_backlog=fire.waits)
        if overlap.verdict == "start" and not name.is_limited:
            self.start(now, name, instant, fire.trigger, due_at, cause)
        elif overlap.verdict == "skip":
            self.skips.append(Skip(spec.name, instant, instant, 1, "overlap", overlap.detail))
        else:
            if overlap.verdict == "replace":
                self.replace(now, name, overlap.detail)
            why: Cause = cause or ("overlap" if name.running else "queue" if name.is_limited else "slots")
            self.wait(name, Waiting(name, instant, fire.trigger, fire.turn or turn_of(instant), due_at, why))

    def replace(self, now: datetime, name: Name, detail: str | None) -> None:
        """End what runs, and forget what waits."""
        for run in tuple(name.running):
            run.ending, run.ended_at = "replaced", now
            self.release(name, run)
        for one in tuple(name.waiting):
            if one.trigger != "after":
                self.drop(one)
                self.skips.append(Skip(name.spec.name, one.scheduled_for, one.scheduled_for, 1, "overlap", detail))

    def wait(self, name: Name, one: Waiting) -> None:
        name.waiting.append(one)
        self.turns.add(one)
        length = name.spec.deadline.start
        if length is not None:
            by = one.due_at + length if one.trigger == "after" else start_by(name.spec, one.scheduled_for)
            if by is not None:
                self.at(by + TICK, EXPIRED, one)

    def drop(self, one: Waiting) -> None:
        one.is_over = True
        one.name.waiting.remove(one)

    def expired(self, now: datetime, one: Waiting) -> None:
        if not one.is_over:
            self.drop(one)
            spec = one.name.spec
            why = not_started_within(spec.deadline.start)
            self.skips.append(Skip(spec.name, one.scheduled_for, one.scheduled_for, 1, "deadline", why))

    def fill(self, now: datetime, is_async: bool, undecided: deque[Name]) -> None:
        """Give the free slots of a kind to what waits, then to what is due and was not decided."""
        if self.setup.outages and self.down_until(now):
            return
        while self.free[is_async] > 0:
            if one := self.turns.pick(is_async):
                self.drop(one)
                self.start(now, one.name, one.scheduled_for, one.trigger, one.due_at, one.cause)
            elif undecided:
                self.decide(now, undecided.popleft(), "slots")
            else:
                return

    def start(
        self, now: datetime, name: Name, instant: datetime, trigger: str, due_at: datetime, cause: Cause | None
    ) -> None:
        spec, ends = name.spec, now + name.takes
        run = Ran(spec.name, instant, trigger, due_at, now, ends, name.is_async, cause if now > due_at else None)
        if spec.timeout is not None or spec.deadline.finish is not None:
            seconds = limit_of(spec, Attempt(spec.name, instant, 1, trigger, now), now).seconds
            if seconds is not None and seconds < name.takes.total_seconds():
                run.ended_at, run.ending = now + timedelta(seconds=max(0.0, seconds)), "cut short"
        self.free[name.is_async] -= 1
        if self.free[name.is_async] < self.least_free[name.is_async]:
            self.least_free[name.is_async] = self.free[name.is_async]
        if name.is_limited:
            self.turns.count(spec.queue, 1)
        if name.is_exclusive:
            name.running.append(run)
        if name.leaders:
            name.taken.add(instant)
        self.ran.append(run)
        self.at(run.ended_at, END, (name, run))

    def ended(self, now: datetime, name: Name, run: Ran) -> None:
        if run.ending == "replaced":
            return
        self.release(name, run)
        if name.followers and run.ending == "succeeded":
            insort(name.successes, run.scheduled_for)
            for follower in name.followers:
                self.follow(now, follower)

    def release(self, name: Name, run: Ran) -> None:
        self.free[name.is_async] += 1
        if name.is_limited:
            self.turns.count(name.spec.queue, -1)
        if name.is_exclusive:
            name.running.remove(run)
            for one in name.parked:
                self.turns.add(one)
            name.parked.clear()

    def follow(self, now: datetime, name: Name) -> None:
        """Let it run as often as all that it comes after have succeeded anew; of several the oldest goes first."""
        while met := meeting([leader.successes for leader in name.leaders], name.after_through):
            instant, name.after_through = met.instant, met.until
            while instant in name.taken or any(one.scheduled_for == instant for one in name.waiting):
                instant += MILLISECOND
            behind = next((one.turn + 1 for one in reversed(name.waiting) if one.trigger == "after"), None)
            turn = turn_of(instant) if behind is None else max(turn_of(instant), behind)
            cause: Cause = "overlap" if name.running else "queue" if self.turns.is_full(name.spec.queue) else "slots"
            self.wait(name, Waiting(name, instant, "after", turn, now, cause))

    def unstarted(self) -> Iterable[Unstarted]:
        waiting = {id(one): one for one in self.turns.waiting()}
        for name in self.names.values():
            waiting |= {id(one): one for one in name.parked if not one.is_over}
        found = [
            Unstarted(one.name.spec.name, one.scheduled_for, one.due_at, one.name.is_async, one.cause)
            for one in waiting.values()
        ]
        for is_async, undecided in self.undecided.items():
            for name in undecided:
                if name.next_run and name.due_at:
                    found.append(Unstarted(name.spec.name, name.next_run, name.due_at, is_async, "slots"))
        return sorted(found, key=lambda one: (one.due_at, one.name, one.scheduled_for))
