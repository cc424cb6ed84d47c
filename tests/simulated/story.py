"""One seed: what happens to whom and when, and whether all holds at the end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from simulated import standing
from simulated.checks import Checks
from simulated.children import Children
from simulated.database import Database
from simulated.loop import START, Process, VirtualLoop
from simulated.redis import Server
from simulated.rows import ClaimRow
from simulated.services import Git, run_applier, run_runner
from simulated.specs import drawn, edited, located
from simulated.stage import Errors, on_stage
from simulated.weather import CALM, Odds

NAMES = tuple("abcdefgh")
# Virtual seconds: of trouble, for all to be well again after it, and for what is left to end.
TROUBLE, HEALING, DRAINING = 20.0, 40.0, 60.0


@dataclass(slots=True)
class Actor:
    process: Process
    task: asyncio.Task[Any]
    stop: asyncio.Event


class Story:
    """`run` returns what did not hold, one line each; `trace` is what happened."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.trace: list[str] = []
        self.random = Random(f"story {seed}")
        self.loop = VirtualLoop(Random(f"loop {seed}"))
        self.database = Database(self.loop, Random(f"tokens {seed}"))
        self.redis = Server(self.loop)
        self.checks = Checks(self.database, self.tell)
        self.errors = Errors()
        self.names = NAMES[: self.random.randint(2, 6)]
        self.documents: dict[str, dict[str, Any]] = {}
        self.runners: list[Actor] = []
        self.appliers: list[Actor] = []
        self.lease = self.random.choice((2.0, 4.0, 4.0, 6.0))
        self._numbers = 0

    def tell(self, what: str) -> None:
        self.trace.append(f"{self.loop.time() - START:8.3f}  {what}")

    def run(self) -> list[str]:
        checks, seed = self.checks, self.seed

        class Own(Children):
            pass

        Own.seed, Own.cancelled = seed, staticmethod(checks.cancelled)
        Own.began, Own.ended = staticmethod(checks.began), staticmethod(checks.ended)
        asyncio.set_event_loop(self.loop)
        try:
            with on_stage(self.loop, Random(f"stage {seed}"), self.database, Own, self.errors):
                try:
                    self.loop.run_until_complete(self._told())
                    self._look_at_tasks()
                finally:
                    checks.is_over = True
                    self._end()
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()
        return [*checks.faults, *self.loop.errors, *self.errors.found]

    async def _told(self) -> None:
        self.tell("begins")
        self.git = Git()
        await self.begin()
        await self.trouble()
        await self._heal()
        await self._settle()
        await self._drain()

    async def begin(self) -> None:
        """Who is there, and what is in git."""
        for name in self.names:
            self.write(name, drawn(self.random, name))
        for _ in range(self.random.choice((1, 1, 2))):
            self.start_applier()
        for _ in range(self.random.choice((1, 2, 2, 3, 3))):
            self.start_runner()
        self._set_odds()

    async def trouble(self) -> None:
        """What happens, until all is healed."""
        until = self.loop.time() + TROUBLE
        while (rest := until - self.loop.time()) > 0:
            await asyncio.sleep(min(rest, self.random.expovariate(0.8)))
            await self._happen()

    # ── trouble ──

    def _set_odds(self) -> None:
        for weather in (self.database.weather, self.redis.weather):
            slow = self.random.choice((0.02, 0.1, 0.3))
            bad = self.random.choice((0.0, 0.005, 0.02, 0.05))
            weather.odds = Odds(slow, bad, bad, self.random.choice((0.01, 0.05, 0.5, 1.0)))

    async def _happen(self) -> None:
        acts = (
            (3, self._kill_runner),
            (5, self._freeze_runner),
            (2, self._stop_runner),
            (2, self._start_one_more),
            (2, self._outage_of_database),
            (2, self._outage_of_redis),
            (4, self._harm_redis),
            (1, self._step_clock),
            (5, self._edit),
            (4, self._pause),
            (3, self._resume),
            (3, self._trigger),
            (1, self._cancel),
            (2, self._kill_applier),
        )
        act = self.random.choices([one for _, one in acts], [weight for weight, _ in acts])[0]
        await act()

    async def _kill_runner(self) -> None:
        if self.runners:
            actor = self.random.choice(self.runners)
            self.tell(f"{actor.process.name} is killed")
            actor.process.kill()
            self.runners.remove(actor)
            if self.random.random() < 0.7:
                self.start_runner()

    async def _freeze_runner(self) -> None:
        awake = [one for one in self.runners if not one.process.is_frozen]
        if awake:
            process = self.random.choice(awake).process
            seconds = self.random.choice((0.3, 1.2, 1.6, 2.0)) * self.lease * (0.6 + 0.8 * self.random.random())
            self.tell(f"{process.name} is frozen for {seconds:.1f} s")
            process.is_frozen = True
            self.loop.call_later(seconds, self.thaw, process)

    def thaw(self, process: Process) -> None:
        if not process.is_dead and process.is_frozen:
            self.tell(f"{process.name} goes on")
            self.loop.thaw(process)

    async def _stop_runner(self) -> None:
        if len(self.runners) > 1:
            actor = self.runners.pop(self.random.randrange(len(self.runners)))
            self.tell(f"{actor.process.name} is told to stop")
            actor.stop.set()

    async def _start_one_more(self) -> None:
        if len(self.runners) < 3:
            self.start_runner()

    async def _outage_of_database(self) -> None:
        await self._outage(self.database.weather, "postgresql")

    async def _outage_of_redis(self) -> None:
        await self._outage(self.redis.weather, "redis")

    async def _outage(self, weather: Any, what: str) -> None:
        if weather.out:
            return
        weather.out = self.random.choice(("refused", "silent"))
        names = [one.process.name for one in [*self.runners, *self.appliers]]
        weather.cut = set(self.random.sample(names, 1)) if self.random.random() < 0.7 and names else set()
        seconds = self.random.choice((0.2, 1.0, 3.0, 4.0)) * self.lease * (0.5 + self.random.random())
        whom = ", ".join(weather.cut) or "all"
        self.tell(f"{what} is {weather.out} for {whom} for {seconds:.1f} s")
        self.loop.call_later(seconds, self._back, weather, what)

    def _back(self, weather: Any, what: str) -> None:
        if weather.out:
            self.tell(f"{what} answers again")
        weather.out = ""

    async def _harm_redis(self) -> None:
        how = self.random.choice(("saved", "saved", "flushed", "restarted empty", "restarted old"))
        self.tell(f"redis is {how}")
        if how == "saved":
            self.redis.save()
        elif how == "flushed":
            self.redis.flush()
        else:
            self.redis.restart(with_old=how == "restarted old")

    async def _step_clock(self) -> None:
        seconds = self.random.uniform(1, 6)
        self.tell(f"postgresql's clock goes back by {seconds:.1f} s")
        self.database.now()
        self.database.shift -= timedelta(seconds=seconds)

    async def _kill_applier(self) -> None:
        if self.appliers:
            actor = self.appliers.pop()
            self.tell(f"{actor.process.name} is killed")
            actor.process.kill()
            self.start_applier()

    # ── what people do ──

    def write(self, name: str, document: dict[str, Any] | None) -> None:
        if document is not None:
            self.documents[name] = document
        self.git.commit(name, None if document is None else located(document))

    async def _edit(self) -> None:
        name = self.random.choice(self.names)
        if name not in self.git.specs:
            self.tell(f"{name} comes back")
            self.write(name, self.documents[name] if self.random.random() < 0.5 else drawn(self.random, name))
        elif self.random.random() < 0.25:
            self.tell(f"{name} is pruned")
            self.write(name, None)
        else:
            document = edited(self.random, self.documents[name])
            self.tell(f"{name} is edited: {document.get('schedule')} {document.get('suspend', '')}")
            self.write(name, document)

    def _whom(self) -> Any:
        return self.random.choice(self.names) if self.random.random() < 0.7 else {"team": self.random.choice("ab")}

    async def _pause(self) -> None:
        whom, now = self._whom(), self.database.now()
        until = now + timedelta(seconds=self.random.uniform(0.5, 10)) if self.random.random() < 0.7 else None
        self.tell(f"pause {whom} until {until and until.strftime('%T')}")
        standing.pause(self.database, whom, "because", "somebody", until)

    async def _resume(self) -> None:
        open_ones = [p for p in self.database.tables.pauses if p.ended_at is None]
        if open_ones:
            one = self.random.choice(open_ones)
            self.tell(f"resume {one.name or one.selector}")
            standing.resume(self.database, one.name or one.selector or {})

    async def _trigger(self) -> None:
        config = self.database.tables.config(self.random.choice(self.names))
        if config is None:
            return
        now = self.database.now()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000 or 1000)  # never an instant of a schedule
        spec = config.spec
        row = ClaimRow(
            config.name, now, spec["task"], spec["queue"], "manual", config.digest, spec["overlap"] != "allow"
        )
        row.not_before, row.priority = now, spec["priority"]
        row.turn = -int(now.timestamp() * 1_000_000)
        if row.key not in self.database.tables.claims and row.key not in self.database.tables.executions:
            self.tell(f"trigger {config.name}")
            self.database.add_claim(row)
            self.redis.publish("schedule:wake", "")

    async def _cancel(self) -> None:
        claims = [c for c in self.database.tables.claims.values() if c.cancel_requested is None]
        if claims:
            claim = self.random.choice(claims)
            self.tell(f"cancel {claim.name} {claim.scheduled_for:%T}")
            claim.cancel_requested = "cancelled by somebody"

    # ── who is there ──

    def start_runner(self, concurrency: int | None = None) -> None:
        self._numbers += 1
        process, stop = Process(f"runner {self._numbers}"), asyncio.Event()
        self.tell(f"{process.name} starts")
        work = run_runner(self.redis, self.lease, concurrency or self.random.choice((1, 3, 20)), stop)
        self.runners.append(Actor(process, self.loop.start(process, work), stop))

    def start_applier(self) -> None:
        self._numbers += 1
        process = Process(f"applier {self._numbers}")
        task = self.loop.start(process, run_applier(self.database, self.redis, self.git))
        self.appliers.append(Actor(process, task, asyncio.Event()))

    # ── the end ──

    async def _heal(self) -> None:
        """Everything works again, and stays so; nobody is paused."""
        self.tell("all is healed")
        for weather in (self.database.weather, self.redis.weather):
            weather.odds, weather.out = CALM, ""
        for actor in self.runners:
            self.thaw(actor.process)
        self.start_runner(20)  # where there are too few slots for all, some names wait for as long as that lasts
        for pause in self.database.tables.pauses:
            if pause.ended_at is None:
                pause.ended_at = min(self.database.now(), pause.expires_at or self.database.now())
                pause.written = self.database.begun()

    async def _settle(self) -> None:
        """Soon all is decided on time, and Redis says what PostgreSQL wants."""
        behind = (self.database.highest - self.database.now()).total_seconds()
        await asyncio.sleep(max(0.0, behind))
        until = self.loop.time() + HEALING
        while found := [*self.checks.late(3.0), *self.checks.differing(self.redis)]:
            if self.loop.time() >= until:
                for what in found:
                    self.checks.complain(f"{HEALING:.0f} s after all was healed: {what}")
                return
            await asyncio.sleep(0.25)
        self.tell("all is settled")

    async def _drain(self) -> None:
        """Git is emptied: what was decided comes to its end, and nothing new is."""
        for name in list(self.git.specs):
            self.write(name, None)
        until = self.loop.time() + DRAINING
        while self.database.tables.configs or self.checks.left() or self.redis.data.hashes:
            if self.loop.time() >= until:
                self.checks.complain(f"left over: {self.checks.left()}, in Redis {self.redis.data.hashes}")
                break
            await asyncio.sleep(0.25)
        for what in [*self.checks.verdicts(), *self.checks.unaccounted()]:
            self.checks.complain(what)

    def _look_at_tasks(self) -> None:
        """Nobody has ended by an error of its own."""
        for actor in [*self.runners, *self.appliers]:
            if actor.task.done() and not actor.task.cancelled() and (error := actor.task.exception()):
                self.checks.complain(f"{actor.process.name} has ended: {error!r}")

    def _end(self) -> None:
        """No task is left to whoever collects the garbage."""
        for weather in (self.database.weather, self.redis.weather):
            weather.is_world_over = True
        self.loop.errors, errors = [], self.loop.errors
        self.loop.end()
        found = len(self.errors.found)
        self.loop.run_until_complete(_all_done())
        self.loop.errors = errors
        del self.errors.found[found:]


async def _all_done() -> None:
    for _ in range(200):
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if not rest:
            return
        for task in rest:
            task.cancel()
        await asyncio.sleep(0.01)
