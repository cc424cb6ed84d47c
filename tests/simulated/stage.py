"""Puts the pretended stores, children and clock under the real program, and takes them away again.

What is replaced is all here. A function of `reconciler.db` is replaced by one step on the `Database` of the link that
it is called with; everything above those functions is the program itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from random import Random
from typing import Any
from uuid import UUID

from reconciler import align
from reconciler.db import (
    claims,
    configs,
    cursors,
    desired,
    finishing,
    followers,
    outages,
    overrides,
    revisions,
    runners,
    settled,
    underway,
    waiting,
)
from reconciler.runner import batch, clock, runner, upkeep
from reconciler.scheduler import EpochChanged, SchedulerService, scheduler
from reconciler.scheduler.differences import Differences
from reconciler.scheduler.hidden import Hidden
from reconciler.spec import by_digest
from simulated import deciding, standing, working
from simulated.children import Children
from simulated.database import BASE, Database, Link, Step
from simulated.loop import VirtualLoop

STEPS: dict[tuple[Any, str], Step] = {
    (claims, "decide"): deciding.decide,
    (claims, "record_skips"): deciding.record_skips,
    (claims, "pick_up"): working.pick_up,
    (claims, "pick_up_limited"): working.pick_up_limited,
    (cursors, "sight"): deciding.sight,
    (cursors, "ids_of"): deciding.ids_of,
    (cursors, "ensure"): deciding.ensure,
    (cursors, "lock"): deciding.lock,
    (cursors, "move_to"): deciding.move_to,
    (waiting, "is_any"): working.is_any,
    (waiting, "skip"): working.skip,
    (waiting, "cancelled"): working.cancelled,
    (waiting, "give_up"): working.give_up,
    (finishing, "finish"): working.finish,
    (finishing, "hand_back"): working.hand_back,
    (finishing, "owned"): working.owned,
    (finishing, "of_runner"): working.of_runner,
    (underway, "asked"): working.asked,
    (underway, "progress"): working.progress,
    (underway, "last_successes"): working.last_successes,
    (runners, "register"): standing.register,
    (runners, "beat"): standing.beat,
    (runners, "leave"): standing.leave,
    (runners, "note_death"): standing.note_death,
    (runners, "place"): standing.place,
    (runners, "queues"): standing.queues,
    (configs, "keys"): standing.keys,
    (configs, "load"): standing.load,
    (configs, "upsert"): standing.upsert,
    (configs, "delete"): standing.delete,
    (revisions, "append_in_force"): standing.append_in_force,
    (revisions, "append_new"): standing.append_new,
    (revisions, "mark_removed"): standing.mark_removed,
    (revisions, "specs"): standing.specs,
    (overrides, "pause"): standing.pause,
    (overrides, "resume"): standing.resume,
    (overrides, "since"): standing.since,
    (desired, "wanted"): standing.wanted,
    (desired, "documents"): standing.documents,
    (desired, "gone"): standing.gone,
    (settled, "settled"): standing.settled,
    (settled, "has_deleted"): standing.has_deleted,
    (align, "wanted_since"): standing.wanted_since,
    (followers, "begin"): standing.begin,
    (followers, "upstreams"): standing.upstreams,
    (followers, "failing"): standing.failing,
    (outages, "record"): standing.record,
}


def asking(step: Step) -> Callable[..., Any]:
    """A function of `reconciler.db` that is one step on the model."""

    @wraps(step)
    async def call(link: Any, *args: Any, **options: Any) -> Any:
        return await link.do(step, args, options)

    return call


# ── steps of Redis that are one script each; whatever holds several of them together is the program's own ──


async def take(self: Any, queues: Any, now: Any, limit: int, hold: Any, epoch: str) -> Any:
    """As there: the server may turn out to be another on the way."""
    if self._redis.restarts != self._aligned_at:
        raise EpochChanged
    taken = await self._redis.client.do("take", queues, now, limit, hold, epoch)
    if taken is None:
        raise EpochChanged
    if self._redis.restarts != self._aligned_at:
        await self.give_back(taken.due)
        raise EpochChanged
    return taken


def on_redis(name: str, does_nothing_without: bool = False) -> Callable[..., Any]:
    """A method that is one step of the pretended server."""

    async def call(self: Any, *args: Any, **options: Any) -> Any:
        if does_nothing_without and not args[0]:
            return 0
        return await self._redis.client.do(name, *args, **options)

    return call


REDIS_STEPS: tuple[tuple[Any, str, Any], ...] = (
    (SchedulerService, "take", take),
    (SchedulerService, "advance", on_redis("advance", True)),
    (SchedulerService, "give_back", on_redis("give_back", True)),
    (SchedulerService, "_write", on_redis("align", True)),
    (Differences, "of", on_redis("of")),
    (Hidden, "show", on_redis("show", True)),
)


class Errors(logging.Handler):
    """What the program logs as an error of its own; a store that is away is none."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.found.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


@contextmanager
def on_stage(
    loop: VirtualLoop, random: Random, database: Database, children: type[Children], errors: Errors
) -> Iterator[None]:
    """For as long as this is entered the program runs on the model."""

    class HostClock(clock.Clock):
        """The clock of a host, which may be wrong by minutes until PostgreSQL has told its time."""

        def __init__(self) -> None:
            self._origin = BASE + timedelta(seconds=random.uniform(-600, 600))

    def uuid4() -> UUID:
        return UUID(int=random.getrandbits(128), version=4)

    async def nobody_changed_anything(link: Any, aligned: Any, modes: Any, now: Any) -> None:
        """What is found changed by hand is looked at in `checks`."""

    changes: list[tuple[Any, str, Any]] = [(module, name, asking(step)) for (module, name), step in STEPS.items()]
    changes += [
        *REDIS_STEPS,
        (align, "keep", lambda look: None),
        (runner, "Link", lambda url: Link(database)),
        (runner, "Children", children),
        (runner, "Clock", HostClock),
        (runner, "Watchdog", NoWatchdog),
        (runner, "uuid4", uuid4),
        (batch, "uuid4", uuid4),
        (scheduler, "uuid4", uuid4),
        (upkeep, "record_aligned", nobody_changed_anything),
        (by_digest, "_young", {}),
        (by_digest, "_old", {}),
        (align, "_seen", {}),
        (time, "monotonic", loop.time),
    ]
    log = logging.getLogger("reconciler")
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    level, propagate = log.level, log.propagate
    log.setLevel(logging.ERROR)
    log.propagate = False
    log.addHandler(errors)
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        log.removeHandler(errors)
        log.setLevel(level)
        log.propagate = propagate


class NoWatchdog:
    """It is a thread, and looks at how real time passes."""

    def __init__(self, ticks: Callable[[], float], lease: float) -> None:
        pass

    def start(self) -> None:
        """Not here."""

    def stop(self) -> None:
        """Not here."""
