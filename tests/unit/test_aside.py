"""What blocks, aside: its answer, its errors, and what is left of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reconciler.errors import ReconcilerError
from reconciler.sync.aside import aside, held


class Place:
    """A context that says when it is entered and left; `gate` holds up whoever enters."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.gate = threading.Event()
        self.left = threading.Event()

    @contextmanager
    def opened(self) -> Iterator[str]:
        self.gate.wait(30)
        self.events.append("entered")
        try:
            yield "place"
        finally:
            self.events.append("left")
            self.left.set()


async def test_an_answer_and_an_error_come_back() -> None:
    assert await aside(lambda: 7) == 7

    def fail() -> None:
        raise ReconcilerError("no")

    with pytest.raises(ReconcilerError, match="no"):
        await aside(fail)


async def test_nobody_waits_for_what_was_cancelled() -> None:
    gate = threading.Event()
    task = asyncio.create_task(aside(lambda: gate.wait(30)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()


async def test_a_place_is_left_when_the_work_is_done_and_when_it_fails() -> None:
    for error in (None, ReconcilerError("no")):
        place = Place()
        place.gate.set()
        try:
            async with held(place.opened()) as found:
                assert (found, place.events) == ("place", ["entered"])
                if error:
                    raise error
        except ReconcilerError as raised:
            assert raised is error
        assert place.events == ["entered", "left"]


async def test_a_place_is_left_also_by_who_was_cancelled_on_the_way_in() -> None:
    place = Place()

    async def enter() -> None:
        async with held(place.opened()):
            raise AssertionError("nobody gets in")

    task = asyncio.create_task(enter())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    place.gate.set()
    async with asyncio.timeout(30):
        assert await aside(lambda: place.left.wait(20))
    assert place.events == ["entered", "left"]
