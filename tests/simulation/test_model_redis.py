"""The pretended Redis answers as the real one does: the same calls to both, their answers and data compared."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from simulated import stage
from simulated.loop import VirtualLoop
from simulated.redis import Manager, Server

from reconciler.scheduler import Advance, Due, Entry, EpochChanged, RedisServiceManager, SchedulerService
from reconciler.scheduler.differences import Differences
from reconciler.scheduler.entries import milliseconds_after
from reconciler.scheduler.hidden import Hidden

STEPS = int(os.environ.get("RECONCILER_SIMULATION_STEPS", "150"))
BASE = datetime(2031, 3, 5, 10, tzinfo=UTC)
QUEUES = ("default", "narrow")
IDS = range(1, 7)
HOLD = timedelta(seconds=10)


def _of(owner: type) -> dict[str, Any]:
    return {name: step for of, name, step in stage.REDIS_STEPS if of is owner}


class ModelScheduler(SchedulerService):
    """As on the stage of a story."""

    def __init__(self, server: Server) -> None:
        manager: Any = Manager(server)
        super().__init__(manager)
        self.differences = type("ModelDifferences", (Differences,), _of(Differences))(manager)
        self.hidden = type("ModelHidden", (Hidden,), _of(Hidden))(manager)


for _name, _step in _of(SchedulerService).items():
    setattr(ModelScheduler, _name, _step)


class Both:
    """The real and the pretended one, and a seed that says what is done to them."""

    def __init__(self, real: RedisServiceManager, seed: int) -> None:
        self.redis, self.random = real, Random(seed)
        self.server = Server(VirtualLoop(Random(seed)))
        self.real, self.model = SchedulerService(real), ModelScheduler(self.server)
        self.epochs = "", ""
        self.taken: list[Due] = []

    async def do(self, name: str, *args: Any, **options: Any) -> Any:
        answers = [await getattr(one, name)(*args, **options) for one in (self.real, self.model)]
        assert answers[0] == answers[1], (name, args, options)
        await self.same_data((name, args, options))
        return answers[0]

    async def same_data(self, what: Any) -> None:
        client, prefix, data = self.redis.client, self.redis.prefix, self.server.data
        for id_ in IDS:
            there = await client.hgetall(f"{prefix}schedule:status:{id_}")
            assert there == data.hashes.get(str(id_), {}), (what, id_)
        for queue in QUEUES:
            due = await client.zrange(f"{prefix}schedule:due:{queue}", 0, -1, withscores=True)
            assert {id_: int(score) for id_, score in due} == data.due.get(queue, {}), what
        assert await client.smembers(f"{prefix}schedule:configs") == (data.configs or set()), what
        assert (await self.real.epoch() is None) == (await self.model.epoch() is None), what

    # ── what may be done ──

    def moment(self) -> datetime:
        return BASE + timedelta(milliseconds=self.random.randrange(60_000))

    def entry(self, id_: int) -> Entry:
        random = self.random
        queue, digest, next_run = random.choice(QUEUES), random.choice("ab") * 8, self.moment()
        state = random.choice(("active", "active", "active", "paused", "suspended"))
        if state == "suspended":
            return Entry(id_, queue, "suspended", digest, None, None)
        if state == "active":
            return Entry(id_, queue, "active", digest, next_run, next_run + timedelta(seconds=random.choice((0, 0, 2))))
        until = self.moment() if random.random() < 0.7 else None
        reason = random.choice((None, "because"))
        return Entry(id_, queue, "paused", digest, next_run, max(next_run, until) if until else None, reason, until)

    async def align(self) -> None:
        entries = [self.entry(id_) for id_ in self.random.sample(IDS, 3)]
        is_whole = self.random.random() < 0.5
        await self.do("align", entries, complete=is_whole)
        self.epochs = await self.real.epoch() or "", await self.model.epoch() or ""

    async def compare(self) -> None:
        entries = [self.entry(id_) for id_ in IDS]
        found = [await one.differences.of(entries, BASE, keeps_set=True) for one in (self.real, self.model)]
        assert found[0] == found[1]
        latest = milliseconds_after(BASE + timedelta(minutes=1))
        await self.do("_write", [entries[0]], latest)

    async def take(self) -> None:
        now, limit, answers = self.moment(), self.random.choice((1, 2, 10)), []
        for one, epoch in zip((self.real, self.model), self.epochs, strict=True):
            try:
                answers.append(await one.take(QUEUES, now, limit, HOLD, epoch))
            except EpochChanged:
                answers.append("another epoch")
        if "another epoch" in answers:
            assert answers[0] == answers[1]
            return
        real, model = answers
        assert sorted(map(repr, real.due)) == sorted(map(repr, model.due))
        assert real.next_at == model.next_at
        self.taken += real.due
        await self.same_data("take")

    async def advance(self) -> None:
        moves = []
        for due in self._some():
            next_run = self.moment() if self.random.random() < 0.8 else None
            moves.append(Advance(due.config_id, due.queue, due.digest, due.next_run, next_run, next_run))
        for one in (self.real, self.model):
            await one.advance(moves)
        await self.same_data(("advance", moves))

    async def give_back(self) -> None:
        score, items = self.random.choice((None, self.moment())), self._some()
        for one in (self.real, self.model):
            await one.give_back(items, score)
        await self.same_data(("give back", items, score))

    def _some(self) -> list[Due]:
        """Of what was taken; some of it has been overtaken since."""
        return self.random.sample(self.taken, min(len(self.taken), 2))

    async def halt(self) -> None:
        id_ = self.random.choice(IDS)
        if self.random.random() < 0.3:
            await self.do("stop", id_)
        else:
            await self.do("pause", id_, "because", self.random.choice((None, self.moment())))

    async def ask(self) -> None:
        await self.do("status", list(IDS))
        await self.do("others", set(self.random.sample(IDS, 3)))
        rows = [(id_, self.random.choice("ab") * 8, False, None) for id_ in IDS]
        await self.do("differing", rows)

    async def forget(self) -> None:
        await self.do("unregister", self.random.choice(IDS))

    async def show(self) -> None:
        now = self.moment()
        shown = [await one.hidden.show(QUEUES, now, HOLD) for one in (self.real, self.model)]
        assert shown[0] == shown[1]
        await self.same_data("show")

    async def empty(self) -> None:
        keys = [key async for key in self.redis.client.scan_iter(match=f"{self.redis.prefix}*")]
        if keys:
            await self.redis.client.delete(*keys)
        self.server.flush()


WEIGHTS = {
    "align": 8,
    "compare": 2,
    "take": 8,
    "advance": 6,
    "give_back": 4,
    "halt": 3,
    "ask": 2,
    "forget": 1,
    "show": 2,
    "empty": 0.3,
}


@pytest.fixture
async def both(redis_url: str, redis_prefix: str) -> AsyncIterator[Both]:
    redis = RedisServiceManager(redis_url, redis_prefix)
    made = Both(redis, 1)
    yield made
    made.server.loop.close()
    await redis.close()


@pytest.mark.timeout(0)
async def test_the_pretended_redis_answers_as_the_real_one(both: Both) -> None:
    for _ in range(STEPS * 2):
        [act] = both.random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        await getattr(both, act)()
