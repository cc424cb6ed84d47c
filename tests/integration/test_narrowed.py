"""A pass after another compares only what has moved since, and misses nothing: not in git, not in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.align import align
from reconciler.db import configs, desired, overrides
from reconciler.db.configs import ConfigKey
from reconciler.db.link import Link, Statements
from reconciler.gitrepo import Revision
from reconciler.plan.guards import Options
from reconciler.scheduler import SchedulerService
from reconciler.spec import TaskSpec
from reconciler.spec.specset import LocatedSpec, SpecSet
from reconciler.sync.reconcile import Pass, Request, reconcile

REVISION = Revision("a1b2c3d4" * 5, False, "Ada", "nightly at three")


def located(name: str, **fields: Any) -> LocatedSpec:
    spec = TaskSpec.model_validate({"name": name, "task": "t.quick", "schedule": "0 2 * * *"} | fields)
    return LocatedSpec(spec, f"{name}.yaml", 1, spec.digest)


READ = SpecSet(tuple(located(f"t{number:02}") for number in range(30)), files=30)


async def passed(link: Link, scheduler: SchedulerService, read: SpecSet = READ, **options: Any) -> Pass:
    outcome = await reconcile(read, link, scheduler, Request(Options(**options), "ada", REVISION))
    assert outcome.trouble is None
    return outcome


def changed(outcome: Pass) -> list[tuple[str, str]]:
    assert outcome.plan is not None
    return [(change.verb, change.name) for change in outcome.plan.changes]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[set[str] | None]:
    """The names that each pass looks up; None: all of them."""
    asked: list[set[str] | None] = []
    real = configs.keys

    async def keys(tx: Statements, names: Collection[str] | None = None) -> list[ConfigKey]:
        asked.append(None if names is None else set(names))
        return await real(tx, names)

    monkeypatch.setattr(configs, "keys", keys)
    return asked


async def settled(link: Link, scheduler: SchedulerService) -> None:
    """Two passes: the second has seen what the first wrote."""
    await passed(link, scheduler)
    await passed(link, scheduler)


async def test_only_a_spec_that_changed_is_compared_and_all_are_counted(
    link: Link, scheduler: SchedulerService, compared: list[set[str] | None]
) -> None:
    await settled(link, scheduler)
    compared.clear()
    edited = SpecSet((*READ.specs[:7], located("t07", timeout="9m"), *READ.specs[8:]), files=30)
    outcome = await passed(link, scheduler, edited)
    assert changed(outcome) == [("update", "t07")]
    assert outcome.plan is not None and outcome.plan.unchanged == 29
    assert compared and "t07" in (compared[0] or ())
    again = await passed(link, scheduler, edited)
    assert again.plan is not None and (again.plan.changes, again.plan.unchanged) == ((), 30)


BY_HAND = [
    ("delete from task_configs where name = 't03'", ("create", "t03")),
    ("update task_configs set digest = 'x' where name = 't03'", ("update", "t03")),
    ("update task_configs set spec = spec - 'timeout' where name = 't03'", ("update", "t03")),
    ("update task_configs set path = 'else.yaml' where name = 't03'", ("update", "t03")),
    ("update task_configs set source = 'other' where name = 't03'", ("adopt", "t03")),
    (
        "insert into task_configs (name, source, spec, digest, path)"
        " select 'mine', source, spec, digest, path from task_configs where name = 't03'",
        ("delete", "mine"),
    ),
]


@pytest.mark.parametrize(("statement", "change"), BY_HAND)
async def test_whatever_is_done_by_hand_is_found_by_the_next_pass(
    link: Link, scheduler: SchedulerService, statement: str, change: tuple[str, str]
) -> None:
    await settled(link, scheduler)
    await link.run(statement)
    assert changed(await passed(link, scheduler)) == [change]
    assert changed(await passed(link, scheduler)) == []


async def test_one_gone_and_another_come_by_hand_are_both_found(link: Link, scheduler: SchedulerService) -> None:
    """The number of configs is the same as before."""
    await settled(link, scheduler)
    await link.run("update task_configs set name = 'mine' where name = 't03'")
    assert changed(await passed(link, scheduler)) == [("create", "t03"), ("delete", "mine")]


async def test_what_a_pass_refused_is_refused_again_and_the_budget_is_of_all(
    link: Link, scheduler: SchedulerService
) -> None:
    await settled(link, scheduler)
    fewer = SpecSet(READ.specs[5:], files=25)
    for _ in range(3):
        plan = (await passed(link, scheduler, fewer)).plan
        assert plan is not None and [refusal.what for refusal in plan.refusals] == ["prune"]
        assert "5 of 30 configs" in plan.refusals[0].text and "(budget 3)" in plan.refusals[0].text
        assert (plan.changes, plan.unchanged) == ((), 25)
    assert changed(await passed(link, scheduler, SpecSet(READ.specs[3:], files=27))) == [
        ("delete", "t00"),
        ("delete", "t01"),
        ("delete", "t02"),
    ]


async def test_a_pass_that_was_rolled_back_leaves_nothing_to_believe(
    link: Link, scheduler: SchedulerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settled(link, scheduler)
    edited = SpecSet((located("t00", timeout="9m"), *READ.specs[1:]), files=30)

    async def fails(*_: Any) -> None:
        raise RuntimeError("on the way")

    with monkeypatch.context() as broken:
        broken.setattr("reconciler.sync.reconcile.apply", fails)
        with pytest.raises(RuntimeError):
            await passed(link, scheduler, edited)
    assert changed(await passed(link, scheduler, edited)) == [("update", "t00")]


# ── what Redis should say ──


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """How many configs each whole alignment reads; None: all of them."""
    asked: list[int | None] = []
    real = desired.wanted

    async def wanted(link: Statements, now: datetime, names: Any = None) -> list[desired.Wanted]:
        asked.append(None if names is None else len(names))
        return await real(link, now, names)

    monkeypatch.setattr(desired, "wanted", wanted)
    return asked


async def instants(link: Link, scheduler: SchedulerService) -> dict[str, Any]:
    ids = {key.id: key.name for key in await configs.keys(link)}
    return {ids[i]: status for i, status in (await scheduler.status(list(ids))).items()}


@pytest.mark.parametrize(
    "statement",
    [
        "update task_cursors set through = through + interval '9 days' where name = 't01'",
        "delete from task_cursors where name = 't01'",
    ],
)
async def test_a_cursor_that_moved_moves_the_instant(link: Link, scheduler: SchedulerService, statement: str) -> None:
    await settled(link, scheduler)
    before = await instants(link, scheduler)
    await link.run(statement)
    assert (await align(link, scheduler, now=datetime.now(UTC))).changed == 1
    after = await instants(link, scheduler)
    assert {name for name in after if after[name] != before[name]} == {"t01"}


async def test_a_config_that_is_gone_is_gone_from_redis(link: Link, scheduler: SchedulerService) -> None:
    await settled(link, scheduler)
    await link.run("delete from task_configs where name = 't01'")
    await align(link, scheduler, now=datetime.now(UTC))
    assert len(await scheduler.others(())) == 29


async def test_a_pause_that_ends_by_itself_is_over_in_redis(
    link: Link, scheduler: SchedulerService, read: list[int | None]
) -> None:
    await settled(link, scheduler)
    ends = datetime.now(UTC) + timedelta(hours=1)
    await overrides.pause(link, "t01", None, "ada", ends)
    await align(link, scheduler, now=datetime.now(UTC))
    assert (await instants(link, scheduler))["t01"]["state"] == "paused"
    await align(link, scheduler, now=ends - timedelta(minutes=1))
    read.clear()
    await align(link, scheduler, now=ends + timedelta(minutes=1))
    assert read[0] is None
    assert (await instants(link, scheduler))["t01"]["state"] == "active"


@pytest.mark.parametrize(
    "statement", ["delete from task_overrides", "update task_overrides set ended_at = clock_timestamp()"]
)
async def test_a_pause_that_somebody_took_away_is_over_in_redis(
    link: Link, scheduler: SchedulerService, statement: str
) -> None:
    await settled(link, scheduler)
    await overrides.pause(link, "t01", None, "ada", None)
    await align(link, scheduler, now=datetime.now(UTC))
    assert (await instants(link, scheduler))["t01"]["state"] == "paused"
    await link.run(statement)
    await align(link, scheduler, now=datetime.now(UTC))
    assert (await instants(link, scheduler))["t01"]["state"] == "active"


async def test_a_look_that_failed_on_the_way_is_made_again_in_full(
    link: Link, scheduler: SchedulerService, read: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    await settled(link, scheduler)

    async def fails(*_: Any, **__: Any) -> int:
        raise RuntimeError("on the way")

    with monkeypatch.context() as broken:
        broken.setattr(scheduler, "align", fails)
        with pytest.raises(RuntimeError):
            await align(link, scheduler, now=datetime.now(UTC))
    read.clear()
    await align(link, scheduler, now=datetime.now(UTC))
    assert read == [None]
