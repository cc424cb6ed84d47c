"""Whose turn it is."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.sync.turns import Turns


class Scene:
    """Those who take turns, and the order in which they came to it."""

    def __init__(self, places: int) -> None:
        self.turns = Turns(places)
        self.wanted: set[str] = set()
        self.order: list[str] = []
        self.inside = self.most = 0
        self.gate = asyncio.Event()

    def start(self, *names: str) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self._take(name)) for name in names]

    async def _take(self, name: str) -> None:
        async with self.turns.taken(lambda: name in self.wanted):
            self.order.append(name)
            self.inside += 1
            self.most = max(self.most, self.inside)
            await self.gate.wait()
            self.inside -= 1


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_than_there_are_places_go_at_once_and_all_come_to_it() -> None:
    scene = Scene(2)
    tasks = scene.start(*"abcdef")
    await settle()
    assert scene.order == ["a", "b"]
    scene.gate.set()
    await asyncio.gather(*tasks)
    assert (scene.order, scene.most) == (list("abcdef"), 2)


async def test_who_is_waited_for_goes_first_also_when_it_came_last() -> None:
    scene = Scene(1)
    tasks = scene.start(*"abcd")
    await settle()
    scene.wanted = {"d"}  # a save, while all of them stand in line
    scene.gate.set()
    await asyncio.gather(*tasks)
    assert scene.order == list("adbc")


@pytest.mark.parametrize("when", ["while it waits", "while it is called", "inside"])
async def test_who_is_cancelled_leaves_its_place_to_the_next(when: str) -> None:
    scene = Scene(1)
    first, second, third = scene.start("a", "b", "c")
    await settle()
    if when == "while it is called":
        first.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    (first if when == "inside" else second).cancel()
    scene.gate.set()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert scene.order[-1] == "c"
    async with asyncio.timeout(5), scene.turns.taken(bool):
        pass
