"""What a runner makes of what is due and of what waits, on real stores: backlogs, limits, deadlines, what is to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from reconciler.db import byhand, claims, cursors, runners, waiting
from reconciler.db.link import Link
from reconciler.execute import Call, Outcome, failed
from reconciler.occurrences import wake_at
from reconciler.runner import deciding
from reconciler.runner.clock import Clock
from reconciler.runner.deciding import Decider
from reconciler.runner.running import Running
from reconciler.scheduler import SchedulerService
from reconciler.spec import TaskSpec

CATALOGUE = {
    "t.a": SimpleNamespace(is_async=True, schema={}, wants_context=False),
    "t.s": SimpleNamespace(is_async=False, schema={}, wants_context=False),
}
Asked = list[str]
HOURLY = ["@every 1h"]
MINUTELY = ["@every 1m"]


class Station:
    """A runner's decider and what it holds, save that nothing really runs: `calls` are what would, until it ends."""

    def __init__(
        self, url: str, scheduler: SchedulerService, limits: Mapping[str, int], slots: tuple[int, int] = (10, 2)
    ) -> None:
        self.link = Link(url)
        self.clock = Clock()
        self.calls: list[Call] = []
        self.id = uuid4()
        children: Any = SimpleNamespace(catalogue=CATALOGUE, submit=self.calls.extend)
        self.running = Running(self.clock, "here:1", {True: slots[0], False: slots[1]}, asyncio.Event())
        self.decider = Decider(
            self.id, self.link, scheduler, self.clock, self.running, children, ["default", "narrow"], limits
        )

    async def turn(self) -> None:
        """Pick up and look, as the control loop does, until nothing more is due."""
        await self.decider.pick_up()
        for _ in range(50):
            if await self.decider.look() > self.clock.now():
                return

    async def end(self, *, success: bool = True) -> None:
        """All that runs has ended, and is written."""
        now = time.monotonic()
        outcome = Outcome(True, now, now) if success else failed("ValueError: no", since=now)
        self.running.settle([(call_id, outcome) for call_id in list(self.running.runs)])
        await self.running.flush(self.link, 5)

    async def asked_to_end(self, name: str, why: str) -> None:
        await self.link.run("update task_claims set cancel_requested = %s where name = %s", [why, name])

    @property
    def under_way(self) -> list[str]:
        return sorted(run.claim.name for run in self.running.runs.values())

    async def rows(self, sql: str) -> list[Any]:
        return await self.link.run(sql)


class Place:
    """One pair of stores, with as many stations on them as a test needs."""

    def __init__(self, url: str, scheduler: SchedulerService) -> None:
        self.url, self.scheduler = url, scheduler
        self.stations: list[Station] = []

    def station(self, limits: Mapping[str, int] | None = None, slots: tuple[int, int] = (10, 2)) -> Station:
        self.stations.append(Station(self.url, self.scheduler, limits or {}, slots))
        return self.stations[-1]

    async def add(self, name: str, *, down: str = "1 hour", **fields: Any) -> None:
        """A config that nothing was decided of for so long."""
        link = self.stations[0].link
        spec = TaskSpec.from_document({"name": name, "task": "t.a", **fields})
        values = [name, Jsonb(spec.document()), spec.digest]
        await link.run(
            "insert into task_configs (name, source, spec, digest, path) values (%s, 'd', %s, %s, 'a')", values
        )
        await link.run(
            "insert into task_revisions (source, path, name, spec, digest, sync_id)"
            " values ('default', 'a.yaml', %s, %s, %s, 1)",
            values,
        )
        await link.run("insert into task_cursors values (%s, clock_timestamp() - %s::interval)", [name, down])


@pytest.fixture
async def place(database_url: str, scheduler: SchedulerService) -> AsyncIterator[Place]:
    place = Place(database_url, scheduler)
    yield place
    for station in place.stations:
        await station.link.close()


