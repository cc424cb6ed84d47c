"""What a runner leaves behind beside its rows: incidents, when it was there, and when it was cut off."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from reconciler.db import byhand, claims, finishing, outages, runners, underway
from reconciler.db.claimrows import Claim
from reconciler.db.link import Link
from reconciler.execute import Outcome, failed
from reconciler.runner.clock import Clock
from reconciler.runner.cutoff import Outages
from reconciler.runner.running import Run, Running
from reconciler.spec import TaskSpec

ME = UUID(int=7)
TOLD = {"notify": {"to": ["ops"]}}


class Desk:
    """Owned claims and what becomes of them, with nothing that really runs."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.running = Running(Clock(), "here:1", {True: 10, False: 10}, asyncio.Event())

    async def config(self, name: str, **fields: Any) -> TaskSpec:
        spec = TaskSpec.from_document({"name": name, "task": "t.a", **fields})
        values = [name, Jsonb(spec.document()), spec.digest]
        await self.link.run(
            "insert into task_configs (name, source, spec, digest, path) values (%s, 'default', %s, %s, 'a')", values
        )
        await self.link.run("insert into task_cursors (name) values (%s)", [name])
        return spec

    async def run(self, spec: TaskSpec, trigger: str = "manual") -> Run:
        """One more owned claim of the name."""
        await byhand.trigger(self.link, spec.name)
        await self.link.run("update task_claims set trigger = %s, actor = 'ada'", [trigger])
        [claim] = await claims.pick_up(self.link, ME, ["default"], ["t.a"], 1)
        return Run(claim, spec, True)

    async def ends(self, spec: TaskSpec, error: str | None = None, trigger: str = "manual") -> Run:
        run = await self.run(spec, trigger)
        self.take(run, error)
        await self.running.flush(self.link, 5)
        return run

    def take(self, run: Run, error: str | None = None) -> None:
        now = time.monotonic()
        self.running.begin([run])
        self.running.settle([(str(run.claim.token), Outcome(error is None, now, now, error))])

    async def incidents(self) -> list[tuple[Any, ...]]:
        return await self.link.run(
            "select kind, detail, closed_at is not null, due_at is not null, left(closing, 12) from incidents"
            " order by id"
        )


@pytest.fixture
def desk(link: Link) -> Desk:
    return Desk(link)


# ── incidents ──


async def test_a_failure_is_told_once_until_something_succeeds(desk: Desk) -> None:
    spec = await desk.config("a", **TOLD)
    first = await desk.ends(spec, "ValueError: one\nand more")
    await desk.ends(spec, "ValueError: two")
    assert await desk.incidents() == [("failure", "ValueError: one", False, True, None)]
    assert await desk.link.run("select name, scheduled_for from incidents") == [("a", first.claim.scheduled_for)]
    await desk.link.run("update incidents set opening_told_at = now(), due_at = null, tries = 3")
    await desk.ends(spec)
    assert await desk.incidents() == [("failure", "ValueError: one", True, True, "succeeded at")]
    assert await desk.link.run("select tries from incidents") == [(0,)]
    await desk.ends(spec, "ValueError: three")
    assert [row[1] for row in await desk.incidents()] == ["ValueError: one", "ValueError: three"]


async def test_a_success_also_ends_that_a_name_was_missed_or_silent(desk: Desk) -> None:
    spec = await desk.config("a", **TOLD)
    await desk.link.run("insert into incidents (name, kind) values ('a', 'missed'), ('a', 'silence'), ('b', 'missed')")
    await desk.ends(spec)
    assert await desk.link.run("select name from incidents where closed_at is null") == [("b",)]


@pytest.mark.parametrize(("fields", "trigger"), [({}, "manual"), (TOLD, "backfill")])
async def test_what_nobody_wants_to_hear_of_opens_nothing(desk: Desk, fields: dict[str, Any], trigger: str) -> None:
    await desk.ends(await desk.config("a", **fields), "ValueError: one", trigger)
    assert await desk.incidents() == []


