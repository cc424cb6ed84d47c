"""The protocol on a real PostgreSQL: who decides, who owns, who finishes, and who gets nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from reconciler.db import byhand, claims, cursors, finishing, runners
from reconciler.db.claims import Move, Returned, Wanted
from reconciler.db.link import Link
from reconciler.occurrences import Skip

START = datetime(2026, 3, 10, 1, tzinfo=UTC)
ME, OTHER = uuid4(), uuid4()


def hour(n: int) -> datetime:
    return START + timedelta(hours=n)


async def config(link: Link, name: str, **spec: Any) -> None:
    document = {"name": name, "task": "t", "queue": "default", "priority": 0, "overlap": "skip", **spec}
    await link.run(
        "insert into task_configs (name, source, spec, digest, path) values (%s, 'default', %s, 'd', 'a.yaml')",
        [name, Jsonb(document)],
    )
    await link.run(
        "insert into task_revisions (source, path, name, digest, spec, sync_id)"
        " values ('default', 'a.yaml', %s, 'd', %s, 1)",
        [name, Jsonb(document)],
    )
    await link.run("insert into task_cursors (name, through) values (%s, %s)", [name, START])


def wanted(name: str, when: datetime, *, exclusive: bool = True) -> Wanted:
    return Wanted(name, when, "t", uuid4(), "default", 0, "schedule", exclusive)


async def decide(link: Link, fire: Wanted, seen: datetime, *, by: UUID = ME, digest: str = "d") -> bool:
    moves = [Move(fire.name, digest, seen, fire.scheduled_for)]
    won = (await claims.decide(link, by, moves, [fire], [])).won
    return fire.token in won


def record(fire: Wanted, **values: Any) -> dict[str, Any]:
    return {
        "name": fire.name,
        "scheduled_for": fire.scheduled_for,
        "token": fire.token,
        "task": "t",
        "started_at": START,
        "finished_at": START,
        "is_success": True,
        "error": None,
        "traceback": None,
        "result": None,
        "log": "",
        "attempts": [],
        "runner": "here:1",
        "revision": None,
        **values,
    }


async def skips(link: Link, name: str = "a") -> list[tuple[Any, ...]]:
    return await link.run("select first, last, count, reason from task_skips where name = %s order by first", [name])


async def executions(link: Link) -> list[tuple[Any, ...]]:
    return await link.run("select name, scheduled_for, is_success from task_executions order by 1, 2")


async def test_whoever_moves_the_cursor_has_decided(link: Link) -> None:
    await config(link, "a")
    assert await decide(link, wanted("a", hour(1)), START)
    assert not await decide(link, wanted("a", hour(1)), START, by=OTHER)
    assert await skips(link) == []


async def test_of_two_runners_at_once_one_decides(link: Link, database_url: str) -> None:
    for n in range(20):
        await config(link, f"n{n}")
    second = Link(database_url)
    fires = [[wanted(f"n{n}", hour(1)) for n in range(20)] for _ in range(2)]

    async def all_of(own: Link, by: UUID, batch: Sequence[Wanted]) -> set[UUID]:
        moves = [Move(f.name, "d", START, f.scheduled_for) for f in batch]
        return (await claims.decide(own, by, moves, batch, [])).won

    won = await asyncio.gather(all_of(link, ME, fires[0]), all_of(second, OTHER, fires[1][::-1]))
    await second.close()
    assert len(won[0]) + len(won[1]) <= 20
    rows = await link.run("select name, count(*) from task_claims group by name having count(*) > 1")
    assert rows == []


async def test_a_changed_spec_a_suspended_one_and_a_removed_one_get_nothing(link: Link) -> None:
    await config(link, "a")
    await config(link, "held", suspend=True)
    assert not await decide(link, wanted("a", hour(1)), START, digest="older")
    assert not await decide(link, wanted("held", hour(1)), START)
    await link.run("delete from task_configs where name = 'a'")
    assert not await decide(link, wanted("a", hour(1)), START)


async def test_a_pause_holds_whatever_redis_says(link: Link) -> None:
    await config(link, "a")
    await link.run("insert into task_overrides (name, kind, actor) values ('a', 'pause', 'ops')")
    assert not await decide(link, wanted("a", hour(1)), START)
    await link.run("update task_overrides set ended_at = clock_timestamp()")
    assert await decide(link, wanted("a", hour(1)), START)


async def test_an_instant_that_comes_due_while_a_run_is_owned_is_a_skip_that_names_it(link: Link) -> None:
    await config(link, "a")
    assert await decide(link, wanted("a", hour(1)), START)
    assert not await decide(link, wanted("a", hour(2)), hour(1))
    assert await skips(link) == [(hour(2), hour(2), 1, "overlap")]
    detail = await link.run("select detail from task_skips")
    assert detail == [("the run of 2026-03-10T02:00:00Z was still going",)]


async def test_a_retry_in_back_off_still_counts_as_running(link: Link) -> None:
    await config(link, "a")
    first = wanted("a", hour(1))
    assert await decide(link, first, START)
    later = datetime.now(UTC) + timedelta(hours=1)
    back = Returned("a", first.scheduled_for, first.token, later, [{"error": "no"}])
    assert await finishing.hand_back(link, [back]) == {first.token}
    assert not await decide(link, wanted("a", hour(2)), hour(1))
    assert [row[3] for row in await skips(link)] == ["overlap"]


async def test_allowed_overlap_runs_beside(link: Link) -> None:
    await config(link, "a", overlap="allow")
    assert await decide(link, wanted("a", hour(1), exclusive=False), START)
    assert await decide(link, wanted("a", hour(2), exclusive=False), hour(1))


async def test_an_occurrence_with_a_row_never_runs_again(link: Link) -> None:
    await config(link, "a")
    fire = wanted("a", hour(1))
    await decide(link, fire, START)
    await finishing.finish(link, [record(fire)])
    await link.run("update task_cursors set through = %s", [START])
    assert not await decide(link, wanted("a", hour(1)), START)
    assert len(await executions(link)) == 1


async def test_skips_are_written_with_the_cursor_or_not_at_all(link: Link) -> None:
    await config(link, "a")
    skip = Skip("a", hour(1), hour(3), 3, "missed")
    await claims.decide(link, ME, [Move("a", "d", hour(9), hour(3))], [], [skip])
    assert await skips(link) == []
    await claims.decide(link, ME, [Move("a", "d", START, hour(3))], [], [skip])
    assert await skips(link) == [(hour(1), hour(3), 3, "missed")]


async def test_finishing_writes_the_row_and_frees_the_name(link: Link) -> None:
    await config(link, "a")
    fire = wanted("a", hour(1))
    await decide(link, fire, START)
    assert await finishing.finish(link, [record(fire, result={"n": 1}, log="hello")]) == {fire.token}
    rows = await link.run("select is_success, result, log, trigger, digest from task_executions")
    assert rows == [(True, {"n": 1}, "hello", "schedule", "d")]
    assert await link.run("select 1 from task_claims") == []
    assert await decide(link, wanted("a", hour(2)), hour(1))


async def test_finishing_twice_after_a_lost_answer_is_finishing_once(link: Link) -> None:
    await config(link, "a")
    fire = wanted("a", hour(1))
    await decide(link, fire, START)
    await finishing.finish(link, [record(fire)])
    assert await finishing.finish(link, [record(fire, is_success=False)]) == {fire.token}
    assert await executions(link) == [("a", hour(1), True)]


async def test_a_runner_that_lost_its_claim_writes_nothing(link: Link) -> None:
    await config(link, "a")
    fire = wanted("a", hour(1))
    await decide(link, fire, START)
    await finishing.hand_back(link, [Returned("a", hour(1), fire.token, START, [{"error": "the runner died"}])])
    [again] = await claims.pick_up(link, OTHER, ["default"], ["t"], 10)
    assert await finishing.finish(link, [record(fire)]) == set()
    assert await executions(link) == []
    assert again.attempts == [{"error": "the runner died"}]
    assert await finishing.finish(link, [{**record(fire), "token": again.token}]) == {again.token}


async def test_waiting_work_goes_to_one_runner_most_urgent_first(link: Link, database_url: str) -> None:
    for n in range(6):
        await config(link, f"n{n}", priority=n % 3)
        assert await byhand.trigger(link, f"n{n}")
    second = Link(database_url)
    first, other = await asyncio.gather(
        claims.pick_up(link, ME, ["default"], ["t"], 3), claims.pick_up(second, OTHER, ["default"], ["t"], 6)
    )
    rest = await claims.pick_up(link, ME, ["default"], ["t"], 6)
    await second.close()
    names = [claim.name for claim in [*first, *other, *rest]]
    assert sorted(names) == [f"n{n}" for n in range(6)]

    await link.run("update task_claims set runner_id = null, token = null")
    top = await claims.pick_up(link, ME, ["default"], ["t"], 2)
    assert {claim.priority for claim in top} == {2}


async def test_waiting_work_respects_time_queue_task_and_what_runs(link: Link) -> None:
    await config(link, "a")
    await byhand.trigger(link, "a")
    assert await claims.pick_up(link, ME, ["other"], ["t"], 9) == []
    assert await claims.pick_up(link, ME, ["default"], ["u"], 9) == []
    await byhand.trigger(link, "a")
    picked = await claims.pick_up(link, ME, ["default"], ["t"], 9)
    assert len(picked) == 1
    assert await claims.pick_up(link, OTHER, ["default"], ["t"], 9) == []
    await finishing.finish(link, [record(wanted("a", picked[0].scheduled_for)) | {"token": picked[0].token}])
    assert len(await claims.pick_up(link, OTHER, ["default"], ["t"], 9)) == 1

    await link.run("update task_claims set runner_id = null, not_before = clock_timestamp() + interval '1 hour'")
    assert await claims.pick_up(link, ME, ["default"], ["t"], 9) == []


async def test_a_trigger_carries_its_parameters_and_an_unknown_name_is_none(link: Link) -> None:
    await config(link, "a")
    when = await byhand.trigger(link, "a", {"region": "eu"})
    [claim] = await claims.pick_up(link, ME, ["default"], ["t"], 1)
    assert (claim.scheduled_for, claim.trigger, claim.params) == (when, "manual", {"region": "eu"})
    assert await byhand.trigger(link, "nobody") is None


async def test_a_lost_answer_is_settled_by_token(link: Link) -> None:
    await config(link, "a")
    fire = wanted("a", hour(1))
    await decide(link, fire, START)
    assert await finishing.owned(link, ME, [fire.token, uuid4()]) == {fire.token}
    assert await finishing.owned(link, OTHER, [fire.token]) == set()


async def test_a_bad_value_is_refused_and_leaves_the_claim(link: Link) -> None:
    await config(link, "a")
    fire = wanted("a", hour(1))
    await decide(link, fire, START)
    with pytest.raises(psycopg.Error):
        await finishing.finish(link, [record(fire, log="nul \x00 inside")])
    assert await finishing.owned(link, ME, [fire.token]) == {fire.token}


async def test_a_beat_counts_and_shows_the_others(link: Link) -> None:
    for id_ in (ME, OTHER):
        await runners.register(link, id_, host="h", pid=1, queues=["default"], tasks={"t": {}}, lease=2.0)
    first, second = await runners.beat(link, ME, []), await runners.beat(link, ME, [])
    assert (first.mine, second.mine) == (1, 2)
    assert first.others == {OTHER: (0, 2.0)}
    assert abs(second.server_now - datetime.now(UTC)) < timedelta(minutes=1)
    await runners.note_death(link, ME)
    assert (await runners.beat(link, ME, [])).mine is None


async def test_claims_that_their_runner_does_not_know_of_are_handed_back_without_an_attempt(link: Link) -> None:
    await config(link, "a")
    await runners.register(link, ME, host="h", pid=1, queues=["default"], tasks={}, lease=30)
    fire = wanted("a", hour(1))
    await decide(link, fire, START)
    assert (await runners.beat(link, ME, [])).returned == 0, "a young claim may still be on its way"
    await link.run("update task_claims set claimed_at = claimed_at - interval '1 minute'")
    assert (await runners.beat(link, ME, [fire.token])).returned == 0
    assert (await runners.beat(link, ME, [])).returned == 1
    [claim] = await claims.pick_up(link, OTHER, ["default"], ["t"], 9)
    assert claim.attempts == []


async def test_a_dead_runner_is_forgotten_only_when_it_owns_nothing(link: Link) -> None:
    await config(link, "a")
    await runners.register(link, ME, host="h", pid=1, queues=["default"], tasks={}, lease=30)
    fire = wanted("a", hour(1))
    await decide(link, fire, START)
    assert [claim.name for claim in await finishing.of_runner(link, ME)] == ["a"]
    await runners.note_death(link, ME)
    assert [row.id for row in await runners.listing(link)] == [ME]
    await finishing.finish(link, [record(fire)])
    await runners.note_death(link, ME)
    assert await runners.listing(link) == []


async def test_a_runner_whose_beat_has_moved_since_it_was_seen_keeps_what_it_owns_and_its_row(link: Link) -> None:
    await config(link, "a")
    await runners.register(link, ME, host="h", pid=1, queues=["default"], tasks={}, lease=30)
    fire = wanted("a", hour(1))
    await decide(link, fire, START)
    seen = (await runners.beat(link, OTHER, [])).others[ME][0]
    assert [claim.name for claim in await finishing.of_runner(link, ME, seen)] == ["a"]
    await runners.beat(link, ME, [fire.token])
    assert await finishing.of_runner(link, ME, seen) == []
    await finishing.finish(link, [record(fire)])
    await runners.note_death(link, ME, seen)
    assert [row.id for row in await runners.listing(link)] == [ME]
    await runners.note_death(link, ME, seen + 1)
    assert await runners.listing(link) == []


async def test_what_an_unregistered_runner_owns_is_taken_over_until_it_registers(link: Link) -> None:
    await config(link, "a")
    await decide(link, wanted("a", hour(1)), START)
    seen = (await runners.beat(link, OTHER, [])).others[ME][0]
    assert [claim.name for claim in await finishing.of_runner(link, ME, seen)] == ["a"]
    await runners.register(link, ME, host="h", pid=1, queues=["default"], tasks={}, lease=30)
    assert await finishing.of_runner(link, ME, seen) == []


async def test_sight_shows_the_cursor_and_the_pauses_after_it(link: Link) -> None:
    await config(link, "a")
    await link.run(
        "insert into task_overrides (name, kind, actor, reason, created_at, ended_at, expires_at) values"
        " ('a', 'pause', 'ops', 'old', %(s)s - interval '2 hours', %(s)s - interval '1 hour', null),"
        " ('a', 'pause', 'ops', 'one', %(s)s + interval '1 hour', null, %(s)s + interval '2 hours'),"
        " ('a', 'pause', 'ops', 'two', %(s)s + interval '3 hours', null, null)",
        {"s": START},
    )
    [(config_id,)] = await link.run("select id from task_configs")
    [row] = await cursors.sight(link, [config_id, 10**9])
    assert (row.name, row.digest, row.through) == ("a", "d", START)
    assert [(p.since, p.until, p.reason) for p in row.pauses] == [(hour(1), hour(2), "one"), (hour(3), None, "two")]


async def test_cursors_are_made_once_and_never_go_back(link: Link) -> None:
    async with link.transaction() as tx:
        await cursors.ensure(tx, ["a", "b"], hour(5))
        await cursors.ensure(tx, ["a"], hour(9))
        await cursors.move_to(tx, ["a"], hour(3))
        assert await cursors.lock(tx, ["a", "b", "c"]) == {"a": hour(5), "b": hour(5)}
        await cursors.move_to(tx, ["a"], hour(7))
        assert await cursors.lock(tx, ["a"]) == {"a": hour(7)}