async def test_a_backlog_runs_one_after_the_other_oldest_first_beginning_at_once(place: Place) -> None:
    one = place.station()
    await place.add("a", schedule=HOURLY, missed="all", missed_within="1d", down="4 hours")
    await one.decider.align()
    await one.turn()
    ran = []
    for _ in range(4):
        [run] = one.running.runs.values()
        ran.append(run.claim.scheduled_for)
        assert run.claim.trigger in ("catch_up", "schedule")
        await one.end()
        await one.turn()
    assert one.under_way == []
    assert ran == sorted(ran)
    assert len(set(ran)) == 4
    assert await one.rows("select count(*) from task_executions") == [(4,)]


async def test_backlogs_of_many_names_are_spread_under_the_slots_there_are(place: Place) -> None:
    one = place.station(slots=(3, 2))
    for n in range(8):
        await place.add(f"n{n}", schedule=MINUTELY, missed="all", missed_within="1d", down="6 minutes")
    await one.decider.align()
    most = 0
    for _ in range(40):
        await one.turn()
        most = max(most, len(one.running.runs))
        await one.end()
    assert most == 3
    rows = await one.rows(
        "select name, count(*), count(distinct scheduled_for) from task_executions group by name order by name"
    )
    assert [row[0] for row in rows] == [f"n{n}" for n in range(8)]
    assert all(count in (6, 7) and count == distinct for _, count, distinct in rows)
    assert await one.rows("select * from task_claims") == []