async def test_what_a_person_ended_opens_nothing(desk: Desk) -> None:
    spec = await desk.config("a", **TOLD)
    run = await desk.run(spec)
    desk.running.refuse(run, "cancelled by ada")
    await desk.running.flush(desk.link, 5)
    assert await desk.link.run("select error from task_executions") == [("cancelled by ada",)]
    assert await desk.incidents() == []


async def test_a_name_that_ends_twice_in_a_batch_is_told_in_the_order_of_its_ends(desk: Desk) -> None:
    spec = await desk.config("a", overlap="allow", **TOLD)
    good, bad = await desk.run(spec), await desk.run(spec)
    other = await desk.run(await desk.config("b", **TOLD))
    desk.take(bad, "ValueError: one")
    desk.take(good)
    desk.take(other, "ValueError: two")
    await desk.running.flush(desk.link, 5)
    assert sorted(row[:3] for row in await desk.incidents()) == [
        ("failure", "ValueError: one", True),
        ("failure", "ValueError: two", False),
    ]


async def test_a_repeated_answer_opens_nothing_anew(desk: Desk) -> None:
    spec = await desk.config("a", **TOLD)
    run = await desk.run(spec)
    desk.take(run, "ValueError: one")
    [result] = desk.running.results._waiting
    await desk.running.flush(desk.link, 5)
    await desk.link.run("update incidents set closed_at = now()")
    assert await finishing.finish(desk.link, [result.record], is_told=True) == {run.claim.token}  # type: ignore[union-attr]
    assert len(await desk.incidents()) == 1


# ── rows ──


async def test_who_asked_for_a_run_is_in_its_row(desk: Desk) -> None:
    await desk.ends(await desk.config("a"))
    assert await desk.link.run("select actor from task_executions") == [("ada",)]


async def test_a_refused_claim_keeps_what_its_attempts_said_and_is_not_tried_again(desk: Desk) -> None:
    spec = await desk.config("a", retries={"attempts": 9})
    run = await desk.run(spec)
    earlier = [{"attempt": 1, "error": "ValueError: one"}]
    desk.running.refuse(Run(_with(run.claim, earlier), spec, True), "cancelled by ada: why not")
    await desk.running.flush(desk.link, 5)
    assert await desk.link.run("select is_success, error, attempts from task_executions") == [
        (False, "cancelled by ada: why not", earlier)
    ]
    assert await desk.link.run("select 1 from task_claims") == []
    assert desk.running.free(True) == 10


def _with(claim: Claim, attempts: list[dict[str, Any]]) -> Claim:
    return claim._replace(attempts=attempts)


async def test_a_cancelled_run_is_not_tried_again_unless_it_had_succeeded(desk: Desk) -> None:
    spec = await desk.config("a", retries={"attempts": 9}, overlap="allow")
    bad, good = await desk.run(spec), await desk.run(spec)
    for run, error in ((bad, "cancelled by ada"), (good, None)):
        desk.running.begin([run])
        desk.running.end(str(run.claim.token))
        now = time.monotonic()
        desk.running.settle([(str(run.claim.token), Outcome(error is None, now, now, error))])
    await desk.running.flush(desk.link, 5)
    rows = await desk.link.run("select is_success, error from task_executions order by is_success")
    assert rows == [(False, "cancelled by ada"), (True, None)]


async def test_the_death_of_a_runner_that_was_to_cancel_ends_the_run_for_good(desk: Desk) -> None:
    spec = await desk.config("a", retries={"attempts": 9})
    await desk.run(spec)
    await desk.link.run("update task_claims set cancel_requested = 'cancelled by ada'")
    [claim] = await finishing.of_runner(desk.link, ME)
    desk.running.lose(Run(claim, spec, True), "the runner died", "gone:1")
    await desk.running.flush(desk.link, 5)
    rows = await desk.link.run("select is_success, error, runner from task_executions")
    assert rows == [(False, "cancelled by ada", "gone:1")]


