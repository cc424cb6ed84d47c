"""The pretended PostgreSQL answers as the real one does: the same calls to both, their answers and tables compared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from simulated import deciding, standing, working
from simulated.database import Database
from simulated.loop import VirtualLoop

from reconciler.db import (
    claims,
    configs,
    cursors,
    desired,
    finishing,
    overrides,
    revisions,
    runners,
    underway,
    waiting,
)
from reconciler.db.claims import Claim, Move, Returned, Wanted
from reconciler.db.configs import ConfigRow
from reconciler.db.link import Link
from reconciler.occurrences import Skip
from reconciler.spec import TaskSpec

STEPS = int(os.environ.get("RECONCILER_SIMULATION_STEPS", "150"))
NAMES = "abcde"
RUNNERS = (UUID(int=1), UUID(int=2))
QUEUES = ("default", "narrow")
PAST = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=6)
HOUR = timedelta(hours=1)
CLAIMS = """
select name, scheduled_for, task, queue, trigger, digest, exclusive, token, runner_id, priority, attempts, turn,
       start_by, cancel_requested, not_before
from task_claims order by 1, 2
"""
EXECUTIONS = "select name, scheduled_for, trigger, is_success, error, attempts, token, digest from task_executions"
SYNC = """
insert into syncs (source, revision, is_success, actor, started_at, finished_at)
values ('default', %s, true, 'me', clock_timestamp(), clock_timestamp()) returning id
"""
SKIPS = "select name, first, last, count, reason, detail from task_skips"


class Model(Database):
    """On the clock of the real server."""

    moment = PAST

    def now(self) -> datetime:
        return self.moment


class Both:
    """The real and the pretended one, and a seed that says what is done to them."""

    def __init__(self, link: Link, seed: int) -> None:
        self.link, self.random = link, Random(seed)
        self.loop = VirtualLoop(Random(seed))
        self.model = Model(self.loop, Random(seed))
        self.revision = 0
        self.tokens = 0

    async def do(self, real: Any, step: Any, *args: Any, **options: Any) -> Any:
        """One call to both; its answers are the same, and then the tables."""
        [(self.model.moment,)] = await self.link.run("select clock_timestamp()")
        answer = await real(self.link, *args, **options)
        expected = step(self.model, *args, **options)
        assert plain(answer) == plain(expected), (real.__name__, args, options)
        await self.same_tables((real.__name__, args, options))
        return answer

    async def same_tables(self, what: Any) -> None:
        """Tokens that a server made are taken over from the real one."""
        tables = self.model.tables
        rows = await self.link.run(CLAIMS)
        assert [(row[0], row[1]) for row in rows] == sorted(tables.claims), what
        for row in rows:
            claim = tables.claims[row[0], row[1]]
            assert (row[7] is None) == (claim.token is None), what
            claim.token = row[7]
            own = (claim.name, claim.scheduled_for, claim.task, claim.queue, claim.trigger, claim.digest)
            own += (claim.exclusive, claim.token, claim.runner_id, claim.priority, claim.attempts, claim.turn)
            own += (claim.start_by, claim.cancel_requested, claim.not_before)
            assert tuple(row) == own, what
        found = {(row[0], row[1]): tuple(row[2:]) for row in await self.link.run(EXECUTIONS)}
        assert found == {
            key: (row.trigger, row.is_success, row.error, row.attempts, row.token, row.digest)
            for key, row in tables.executions.items()
        }, what
        skips = {(row[0], row[1]): tuple(row[2:]) for row in await self.link.run(SKIPS)}
        assert skips == {key: (s.last, s.count, s.reason, s.detail) for key, s in tables.skips.items()}, what
        assert dict(await self.link.run("select name, through from task_cursors")) == tables.cursors, what
        there = await self.link.run("select id, beat, ending from runners")
        assert {row[0]: (row[1], row[2]) for row in there} == {
            row.id: (row.beat, row.ending) for row in tables.runners.values()
        }, what

    # ── what may be done ──

    def instant(self) -> datetime:
        return PAST + timedelta(minutes=self.random.randrange(30))

    def name(self) -> str:
        return self.random.choice(NAMES)

    def runner(self) -> UUID:
        return self.random.choice(RUNNERS)

    def claim(self) -> Any:
        return self.random.choice(sorted(self.model.tables.claims.values(), key=lambda row: row.key))

    def token(self) -> UUID:
        self.tokens += 1
        return UUID(int=1000 + self.tokens)

    async def edit(self) -> None:
        name, random = self.name(), self.random
        self.revision += 1
        spec = TaskSpec.from_document(
            {
                "name": name,
                "task": random.choice(("t.a", "t.b")),
                "schedule": "@every 1m",
                "queue": random.choice((*QUEUES[:1], *QUEUES)),
                "overlap": random.choice(("skip", "allow", "queue", "replace")),
                "suspend": random.random() < 0.1,
                "labels": {"team": random.choice("xy")},
                "deadline": {"start": random.choice(("5m", "1h"))} if random.random() < 0.5 else {},
            }
        )
        row = ConfigRow(name, "default", spec.document(), spec.digest, f"{name}.yaml")
        await self.do(configs.upsert, standing.upsert, [row], f"r{self.revision}")
        await self.do(cursors.ensure, deciding.ensure, [name], PAST)
        [(sync_id,)] = await self.link.run(SYNC, [f"r{self.revision}"])
        await self.do(revisions.append_in_force, standing.append_in_force, [name], sync_id)

    async def prune(self) -> None:
        await self.do(configs.delete, standing.delete, [self.name()])

    async def decide(self) -> None:
        random, moves, fires, skips = self.random, [], [], []
        for name in sorted(random.sample(NAMES, random.randint(1, 3))):
            config = self.model.tables.config(name)
            if config is None:
                continue
            cursor = self.model.tables.cursors[name]
            seen = cursor if random.random() < 0.9 else self.instant()
            digest = config.digest if random.random() < 0.95 else "other"
            revision = config.revision if random.random() < 0.9 else "r0"
            instants = sorted({seen + timedelta(minutes=random.randint(1, 4)) for _ in range(random.randint(0, 3))})
            through = max([*instants, seen + timedelta(minutes=1)])
            moves.append(Move(name, digest, seen, through, revision, random.random() < 0.4))
            for place, at in enumerate(instants):
                fires.append(self.wanted(name, at, config.spec, place, len(instants) > 1))
            if random.random() < 0.4:
                skips.append(Skip(name, seen + timedelta(seconds=1), seen + timedelta(seconds=9), 3, "missed", "why"))
        await self.do(claims.decide, deciding.decide, self.runner(), moves, fires, skips)

    def wanted(self, name: str, at: datetime, spec: dict[str, Any], place: int, is_backlog: bool) -> Wanted:
        start_by = self.random.choice((None, None, PAST + 20 * HOUR, PAST))
        has_to_wait = is_backlog or self.random.random() < 0.2
        return Wanted(
            name,
            at,
            spec["task"],
            self.token(),
            spec["queue"],
            self.random.choice((0, 0, 5)),
            "schedule",
            spec["overlap"] != "allow",
            place - int(at.timestamp() * 1e6),
            start_by,
            spec["overlap"],
            has_to_wait,
            is_backlog,
        )

    async def pick_up(self) -> None:
        queues, tasks = list(QUEUES), self.random.choice((["t.a", "t.b"], ["t.a"]))
        if self.random.random() < 0.3:
            limits = {"narrow": 1, "default": 100}
            await self.do(claims.pick_up_limited, working.pick_up_limited, self.runner(), limits, tasks, 100)
        else:
            await self.do(claims.pick_up, working.pick_up, self.runner(), queues, tasks, 100)

    async def wait(self) -> None:
        await self.do(waiting.is_any, working.is_any)
        await self.do(waiting.skip, working.skip)
        await self.do(waiting.cancelled, working.cancelled, self.runner())
        await self.do(waiting.give_up, working.give_up)

    async def finish(self) -> None:
        if not self.model.tables.claims:
            return
        claim = self.claim()
        token = claim.token if claim.token and self.random.random() < 0.8 else self.token()
        is_success = self.random.random() < 0.6
        record = {
            "name": claim.name,
            "scheduled_for": claim.scheduled_for,
            "token": token,
            "task": claim.task,
            "started_at": PAST,
            "finished_at": PAST,
            "is_success": is_success,
            "error": None if is_success else "no",
            "traceback": None,
            "result": {"x": 1} if is_success else None,
            "log": None,
            "attempts": claim.attempts,
            "trigger": claim.trigger,
            "replays": None,
            "runner": "here:1",
            "digest": claim.digest,
            "revision": None,
        }
        await self.do(finishing.finish, working.finish, [record])
        await self.do(finishing.finish, working.finish, [record])

    async def hand_back(self) -> None:
        if self.model.tables.claims:
            claim = self.claim()
            token = claim.token or self.token()
            attempts = [*claim.attempts, {"attempt": len(claim.attempts) + 1}] if self.random.random() < 0.7 else []
            later = self.random.choice((PAST, PAST, PAST + 20 * HOUR))
            back = Returned(claim.name, claim.scheduled_for, token, later, attempts)
            await self.do(finishing.hand_back, working.hand_back, [back])

    async def ask(self) -> None:
        tokens = [claim.token for claim in self.model.tables.claims.values() if claim.token]
        runner = self.runner()
        await self.do(finishing.owned, working.owned, runner, [*tokens, self.token()])
        await self.do(finishing.of_runner, working.of_runner, runner, self.random.choice((None, 0, 1, 2)))
        await self.do(underway.asked, working.asked, runner)
        await self.do(underway.last_successes, working.last_successes, list(NAMES))
        await self.do(configs.keys, standing.keys)
        await self.do(desired.wanted, standing.wanted, self.model.moment)
        await self.do(overrides.since, standing.since, list(NAMES), self.instant())
        seen = await cursors.sight(self.link, await cursors.ids_of(self.link, list(NAMES)))
        assert plain(seen) == plain(deciding.sight(self.model, deciding.ids_of(self.model, list(NAMES))))

    async def cancel(self) -> None:
        if self.model.tables.claims:
            claim = self.claim()
            await self.link.run(
                "update task_claims set cancel_requested = 'enough' where name = %s and scheduled_for = %s", claim.key
            )
            claim.cancel_requested = "enough"

    async def pause(self) -> None:
        whom = self.name() if self.random.random() < 0.6 else {"team": self.random.choice("xy")}
        if self.random.random() < 0.6:
            until = self.random.choice((None, PAST + 20 * HOUR))
            await self.do(overrides.pause, standing.pause, whom, "because", "me", until)
        else:
            await self.do(overrides.resume, standing.resume, whom)

    async def live(self) -> None:
        runner, other = self.random.sample(RUNNERS, 2)
        known = {"host": "here", "pid": 1, "queues": list(QUEUES), "tasks": {"t.a": {}}, "lease": 30.0}
        act = self.random.choice(("register", "beat", "beat", "beat", "leave", "die"))
        if act == "register":
            await self.do(runners.register, standing.register, runner, **known)
        elif act == "beat":
            owned = [c.token for c in self.model.tables.claims.values() if c.runner_id == runner and c.token]
            held = {token for token in owned if self.random.random() < 0.7}
            if self.random.random() < 0.3:
                held.add(self.token())
            if self.random.random() < 0.5:
                await self.age()
            await self.do(runners.beat, standing.beat, runner, held, is_all=self.random.random() < 0.8)
        elif act == "leave":
            await self.do(runners.leave, standing.leave, runner)
        else:
            await self.do(runners.note_death, standing.note_death, other, self.random.choice((None, 0, 1, 2)))
        await self.do(runners.place, standing.place, runner)
        await self.do(runners.queues, standing.queues, runner)

    async def age(self) -> None:
        """What is claimed has been for long."""
        await self.link.run("update task_claims set claimed_at = claimed_at - interval '1 h'")
        for claim in self.model.tables.claims.values():
            claim.claimed_at = claim.claimed_at and claim.claimed_at - HOUR


def plain(answer: Any) -> Any:
    """An answer without what each server makes for itself: ids, tokens, and moments of its own clock."""
    if isinstance(answer, Claim):
        return answer._replace(token=UUID(int=0), started_at=None)
    if isinstance(answer, list):
        return sorted((plain(one) for one in answer), key=repr)
    if isinstance(answer, runners.Beat):
        return answer.mine, answer.returned, answer.others, answer.lost
    if isinstance(answer, overrides.Override):
        return replace(answer, id=0, created_at=PAST, ended_at=answer.ended_at and PAST)
    if isinstance(answer, configs.ConfigKey):
        return replace(answer, id=0)
    if isinstance(answer, desired.Wanted):
        return answer._replace(config_id=0)
    if isinstance(answer, cursors.Sighted):
        pauses = [(one.until is None, one.reason, one.actor) for one in answer.pauses]
        return answer.name, answer.digest, answer.revision, answer.through, pauses
    return answer


WEIGHTS = {
    "edit": 4,
    "prune": 1,
    "decide": 14,
    "pick_up": 6,
    "wait": 3,
    "finish": 8,
    "hand_back": 5,
    "ask": 3,
    "cancel": 2,
    "pause": 2,
    "live": 4,
}


@pytest.fixture
def loops() -> Iterator[list[VirtualLoop]]:
    made: list[VirtualLoop] = []
    yield made
    for loop in made:
        loop.close()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_pretended_postgresql_answers_as_the_real_one(
    link: Link, loops: list[VirtualLoop], seed: int
) -> None:
    both = Both(link, seed)
    loops.append(both.loop)
    for _ in range(8):
        await both.edit()
    for _ in range(STEPS):
        [act] = both.random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        await getattr(both, act)()
