"""Something that blocks, in a thread of its own, which holds up neither the loop nor the end of the process.

A thread of asyncio's own pool is waited for when the service stops, for as long as it takes; a fetch may take minutes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def aside(act: Callable[[], T]) -> T:
    """What `act` returns or raises. Cancelled, it goes on to its end, and nobody hears of it."""
    return await _started(act)


@asynccontextmanager
async def held(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """What the context manager gives, entered and left in a thread; left also where we are cancelled on the way in."""
    entering = _started(context.__enter__)
    try:
        found = await asyncio.shield(entering)
    except asyncio.CancelledError:
        entering.add_done_callback(lambda done: _leave_unseen(context, done))
        raise
    try:
        yield found
    except asyncio.CancelledError as error:
        _leave_unseen_with(context, error)
        raise
    except BaseException as error:
        with suppress(BaseException):  # left with it, it may be raised once more
            await _started(partial(context.__exit__, type(error), error, None))
        raise
    else:
        await _started(lambda: context.__exit__(None, None, None))


def _started(act: Callable[[], T]) -> asyncio.Future[T]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = act()
        except BaseException as caught:
            error = caught
        with suppress(RuntimeError):  # the loop is closed: the process is ending
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="aside", daemon=True).start()
    return future


def _leave_unseen(context: AbstractContextManager[T], entered: asyncio.Future[T]) -> None:
    if not entered.cancelled() and entered.exception() is None:
        _leave_unseen_with(context, asyncio.CancelledError())


def _leave_unseen_with(context: AbstractContextManager[T], error: BaseException) -> None:
    """In a thread, unless there can be none any more; what goes wrong has no listener."""

    def leave() -> None:
        with suppress(BaseException):
            context.__exit__(type(error), error, None)

    threading.Thread(target=leave, name="aside", daemon=True).start()