async def test_what_was_not_started_is_handed_back_without_an_attempt_and_without_progress(desk: Desk) -> None:
    run = await desk.run(await desk.config("a"))
    await desk.link.run("update task_claims set progress = '{}'")
    desk.running.begin([run])
    desk.running.settle([(str(run.claim.token), failed("stopped", is_started=False))])
    await desk.running.flush(desk.link, 5)
    assert await desk.link.run("select runner_id, attempts, progress from task_claims") == [(None, [], None)]


async def test_what_is_too_late_to_begin_has_failed_without_a_call(desk: Desk) -> None:
    spec = await desk.config("a", deadline={"finish": "1h"}, retries={"attempts": 3}, **TOLD)
    run = await desk.run(spec, "schedule")
    late = _at(run, datetime.now(UTC) - timedelta(hours=2))
    await desk.link.run("update task_claims set scheduled_for = %s", [late.claim.scheduled_for])
    assert desk.running.begin([late]) == []
    await desk.running.flush(desk.link, 5)
    rows = await desk.link.run("select is_success, error from task_executions")
    assert rows == [(False, "had to finish within 1h of its instant")]
    assert len(await desk.incidents()) == 1


async def test_a_time_out_that_came_of_the_deadline_says_so(desk: Desk) -> None:
    spec = await desk.config("a", deadline={"finish": "1h"}, timeout="10m")
    run = _at(await desk.run(spec, "schedule"), datetime.now(UTC) - timedelta(minutes=55))
    await desk.link.run("update task_claims set scheduled_for = %s", [run.claim.scheduled_for])
    [call] = desk.running.begin([run])
    assert call.timeout is not None and 290 < call.timeout <= 300
    from reconciler.execute.calling import timed_out

    now = time.monotonic()
    desk.running.settle([(call.id, Outcome(False, now - 1, now, f"{timed_out(call.timeout)}; it was killed"))])
    await desk.running.flush(desk.link, 5)
    rows = await desk.link.run("select error from task_executions")
    assert rows == [("had to finish within 1h of its instant; it was killed",)]


def _at(run: Run, moment: datetime) -> Run:
    return run._replace(claim=run.claim._replace(scheduled_for=moment))


async def test_who_hears_of_results_hears_of_those_that_were_written_and_costs_none(desk: Desk) -> None:
    heard: list[Any] = []

    def deaf(records: Any) -> None:
        raise OSError("deaf")

    desk.running.results.hearers += [deaf, heard.extend]
    spec = await desk.config("a", overlap="allow")
    lost = await desk.run(spec)
    await desk.link.run("delete from task_claims")
    desk.take(lost)
    await desk.ends(spec)
    assert [record["name"] for record in heard] == ["a"]
    assert heard[0]["scheduled_for"] != lost.claim.scheduled_for


# ── what is asked and told meanwhile ──


async def test_only_what_is_asked_of_this_runner_is_seen(desk: Desk) -> None:
    spec = await desk.config("a", overlap="allow")
    quiet, ended, followed = [await desk.run(spec) for _ in range(3)]
    for run, column in ((ended, "cancel_requested = 'why not'"), (followed, "follow = true")):
        await desk.link.run(f"update task_claims set {column} where token = %s", [run.claim.token])
    found = {one.token: (one.cancel_requested, one.follow) for one in await underway.asked(desk.link, ME)}
    assert found == {ended.claim.token: ("why not", False), followed.claim.token: (None, True)}
    assert quiet.claim.token not in found
    assert await underway.asked(desk.link, uuid4()) == []


async def test_progress_is_noted_only_where_the_claim_is_still_held(desk: Desk) -> None:
    spec = await desk.config("a", overlap="allow")
    kept, lost = await desk.run(spec), await desk.run(spec)
    rows = [
        {
            "name": "a",
            "scheduled_for": run.claim.scheduled_for.isoformat(),
            "token": str(token),
            "progress": {"fraction": 0.4, "text": "rows"},
        }
        for run, token in ((kept, kept.claim.token), (lost, uuid4()))
    ]
    await underway.progress(desk.link, rows)
    found = await desk.link.run("select token, progress from task_claims where progress is not null")
    assert found == [(kept.claim.token, {"fraction": 0.4, "text": "rows"})]


