"""Whose turn is it, where many sources share one service? So many at a time; whoever is waited for goes first.

A person who has just saved or pushed waits for that source; the rest is due again and again, and can wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Waiting:
    is_wanted: Callable[[], bool]
    called: asyncio.Event = field(default_factory=asyncio.Event)


class Turns:
    """`places` of them; among those who wait, the first that is wanted when a place is free, else the first."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: list[_Waiting] = []

    @asynccontextmanager
    async def taken(self, is_wanted: Callable[[], bool]) -> AsyncIterator[None]:
        """A place, for as long as it is held. `is_wanted` is asked when one becomes free, not before."""
        await self._take(_Waiting(is_wanted))
        try:
            yield
        finally:
            self._give_on()

    async def _take(self, one: _Waiting) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        self._waiting.append(one)
        try:
            await one.called.wait()
        except BaseException:
            if one.called.is_set():
                self._give_on()  # cancelled when it had just been called: the next one's turn
            else:
                self._waiting.remove(one)
            raise

    def _give_on(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        one = next((one for one in self._waiting if one.is_wanted()), self._waiting[0])
        self._waiting.remove(one)
        one.called.set()
