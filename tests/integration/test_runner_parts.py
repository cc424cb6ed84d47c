"""The parts of a runner, each against what a store, another runner or a bug may do to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from reconciler.db import byhand, claims, finishing, runners
from reconciler.db.link import UNWIND, Link
from reconciler.errors import StoreUnavailable
from reconciler.execute import Call, Outcome
from reconciler.runner import Runner, deciding
from reconciler.runner import runner as control
from reconciler.runner.beating import STANDSTILL
from reconciler.runner.clock import Clock
from reconciler.runner.deciding import Decider
from reconciler.runner.running import Run, Running
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.settings import RunnerSettings
from reconciler.spec import TaskSpec

ME = UUID(int=7)
INFO = SimpleNamespace(is_async=True, schema={})


class Part:
    """A decider and what it runs with, save that nothing really runs: `submitted` is what would."""

    def __init__(self, database_url: str, scheduler: SchedulerService) -> None:
        self.link = Link(database_url)
        self.scheduler = scheduler
        self.clock = Clock()
        self.submitted: list[Call] = []
        self.children: Any = SimpleNamespace(catalogue={"t.a": INFO}, submit=self.submitted.extend)
        self.running = Running(self.clock, "here:1", {True: 10, False: 10}, asyncio.Event())
        self.decider = Decider(ME, self.link, scheduler, self.clock, self.running, self.children, ["default"])

    async def config(self, name: str, **fields: Any) -> None:
        spec = TaskSpec.from_document({"name": name, "task": "t.a", **fields})
        values = [name, Jsonb(spec.document()), spec.digest]
        await self.link.run(
            "insert into task_configs (name, source, spec, digest, path) values (%s, 'default', %s, %s, 'a')", values
        )
        await self.link.run(
            "insert into task_revisions (source, path, name, spec, digest, sync_id)"
            " values ('default', 'a.yaml', %s, %s, %s, 1)",
            values,
        )
        await self.link.run("insert into task_cursors values (%s, clock_timestamp() - interval '1 hour')", [name])

    async def begun(self, name: str) -> Run:
        """A claim of the name, picked up and under way."""
        await byhand.trigger(self.link, name)
        await self.decider.pick_up()
        return next(run for run in self.running.runs.values() if run.claim.name == name)

    def settle(self, *runs: Run) -> None:
        now = time.monotonic()
        self.running.settle([(str(run.claim.token), Outcome(True, now, now)) for run in runs])

    async def until_submitted(self, *names: str, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while {call.name for call in self.submitted} != set(names):
                await self.decider.look()
                await asyncio.sleep(0.02)


@pytest.fixture
async def part(database_url: str, scheduler: SchedulerService) -> AsyncIterator[Part]:
    part = Part(database_url, scheduler)
    yield part
    await part.link.close()


async def test_a_lock_or_a_full_disk_is_no_rows_fault_and_the_result_waits(part: Part, database_url: str) -> None:
    await part.config("a")
    run = await part.begun("a")
    writer = Link(database_url, lock_timeout=timedelta(milliseconds=100))
    writing = asyncio.create_task(part.running.write_out(writer, 5))
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("lock table task_executions in exclusive mode")
        part.settle(run)
        await asyncio.sleep(0.5)
        assert not writing.done()
        assert part.running.held() == {run.claim.token}
    async with asyncio.timeout(10):
        while part.running.held():
            await asyncio.sleep(0.02)
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing
    await writer.close()
    assert await part.link.run("select is_success, error from task_executions") == [(True, None)]


async def test_an_outcome_that_makes_no_row_is_a_failed_one_and_costs_no_other(part: Part) -> None:
    await part.config("a")
    await part.config("b")
    good, bad = await part.begun("a"), await part.begun("b")
    now: Any = time.monotonic()
    outcomes = [
        (str(bad.claim.token), Outcome(True, "soon", now)),  # type: ignore[arg-type]
        (str(good.claim.token), Outcome(True, now, now)),
    ]
    part.running.settle(outcomes)
    await part.running.flush(part.link, 5)
    rows = await part.link.run("select name, is_success, error from task_executions order by name")
    assert rows == [("a", True, None), ("b", False, "its outcome could not be recorded: TypeError")]


async def test_results_that_each_need_their_own_statement_get_through_a_store_that_is_slow(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    await part.config("a", overlap="allow", notify={"on": ["failure"], "to": ["ops"]})
    for _ in range(6):
        await byhand.trigger(part.link, "a")
    await part.decider.pick_up()
    part.settle(*part.running.runs.values())
    write, left = finishing.finish, 0

    async def slow(*args: Any, **named: Any) -> set[UUID]:
        nonlocal left
        left -= 1
        if left < 0:
            raise StoreUnavailable("no answer in time")
        return await write(*args, **named)

    monkeypatch.setattr(finishing, "finish", slow)
    for _ in range(3):
        left = 2  # so many answers in a flush's time
        with suppress(StoreUnavailable):
            await part.running.flush(part.link, 5)
    assert await part.link.run("select count(*) from task_executions") == [(6,)]
    assert not part.running.held()


async def test_a_cursor_that_was_locked_for_a_moment_does_not_cost_the_whole_hold(
    part: Part, database_url: str
) -> None:
    await part.config("a", schedule=["@every 1h"])
    await part.decider.align()
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("select 1 from task_cursors for update")
        for _ in range(3):
            await part.decider.look()
        assert part.submitted == []
    await part.until_submitted("a", seconds=3)


@pytest.mark.parametrize("error", [StoreUnavailable("postgresql: away"), psycopg.errors.ReadOnlySqlTransaction()])
async def test_what_was_taken_when_postgresql_went_away_is_looked_at_as_soon_as_it_is_back(
    part: Part, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def away(*_: Any) -> Any:
        raise error

    await part.config("a", schedule=["@every 1h"])
    await part.decider.align()
    with monkeypatch.context() as patch:
        patch.setattr(deciding.cursors, "sight", away)
        with pytest.raises(type(error)):
            await part.decider.look()
    await part.until_submitted("a", seconds=3)


async def test_what_a_runner_had_taken_that_stops_is_looked_at_at_once(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_: Any) -> Any:
        is_asked.set()
        await asyncio.sleep(60)

    is_asked = asyncio.Event()
    await part.config("a", schedule=["@every 1h"])
    await part.decider.align()
    with monkeypatch.context() as patch:
        patch.setattr(deciding.cursors, "sight", hangs)
        look = asyncio.ensure_future(part.decider.look())
        await is_asked.wait()
        look.cancel()
        await asyncio.wait([look])
        await part.decider.let_go()
    await part.until_submitted("a", seconds=3)


@pytest.mark.parametrize("queues", [["default"], ["other", "default"], ["other"]])
async def test_what_a_runner_had_taken_that_died_is_looked_at_when_that_is_noted(
    part: Part, scheduler: SchedulerService, queues: list[str]
) -> None:
    await part.config("a", schedule=["@every 1h"])
    await part.decider.align()
    now, epoch = datetime.now(UTC), await scheduler.epoch()
    taken = await scheduler.take(["default"], now, 10, timedelta(seconds=10), epoch or "")
    assert len(taken.due) == 1
    await part.decider.look()
    assert part.submitted == []
    await part.decider.show(queues)
    await part.decider.look()
    assert len(part.submitted) == ("default" in queues)


async def test_a_config_that_cannot_be_decided_stops_no_other(
    part: Part, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = deciding.decide

    def decide(spec: TaskSpec, *rest: Any) -> Any:
        if spec.name == "bad":
            raise OverflowError("date value out of range")
        return real(spec, *rest)

    monkeypatch.setattr(deciding, "decide", decide)
    for name in ("a", "bad", "c"):
        await part.config(name, schedule=["@every 1h"])
    await part.decider.align()
    await part.until_submitted("a", "c")
    assert [record.message for record in caplog.records] == [
        "bad: cannot be decided: OverflowError: date value out of range"
    ]


async def test_work_whose_task_a_reload_took_away_meanwhile_is_handed_back(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = deciding.claims.pick_up

    async def pick_up(*rest: Any) -> Any:
        picked = await real(*rest)
        part.children.catalogue = {}
        return picked

    monkeypatch.setattr(deciding.claims, "pick_up", pick_up)
    await part.config("a")
    await byhand.trigger(part.link, "a")
    await part.decider.pick_up()
    assert part.submitted == []
    assert await part.link.run("select runner_id, attempts from task_claims") == [(None, [])]


async def test_nothing_is_called_unknown_while_it_is_being_picked_up(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runners.register(part.link, ME, host="h", pid=1, queues=["default"], tasks={}, lease=30)
    real = deciding.claims.pick_up

    async def pick_up(*rest: Any) -> Any:
        picked = await real(*rest)
        await part.link.run("update task_claims set claimed_at = claimed_at - interval '1 minute'")
        beat = await runners.beat(part.link, ME, part.running.held(), is_all=not part.decider.is_picking_up)
        assert beat.returned == 0
        return picked

    monkeypatch.setattr(deciding.claims, "pick_up", pick_up)
    await part.config("a")
    await part.begun("a")
    assert await part.link.run("select runner_id from task_claims") == [(ME,)]
    assert not part.decider.is_picking_up


async def test_what_was_handed_back_takes_no_late_result(part: Part) -> None:
    await part.config("a")
    run = await part.begun("a")
    back = claims.Returned("a", run.claim.scheduled_for, run.claim.token, part.clock.now(), [{"error": "it died"}])
    assert await finishing.hand_back(part.link, [back]) == {run.claim.token}
    part.settle(run)
    await part.running.flush(part.link, 5)
    assert await part.link.run("select 1 from task_executions") == []
    assert await part.link.run("select runner_id, attempts from task_claims") == [(None, back.attempts)]


async def test_a_beat_tells_what_was_lost_and_who_owns_without_being_there(part: Part) -> None:
    nobody, lost = uuid4(), uuid4()
    await runners.register(part.link, ME, host="h", pid=1, queues=["default"], tasks={}, lease=3)
    await part.config("a")
    await part.config("b")
    run = await part.begun("a")
    await byhand.trigger(part.link, "b")
    assert len(await claims.pick_up(part.link, nobody, ["default"], ["t.a"], 1)) == 1
    beat = await runners.beat(part.link, ME, [run.claim.token, lost])
    assert (beat.lost, beat.others) == ({lost}, {nobody: (-1, 3.0)})


async def test_to_register_again_is_a_beat(part: Part) -> None:
    other = uuid4()
    for id_ in (ME, other):
        await runners.register(part.link, id_, host="h", pid=1, queues=["default"], tasks={}, lease=3)
    seen = (await runners.beat(part.link, other, [])).others[ME]
    await runners.register(part.link, ME, host="h", pid=1, queues=["default"], tasks={}, lease=3)
    assert (await runners.beat(part.link, other, [])).others[ME] == (seen[0] + 1, 3.0)


async def test_who_leaves_hands_back_without_an_attempt_what_it_won_without_knowing(part: Part) -> None:
    await runners.register(part.link, ME, host="h", pid=1, queues=["default"], tasks={}, lease=3)
    await part.config("a")
    await part.begun("a")
    await runners.leave(part.link, ME)
    assert await part.link.run("select runner_id, token, attempts from task_claims") == [(None, None, [])]
    assert await runners.listing(part.link) == []


def test_a_slow_answer_moves_the_clock_no_further_than_it_must() -> None:
    clock = Clock()
    start, at = datetime(2026, 1, 1, tzinfo=UTC), 1000.0
    clock.set(start, at, at + 0.002)
    assert abs(clock.at(at) - start) <= timedelta(milliseconds=2)
    before = clock.at(at)
    clock.set(start + timedelta(seconds=17), at + 10, at + 17)  # told at its end, as by a server that was stopped
    assert clock.at(at) == pytest.approx(before, abs=timedelta(milliseconds=2))
    clock.set(start + timedelta(seconds=20), at + 20, at + 27)  # told at its beginning
    assert clock.at(at) == pytest.approx(before, abs=timedelta(milliseconds=2))
    clock.set(start + timedelta(hours=1), at + 30, at + 30.002)  # the server's own clock was stepped
    assert clock.at(at + 30) == pytest.approx(start + timedelta(hours=1), abs=timedelta(milliseconds=2))


def runner(database_url: str, redis: RedisServiceManager, directory: Path, lease: int = 2, **options: Any) -> Runner:
    (directory / "mytasks.py").write_text(
        "import asyncio\nfrom reconciler.registry import task\n\n"
        '@task("t.a")\nasync def a(seconds: float = 60) -> None:\n    await asyncio.sleep(seconds)\n'
    )
    settings = RunnerSettings(lease=timedelta(seconds=lease), shutdown_grace=timedelta(seconds=1))
    return Runner(database_url, redis, settings, directory=directory, modules=["mytasks"], environ={}, **options)


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


class Steps:
    """What a control loop had its decider do; a look raises `error` where there is one."""

    is_short_of_slots = False

    def __init__(self, error: Exception | None = None) -> None:
        self.done: list[str] = []
        self.error = error

    async def settle_uncertain(self) -> None:
        self.done.append("settle")
        if self.error:
            raise self.error

    async def pick_up(self) -> bool:
        self.done.append("pick up")
        return False

    async def look(self) -> datetime:
        self.done.append("look")
        return datetime.now(UTC) + timedelta(hours=1)

    async def let_go(self, seconds: float) -> None:
        self.done.append("let go")


async def test_a_runner_that_has_not_beaten_for_a_whole_lease_takes_nothing_before_it_beats(
    database_url: str, redis: RedisServiceManager, tmp_path: Path
) -> None:
    one, steps = runner(database_url, redis, tmp_path), Steps()
    one._decider = steps  # type: ignore[assignment]
    one._presence._beats._last -= one._lease
    control_loop = asyncio.create_task(one._control())
    await until(lambda: len(steps.done) >= 2)
    assert set(steps.done) == {"let go"}
    await one._presence.enter()
    await until(lambda: "look" in steps.done)
    control_loop.cancel()
    await asyncio.wait([control_loop])
    await one._close_links()


@pytest.mark.parametrize("error", [StoreUnavailable("postgresql: away"), RuntimeError("a fault of ours")])
async def test_a_look_that_fails_at_once_with_a_pick_up_due_rests_before_the_next(
    database_url: str,
    redis: RedisServiceManager,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    one, steps, rests, noon = runner(database_url, redis, tmp_path), Steps(error), [], datetime(2026, 1, 1, tzinfo=UTC)

    async def rest(moment: datetime) -> bool:
        rests.append((moment - noon).total_seconds())
        await asyncio.sleep(0)
        return False

    # Time stands still: what it asks for is what it would rest.
    monkeypatch.setattr(control, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    one.clock = SimpleNamespace(  # type: ignore[assignment]
        now=lambda: noon, at=lambda moment: noon + timedelta(seconds=moment - 1000)
    )
    monkeypatch.setattr(one, "_sleep_until", rest)
    one._decider = steps  # type: ignore[assignment]
    control_loop = asyncio.create_task(one._control())
    await until(lambda: len(rests) >= 3)
    control_loop.cancel()
    await asyncio.wait([control_loop])
    assert set(rests) == {control.RETRY}


async def test_a_run_that_another_has_taken_over_is_cancelled_and_writes_nothing(
    part: Part, database_url: str, redis: RedisServiceManager, tmp_path: Path
) -> None:
    one, stop = runner(database_url, redis, tmp_path), asyncio.Event()
    task = asyncio.create_task(one.run(stop))
    await part.config("a")
    await byhand.trigger(part.link, "a")
    await until(lambda: one.running.runs)
    [claim] = await finishing.of_runner(part.link, one.id)
    later = datetime.now(UTC) + timedelta(hours=1)
    attempts: Iterable[Any] = [{"error": "the runner died"}]
    await finishing.hand_back(
        part.link, [claims.Returned("a", claim.scheduled_for, claim.token, later, list(attempts))]
    )
    await until(lambda: not one.running.held())
    stop.set()
    await task
    assert await part.link.run("select runner_id, attempts from task_claims") == [(None, list(attempts))]
    assert await part.link.run("select 1 from task_executions") == []


async def test_waiting_work_fills_the_slots_at_once_however_few_sync_ones_there_are(
    part: Part, database_url: str, redis: RedisServiceManager, tmp_path: Path
) -> None:
    for n in range(60):
        await part.config(f"n{n}")
        await byhand.trigger(part.link, f"n{n}")
    one, stop = runner(database_url, redis, tmp_path), asyncio.Event()
    task = asyncio.create_task(one.run(stop))
    await until(lambda: one.running.runs)
    await until(lambda: len(one.running.runs) == 60, seconds=5)
    stop.set()
    await task


async def test_claims_of_a_runner_that_is_not_even_listed_are_taken_over(
    part: Part, database_url: str, redis: RedisServiceManager, tmp_path: Path
) -> None:
    await part.config("a")
    await byhand.trigger(part.link, "a")
    assert len(await claims.pick_up(part.link, uuid4(), ["default"], ["t.a"], 1)) == 1
    one, stop = runner(database_url, redis, tmp_path), asyncio.Event()
    task = asyncio.create_task(one.run(stop))
    async with asyncio.timeout(20):
        while not await part.link.run("select 1 from task_executions"):
            await asyncio.sleep(0.05)
    stop.set()
    await task
    assert await part.link.run("select is_success, error from task_executions") == [(False, "the runner died")]


async def test_what_a_dead_runner_held_is_ended_also_where_its_spec_cannot_be_read(
    part: Part, database_url: str, redis: RedisServiceManager, tmp_path: Path
) -> None:
    await part.config("a")
    await byhand.trigger(part.link, "a")
    assert len(await claims.pick_up(part.link, uuid4(), ["default"], ["t.a"], 1)) == 1
    await part.link.run("update task_claims set digest = 'of a version to come'")
    one, stop = runner(database_url, redis, tmp_path), asyncio.Event()
    task = asyncio.create_task(one.run(stop))
    async with asyncio.timeout(20):
        while not await part.link.run("select 1 from task_executions"):
            await asyncio.sleep(0.05)
    stop.set()
    await task
    assert await part.link.run("select is_success, error from task_executions") == [(False, "the runner died")]
    assert await part.link.run("select * from task_claims") == []


@pytest.mark.parametrize("lease", [2, 5, 30, 300])
def test_the_watchdog_outwaits_a_store_that_hangs(
    lease: int, database_url: str, redis: RedisServiceManager, tmp_path: Path
) -> None:
    one = runner(database_url, redis, tmp_path, lease)
    assert STANDSTILL * one._watchdog._every > lease / 4 + 2 * UNWIND


async def test_a_run_is_told_to_stop_only_once(
    database_url: str, redis: RedisServiceManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, told = runner(database_url, redis, tmp_path), []
    monkeypatch.setattr(one.children, "cancel", lambda call_id, why: told.append(call_id))
    one.running.runs["x"] = SimpleNamespace()  # type: ignore[assignment]
    for _ in range(3):
        one._cancel(one.running.runs.keys(), "out of touch")
    assert told == ["x"]


async def test_a_reload_while_postgresql_is_away_reloads(
    part: Part, database_url: str, redis: RedisServiceManager, tmp_path: Path
) -> None:
    one, stop = runner(database_url, redis, tmp_path), asyncio.Event()
    task = asyncio.create_task(one.run(stop))
    await until(lambda: one.children.catalogue and one._ticked)
    (tmp_path / "mytasks.py").write_text('from reconciler.registry import task\n\n@task("t.b")\ndef b() -> None: ...\n')
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("lock table runners in exclusive mode")
        await one.reload()
        assert "t.b" in one.children.catalogue and "t.a" not in one.children.catalogue
    async with asyncio.timeout(20):
        while not all("t.b" in row.tasks for row in await runners.listing(part.link)):
            await asyncio.sleep(0.05)
    stop.set()
    await task


async def test_a_run_that_is_replaced_is_cancelled_fails_for_good_and_makes_room(
    part: Part, database_url: str, redis: RedisServiceManager, tmp_path: Path
) -> None:
    retries = {"attempts": 3, "backoff": "1ms"}
    await part.config("a", schedule=["@every 3s"], overlap="replace", missed="skip", retries=retries)
    one, stop = runner(database_url, redis, tmp_path), asyncio.Event()
    task = asyncio.create_task(one.run(stop))
    async with asyncio.timeout(40):
        while len(rows := await part.link.run("select * from task_executions")) < 2:
            await asyncio.sleep(0.1)
    stop.set()
    await task
    assert rows
    told = await part.link.run("select scheduled_for, is_success, error, attempts from task_executions order by 1")
    for (_, is_success, error, attempts), (following, *_) in pairwise(told):
        assert (is_success, error, attempts) == (False, f"replaced by the run of {following:%Y-%m-%dT%H:%M:%SZ}", [])
    assert await part.link.run("select * from task_skips where reason = 'overlap'") == []


async def test_a_runner_keeps_the_limit_of_a_queue(
    part: Part, database_url: str, redis: RedisServiceManager, tmp_path: Path
) -> None:
    for n in range(6):
        await part.config(f"n{n}", params={"seconds": 0.3})
        await byhand.trigger(part.link, f"n{n}")
    runners_of_it = [runner(database_url, redis, tmp_path, limits={"default": 2}) for _ in range(2)]
    stop, most = asyncio.Event(), 0
    tasks = [asyncio.create_task(one.run(stop)) for one in runners_of_it]
    async with asyncio.timeout(60):
        while await part.link.run("select count(*) from task_executions where is_success") != [(6,)]:
            [(owned,)] = await part.link.run("select count(*) from task_claims where runner_id is not null")
            most = max(most, owned)
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*tasks)
    assert most == 2