async def test_the_last_success_is_that_of_the_latest_instant_replayed_or_not(desk: Desk) -> None:
    spec = await desk.config("a")
    assert await underway.last_successes(desk.link, ["a", "b"]) == {}
    nominal = (await desk.ends(spec)).claim.scheduled_for
    again = await desk.ends(spec)
    old = nominal - timedelta(days=3)
    await desk.link.run("update task_executions set result = '7' where scheduled_for = %s", [nominal])
    await desk.link.run(
        "update task_executions set replays = %s where scheduled_for = %s", [old, again.claim.scheduled_for]
    )
    await desk.ends(spec, "ValueError: one")
    assert await underway.last_successes(desk.link, ["a", "b"]) == {"a": (nominal, 7)}


# ── who was there ──


async def _register(link: Link, runner: UUID, lease: float = 30) -> None:
    await runners.register(link, runner, host="h", pid=1, queues=["default"], tasks={}, lease=lease)


async def test_a_runner_that_leaves_stays_in_the_table_with_its_end(link: Link) -> None:
    await _register(link, ME)
    [before] = await runners.listing(link)
    await runners.beat(link, ME, [])
    [after] = await runners.listing(link)
    assert after.seen_at > before.seen_at
    await runners.leave(link, ME)
    assert await runners.listing(link) == []
    [(ending, is_after)] = await link.run("select ending, ended_at >= seen_at from runners")
    assert (ending, is_after) == ("stopped", True)
    assert (await runners.beat(link, uuid4(), [])).others == {}


async def test_a_runner_that_died_is_noted_so_and_can_come_back(link: Link) -> None:
    await _register(link, ME)
    await runners.note_death(link, ME)
    assert await link.run("select ending from runners") == [("died",)]
    assert (await runners.beat(link, ME, [])).mine is None
    await _register(link, ME)
    assert (await runners.beat(link, ME, [])).mine is not None
    assert await link.run("select ending, ended_at from runners") == [(None, None)]


async def test_whoever_still_owns_work_is_not_noted_as_dead(desk: Desk) -> None:
    await _register(desk.link, ME)
    await desk.run(await desk.config("a"))
    await runners.note_death(desk.link, ME)
    assert [row.id for row in await runners.listing(desk.link)] == [ME]


async def test_an_owner_that_has_ended_counts_as_one_that_never_moves(desk: Desk) -> None:
    await _register(desk.link, ME, lease=3)
    await desk.run(await desk.config("a"))
    await desk.link.run("update runners set ended_at = now(), ending = 'died'")
    other = uuid4()
    await _register(desk.link, other, lease=3)
    assert (await runners.beat(desk.link, other, [])).others == {ME: (-1, 3.0)}


async def test_what_was_last_seen_never_goes_back_so_that_a_clock_that_did_shows(link: Link) -> None:
    await _register(link, ME)
    seen, now = await runners.newest_sign(link)
    assert seen is not None and seen <= now
    await link.run("update runners set seen_at = seen_at + interval '1 hour'")
    await runners.beat(link, ME, [])
    seen, now = await runners.newest_sign(link)
    assert seen is not None and seen - now > timedelta(minutes=59)


async def test_an_outage_is_written_down_when_it_is_over(link: Link) -> None:
    clock, at = Clock(), [100.0]
    cut = Outages(clock, lambda: at[0])
    cut.worked("control")
    at[0] += 5
    cut.failed("control", "redis: away")
    cut.worked("control")
    await cut.write(link, "here:1")
    await cut.write(link, "here:1")
    rows = await link.run("select runner, what, ended_at - began_at from outages")
    assert rows == [("here:1", "redis: away", timedelta(seconds=5))]


async def test_an_outage_never_ends_before_it_began(link: Link) -> None:
    now = datetime.now(UTC)
    await outages.record(link, "here:1", "its clock went back meanwhile", now, now - timedelta(hours=1))
    assert await link.run("select ended_at - began_at from outages") == [(timedelta(0),)]