async def test_no_statement_has_more_occurrences_than_it_should(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real, sizes = deciding.claims.decide, []

    async def decide(link: Any, runner_id: UUID, moves: Any, fires: Any, skips: Any) -> Any:
        sizes.append(len(fires))
        return await real(link, runner_id, moves, fires, skips)

    monkeypatch.setattr(deciding.claims, "decide", decide)
    monkeypatch.setattr(deciding, "MOST_FIRES", 10)
    one = place.station()
    for n in range(9):
        await place.add(f"n{n}", schedule=MINUTELY, missed="all", missed_within="1d", down="7 minutes")
    await one.decider.align()
    await one.turn()
    assert max(sizes) < 20
    assert sum(sizes) >= 9 * 7
    assert await one.rows("select count(*) from task_cursors where through < clock_timestamp() - interval '2 min'") == [
        (0,)
    ]


async def test_a_queue_with_a_limit_has_no_more_runs_than_that_on_all_runners_together(place: Place) -> None:
    limits = {"narrow": 3}
    stations = [place.station(limits) for _ in range(3)]
    for n in range(12):
        await place.add(f"n{n}", schedule=HOURLY, queue="narrow")
        await place.add(f"free{n}", schedule=HOURLY)
    await stations[0].decider.align()
    most = 0
    async with asyncio.timeout(60):
        while await stations[0].rows("select count(*) from task_executions") != [(24,)]:
            for one in stations:
                await one.decider.align()
            await asyncio.gather(*(one.turn() for one in stations))
            [(owned,)] = await stations[0].rows(
                "select count(*) from task_claims where queue = 'narrow' and runner_id is not null"
            )
            most = max(most, owned)
            await asyncio.gather(*(one.end() for one in stations))
    assert most == 3


async def test_a_cancelled_retry_is_failed_at_once_with_what_its_attempts_said_and_without_a_call(place: Place) -> None:
    one, other = place.station(), place.station()
    await place.add("a", retries={"attempts": 3, "backoff": "1h", "max_backoff": "1h"})
    await byhand.trigger(one.link, "a")
    await one.decider.pick_up()
    await one.end(success=False)
    assert await one.rows("select runner_id, jsonb_array_length(attempts) from task_claims") == [(None, 1)]
    await one.asked_to_end("a", "cancelled by ada: wrong file")
    await other.decider.pick_up()
    await other.running.flush(other.link, 5)
    assert other.calls == []
    rows = await one.rows("select is_success, error, attempts -> 0 ->> 'error' from task_executions")
    assert rows == [(False, "cancelled by ada: wrong file", "ValueError: no")]
    assert await one.rows("select * from task_claims") == []


async def test_a_cancelled_retry_ends_also_where_its_spec_cannot_be_read(place: Place) -> None:
    one = place.station()
    await place.add("a", retries={"attempts": 3, "backoff": "1h", "max_backoff": "1h"})
    await byhand.trigger(one.link, "a")
    await one.decider.pick_up()
    await one.end(success=False)
    await one.link.run("update task_claims set digest = 'of a version to come'")
    await one.asked_to_end("a", "cancelled by ada")
    for _ in range(2):
        await one.decider.pick_up()
        await one.running.flush(one.link, 5)
    assert await one.rows("select is_success, error from task_executions") == [(False, "cancelled by ada")]
    assert await one.rows("select * from task_claims") == []


async def test_a_retry_of_a_task_that_no_runner_has_any_more_ends_and_frees_its_name(place: Place) -> None:
    one = place.station()
    for name in ("renamed", "there", "pruned"):
        await place.add(name, retries={"attempts": 3, "backoff": "1s"})
        await byhand.trigger(one.link, name)
    await one.decider.pick_up()
    await one.end(success=False)
    await one.link.run("update task_claims set task = 't.old', not_before = clock_timestamp() - interval '1 h'")
    old = Jsonb({"task": "t.old"})
    await one.link.run("update task_configs set spec = spec || %s where name = 'there'", [old])
    await one.link.run("delete from task_configs where name = 'pruned'")
    assert await waiting.give_up(one.link) == [], "nobody is there who could tell"
    await runners.register(one.link, one.id, host="here", pid=1, queues=["default"], tasks={"t.a": {}}, lease=30)
    assert await waiting.give_up(one.link, timedelta(hours=2)) == []
    why = "given up: no runner has the task 't.old' in queue 'default' any more"
    assert sorted(await waiting.give_up(one.link)) == [("pruned", why), ("renamed", why)]
    await one.decider.pick_up()
    await one.running.flush(one.link, 5)
    rows = await one.rows("select name, is_success, error from task_executions order by 1")
    assert rows == [("pruned", False, why), ("renamed", False, why)]
    assert await one.rows("select name from task_claims") == [("there",)]


async def test_what_replaces_a_run_starts_when_it_has_ended(place: Place) -> None:
    one = place.station()
    await place.add("a", schedule=HOURLY, overlap="replace")
    await one.decider.align()
    await one.turn()
    [(first,)] = await one.rows("select scheduled_for from task_claims")
    await one.link.run("update task_cursors set through = through - interval '1 hour'")
    await one.link.run("update task_claims set scheduled_for = scheduled_for - interval '1 hour'")
    await one.decider.align()
    await one.turn()
    asked = await one.rows("select scheduled_for, cancel_requested, runner_id from task_claims order by 1")
    assert asked == [
        (first - timedelta(hours=1), f"replaced by the run of {first:%Y-%m-%dT%H:%M:%SZ}", one.id),
        (first, None, None),
    ]
    await one.link.run("delete from task_claims where runner_id is not null")
    await one.decider.pick_up()
    assert [run.claim.scheduled_for for run in one.running.runs.values()][-1] == first


async def test_what_waits_beyond_its_deadline_is_a_skip_by_the_next_turn(place: Place) -> None:
    one = place.station({"narrow": 1})
    await place.add("busy", queue="narrow")
    await byhand.trigger(one.link, "busy")
    await one.decider.pick_up()
    await place.add("a", schedule=HOURLY, queue="narrow", deadline={"start": "2h"})
    await one.decider.align()
    await one.turn()
    [(when, start_by)] = await one.rows("select scheduled_for, start_by from task_claims where runner_id is null")
    assert start_by == when + timedelta(hours=2)
    await one.link.run("update task_claims set start_by = clock_timestamp() - interval '1 s' where name = 'a'")
    await one.decider.pick_up()
    rows = await one.rows("select first, reason, detail from task_skips where name = 'a'")
    assert rows == [(when, "deadline", "not started within 2h")]
    assert one.under_way == ["busy"]


async def test_a_run_with_a_memory_limit_takes_the_slot_of_a_process(place: Place) -> None:
    one = place.station(slots=(10, 2))
    for n in range(3):
        await place.add(f"big{n}", schedule=HOURLY, memory_limit="64M")
    for n in range(3):
        await place.add(f"waits{n}", memory_limit="64M")
        await byhand.trigger(one.link, f"waits{n}")
    await one.decider.align()
    await one.turn()
    assert (one.running.free(True), one.running.free(False)) == (10, 0)
    assert {run.is_async for run in one.running.runs.values()} == {False}
    await one.link.run("update task_claims set not_before = scheduled_for")
    await one.decider.pick_up()
    assert len(one.running.runs) == 2
    assert await one.rows("select count(*) from task_claims where runner_id is not null") == [(2,)]
    assert await one.rows("select distinct attempts from task_claims") == [([],)], "handed back, and nothing counted"


async def test_each_kind_of_waiting_work_fills_its_slots_in_one_turn(place: Place) -> None:
    one = place.station(slots=(10, 2))
    for n in range(8):
        for task in ("t.a", "t.s"):
            await place.add(f"{task}{n}", task=task)
            await byhand.trigger(one.link, f"{task}{n}")
    await one.decider.pick_up()
    assert (one.running.free(True), one.running.free(False)) == (2, 0)
    assert await one.rows("select count(*) from task_claims where runner_id is not null") == [(10,)]


async def test_a_task_whose_runs_have_no_memory_limit_any_more_fills_its_slots_again(place: Place) -> None:
    one = place.station(slots=(10, 1))
    await place.add("big", memory_limit="64M")
    await byhand.trigger(one.link, "big")
    await one.decider.pick_up()
    assert one.running.free(False) == 0
    await one.end()
    for n in range(5):
        await place.add(f"small{n}")
        await byhand.trigger(one.link, f"small{n}")
    for _ in range(2):
        await one.decider.pick_up()
    assert len(one.under_way) == 5, "the first of them told, and the others followed"


async def test_while_no_process_is_free_what_needs_one_is_not_given_out_and_back_again(place: Place) -> None:
    one = place.station(slots=(10, 1))
    for n in range(4):
        await place.add(f"big{n}", memory_limit="64M")
        await byhand.trigger(one.link, f"big{n}")
    await one.decider.pick_up()
    while await one.decider.pick_up():
        pass
    await one.link.run("update task_claims set claimed_at = null, not_before = scheduled_for where runner_id is null")
    assert not await one.decider.pick_up()
    assert await one.rows("select count(*) from task_claims where claimed_at is not null") == [(1,)]
    await one.end()
    await one.decider.pick_up()
    assert len(one.running.runs) == 1, "and the next follows when one is free"


async def test_a_pause_by_label_that_has_ended_leaves_its_instants_paused(place: Place) -> None:
    one = place.station()
    await place.add("a", schedule=MINUTELY, labels={"team": "data"}, down="10 minutes")
    await place.add("b", schedule=MINUTELY, labels={"team": "web"}, down="10 minutes")
    await one.link.run(
        "insert into task_overrides (selector, kind, actor, reason, created_at, ended_at) values (%s, 'pause', 'ada',"
        " 'db', clock_timestamp() - interval '1 hour', clock_timestamp() - interval '5 minutes')",
        [Jsonb({"team": "data"})],
    )
    await one.decider.align()
    await one.turn()
    skips = await one.rows("select distinct name, reason, detail from task_skips order by 1, 2")
    assert skips == [
        ("a", "missed", "only the latest is made up for"),
        ("a", "paused", "paused by ada: db"),
        ("b", "missed", "only the latest is made up for"),
    ]


@pytest.mark.parametrize(
    ("day", "fields", "instants"),
    [
        ("2025-03-30", {"schedule": "30 2 * * *"}, ["01:00"]),
        ("2025-03-30", {"schedule": "30 2 * * *", "dst": {"gap": "skip"}}, []),
        ("2025-03-30", {"schedule": "*/30 2-3 * * *", "jitter": "25m"}, ["01:00", "01:30"]),
        ("2025-10-26", {"schedule": "30 2 * * *"}, ["00:30"]),
        ("2025-10-26", {"schedule": "30 2 * * *", "dst": {"fold": "both"}}, ["00:30", "01:30"]),
        ("2025-10-26", {"schedule": "0 2 * * *", "dst": {"fold": "second"}, "jitter": "50m"}, ["01:00"]),
    ],
)
async def test_in_the_nights_when_clocks_change_each_instant_starts_once_and_by_its_jitter(
    place: Place, day: str, fields: dict[str, Any], instants: list[str]
) -> None:
    one, midnight, step = place.station(), datetime.fromisoformat(f"{day}T00:00:00+00:00"), timedelta(minutes=5)
    spec = TaskSpec(name="a", task="t.a", timezone="Europe/Berlin", **fields)
    await place.add("a", timezone="Europe/Berlin", **fields)
    await one.link.run("update task_cursors set through = %s", [midnight])
    for number in range(1, 37):
        now, reading = midnight + number * step, time.monotonic()
        one.clock.set(now, reading, reading)
        if number == 1:
            await one.decider.align()
        await one.turn()
        assert all(now - step < wake_at(spec, call.scheduled_for) <= now + step / 10 for call in one.calls)
        await one.end()
        one.calls.clear()
    rows = await one.rows("select to_char(scheduled_for at time zone 'UTC', 'HH24:MI') from task_executions order by 1")
    assert [instant for (instant,) in rows] == instants
    assert await one.rows("select name from task_skips") == []


async def test_work_that_another_queue_waits_for_is_left_alone(place: Place) -> None:
    one = place.station({"elsewhere": 1})
    await place.add("a", queue="elsewhere")
    await byhand.trigger(one.link, "a")
    await one.decider.pick_up()
    assert one.under_way == []


@pytest.mark.parametrize(
    ("overlap", "skipped", "waiting"),
    [("skip", ["overlap"], 0), ("queue", [], 1), ("replace", [], 1)],
)
@pytest.mark.parametrize("slots", [(1, 0), (1, 3)], ids=["no slot at all", "none of its kind"])
async def test_a_run_that_holds_the_last_slot_does_not_keep_its_successor_from_being_judged(
    place: Place, overlap: str, skipped: list[str], waiting: int, slots: tuple[int, int]
) -> None:
    one = place.station(slots=slots)
    await place.add("a", schedule=HOURLY, overlap=overlap)
    await place.add("b", schedule=HOURLY)
    await one.decider.align(["a"])
    await one.turn()
    [(call_id, run)] = one.running.runs.items()
    # An hour later: what runs is the run of an hour ago.
    hour = timedelta(hours=1)
    run = run._replace(claim=run.claim._replace(scheduled_for=run.claim.scheduled_for - hour))
    one.running.runs[call_id] = run
    await one.link.run("update task_claims set scheduled_for = scheduled_for - interval '1 hour'")
    await one.link.run("update task_cursors set through = through - interval '1 hour' where name = 'a'")
    await one.decider.align()
    await one.turn()
    assert one.under_way == ["a"]
    assert [row for (row,) in await one.rows("select reason from task_skips where name = 'a'")] == skipped
    assert await one.rows("select count(*) from task_claims where runner_id is null") == [(waiting,)]
    asked = await one.rows("select count(*) from task_claims where cancel_requested is not null")
    assert asked == [(1 if overlap == "replace" else 0,)]
    assert await one.rows("select count(*) from task_claims where name = 'b'") == [(0,)], "that is left for others"


async def remembering(place: Place, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> tuple[Station, datetime, Asked]:
    """A station that decided `a` and remembers its cursor; when it came due again, and what it asks from then on."""
    one = place.station()
    await place.add("a", schedule=["@every 2s"], missed="latest", down="2 seconds", **fields)
    await one.decider.align()
    await one.turn()
    await one.end()
    [(_, due_at)] = one.decider._remembered._known.values()
    async with asyncio.timeout(20):
        while one.clock.now() < due_at + timedelta(milliseconds=200):
            await asyncio.sleep(0.02)
    asked: Asked = []
    sight, decide = cursors.sight, claims.decide

    async def sighted(link: Link, config_ids: Any) -> Any:
        if link is one.link:
            asked.append("sight")
        return await sight(link, config_ids)

    async def decided(link: Link, *rest: Any) -> Any:
        answer = await decide(link, *rest)
        if link is one.link:
            asked.append("moved" if answer.moved else "refused")
        return answer

    monkeypatch.setattr(deciding.cursors, "sight", sighted)
    monkeypatch.setattr(claims, "decide", decided)
    one.calls.clear()
    return one, due_at, asked


async def test_what_is_remembered_and_is_as_it_was_is_decided_without_asking(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _, asked = await remembering(place, monkeypatch)
    await one.decider.look()
    assert asked == ["moved"]
    assert [call.name for call in one.calls] == ["a"]


async def test_a_cursor_that_another_runner_moved_is_seen_again_in_the_same_look(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: Any) -> int:
        return 0

    one, due_at, asked = await remembering(place, monkeypatch)
    two = place.station()
    await two.decider.align()
    with monkeypatch.context() as patch:  # it dies before it tells Redis what comes next
        patch.setattr(place.scheduler, "advance", lost)
        await two.decider.look()
    assert len(two.calls) == 1
    await two.end()
    await one.decider.show(["default"])
    await one.decider.look()
    assert asked[:2] == ["refused", "sight"]
    rows = await one.rows("select scheduled_for from task_executions union all select scheduled_for from task_claims")
    assert len(rows) == len(set(rows))
    assert [(due_at,)] == [row for row in rows if row == (due_at,)]
    [status] = (await place.scheduler.status(await cursors.ids_of(one.link, ["a"]))).values()
    assert status["next_run"] > due_at


async def test_a_pause_that_began_and_ended_in_between_is_seen_in_the_same_look_and_nothing_fires_in_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, due_at, asked = await remembering(place, monkeypatch)
    around = timedelta(milliseconds=100)
    await one.link.run(
        "insert into task_overrides (name, kind, actor, created_at, ended_at) values ('a', 'pause', 'ada', %s, %s)",
        [due_at - around, due_at + around],
    )
    await one.decider.look()
    assert asked[:3] == ["refused", "sight", "moved"]
    assert [run.claim.scheduled_for for run in one.running.runs.values() if run.claim.scheduled_for <= due_at] == []
    assert await one.rows("select first, last, reason from task_skips") == [(due_at, due_at, "paused")]


async def test_a_commit_in_between_that_left_the_spec_as_it_was_is_what_the_run_is_told_of(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _, asked = await remembering(place, monkeypatch)
    await one.link.run("update task_configs set revision = 'def'")
    await one.decider.look()
    assert asked == ["refused", "sight", "moved"]
    assert [run.claim.revision for run in one.running.runs.values()] == ["def"]


async def test_a_commit_in_between_that_changed_the_spec_is_aligned_in_the_same_look_and_decided_by_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _, asked = await remembering(place, monkeypatch)
    spec = TaskSpec.from_document({"name": "a", "task": "t.a", "schedule": ["@every 1s"], "params": {"n": 2}})
    values = [Jsonb(spec.document()), spec.digest]
    await one.link.run("update task_configs set spec = %s, digest = %s", values)
    await one.link.run(
        "insert into task_revisions (source, path, name, spec, digest, sync_id)"
        " values ('default', 'a.yaml', 'a', %s, %s, 2)",
        values,
    )
    await one.decider.look()
    assert asked[:2] == ["refused", "sight"]
    assert one.calls == []
    [status] = (await place.scheduler.status(await cursors.ids_of(one.link, ["a"]))).values()
    assert status["digest"] == spec.digest
    async with asyncio.timeout(20):
        while not one.running.runs:
            await one.decider.look()
    assert {run.claim.digest for run in one.running.runs.values()} == {spec.digest}
