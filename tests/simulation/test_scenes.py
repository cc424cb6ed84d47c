"""Scenes that a seed plays seldom, written out: what holds in them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from simulated.children import Children, Fate
from simulated.specs import located
from simulated.story import Story

from reconciler.execute import Call
from reconciler.runner.beating import Beats

LEASE = 4.0


class Scene(Story):
    """Two runners, one name, and runs that take half a minute."""

    retries = 3

    def __init__(self) -> None:
        super().__init__(0)
        self.lease = LEASE

    async def begin(self) -> None:
        spec = {
            "name": "a",
            "task": "sim.work",
            "schedule": "@every 10s",
            "retries": {"attempts": self.retries, "backoff": "1s"},
        }
        self.git.commit("a", located({**spec, "timeout": "2m"}))
        self.start_applier()
        self.start_runner(5)
        self.start_runner(5)

    async def until_started(self) -> Any:
        """The runner whose run has begun."""
        while not self.checks.started:
            await asyncio.sleep(0.1)
        [call_id] = self.checks.started.values()
        process = self.checks.owners[call_id]
        return next(one for one in self.runners if one.process is process)


class CutOff(Scene):
    """PostgreSQL is out of reach for the one that runs something, and for nobody else."""

    async def trouble(self) -> None:
        actor = await self.until_started()
        self.database.weather.out, self.database.weather.cut = "refused", {actor.process.name}
        await asyncio.sleep(5 * LEASE)


class GoesOnLate(Scene):
    """Both are stopped for longer than a lease, the other one later and for less, and go on in the same moment."""

    retries = 1

    async def trouble(self) -> None:
        await asyncio.sleep(1.0)
        first, second = self.runners
        first.process.is_frozen = True
        await asyncio.sleep(0.9 * LEASE)
        second.process.is_frozen = True
        await asyncio.sleep(0.8 * LEASE)
        for actor in (first, second):
            self.thaw(actor.process)
        await asyncio.sleep(LEASE)


@pytest.fixture(autouse=True)
def long_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fate_of(seed: int, call: Call) -> Fate:
        return Fate(0.0, 30.0 if call.attempt == 1 else 1.0, True, 0.0)

    monkeypatch.setattr("simulated.children.fate_of", fate_of)
    assert Children.seed == 0


def test_a_runner_that_is_cut_off_stops_what_it_runs_before_another_runs_it_again() -> None:
    assert CutOff().run() == []


def test_one_that_goes_on_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Beats, "is_out_of_touch", False)
    assert any("runs beside attempt" in fault for fault in CutOff().run())


def test_a_runner_that_goes_on_after_its_lease_takes_nothing_before_it_has_beaten() -> None:
    assert GoesOnLate().run() == []
