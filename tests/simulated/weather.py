"""What may happen to a call to a store: it takes time, fails before or after it was done, or finds nobody there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from reconciler.errors import StoreUnavailable
from simulated.loop import PROCESS, VirtualLoop

T = TypeVar("T")


@dataclass(slots=True)
class Odds:
    """Of a call: that it takes time, that it fails before it is done, and that its answer is lost after it was."""

    slow: float = 0.0
    before: float = 0.0
    after: float = 0.0
    longest: float = 0.02  # seconds, each way


CALM = Odds()


class Weather:
    """Of one store. `is_out`: `refused` or `silent`, for all processes or for the names in `cut`."""

    def __init__(self, place: str, loop: VirtualLoop, patience: float) -> None:
        self.odds = CALM
        self.out: Literal["", "refused", "silent"] = ""
        self.cut: set[str] = set()
        self.is_world_over = False
        self._place = place
        self._loop = loop
        self._patience = patience
        self._context = copy_context()
        self._context.run(PROCESS.set, None)

    async def ask(self, work: Callable[[], T]) -> T:
        """What `work` gives, done by the server in one step; StoreUnavailable as it comes."""
        if self.is_world_over:
            raise self.error("the world is over")
        odds, draw = self.odds, self._loop.random.random()
        if draw >= odds.slow + odds.before + odds.after and not self.is_out():
            return work()
        process = PROCESS.get()
        future: asyncio.Future[T] = self._loop.create_future()
        fate = "slow" if draw < odds.slow else "before" if draw < odds.slow + odds.before else "after"
        if draw >= odds.slow + odds.before + odds.after:
            fate = "slow"
        name = process.name if process else ""
        self._later(self._arrive, future, work, fate, name)
        return await future

    def is_out(self) -> bool:
        """Whether whoever asks now finds nobody."""
        if not self.out:
            return False
        process = PROCESS.get()
        return not self.cut or (process is not None and process.name in self.cut)

    def error(self, what: str) -> StoreUnavailable:
        return StoreUnavailable(f"{self._place}: model: {what}")

    def _arrive(self, future: asyncio.Future[Any], work: Callable[[], Any], fate: str, name: str) -> None:
        if self.out and (not self.cut or name in self.cut):
            wait = self._patience if self.out == "silent" else 0.0
            self._loop.call_later(wait, _fail, future, self.error("out of reach"), context=self._context)
            return
        if future.cancelled() and self._loop.random.random() < 0.5:
            return  # the server heard of it in time
        if fate == "before":
            _fail(future, self.error("the connection broke before"))
            return
        try:
            answer = work()
        except Exception as error:
            self._later(_fail, future, error)
            return
        if fate == "after":
            self._later(_fail, future, self.error("the answer was lost"))
        else:
            self._later(_give, future, answer)

    def _later(self, what: Callable[..., None], *args: Any) -> None:
        seconds = self._loop.random.random() * self.odds.longest
        self._loop.call_later(seconds, what, *args, context=self._context)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever asked may be dead


def _give(future: asyncio.Future[Any], answer: Any) -> None:
    if not future.done():
        future.set_result(answer)
