"""A call that may hang, made beside the event loop: in a thread that nobody waits for longer than it deserves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

# Threads that hang on at once, in one process. A daemon thread keeps no process from ending.
MOST = 16
_hanging = threading.BoundedSemaphore(MOST)


async def aside(call: Callable[[], T], seconds: float) -> T:
    """What `call` returns or raises; TimeoutError after `seconds`, when its thread is left to itself."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    if not _hanging.acquire(blocking=False):
        raise TimeoutError(f"{MOST} calls before it hang")

    def settle(result: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, failure = None, None
        try:
            result = call()
        except BaseException as error:  # SystemExit, too, must not end the thread without an answer
            failure = error
        finally:
            _hanging.release()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name="notify", daemon=True).start()
    async with asyncio.timeout(seconds):
        return await answer
