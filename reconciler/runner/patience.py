"""How long a runner waits for a store before it counts the answer as lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reconciler.errors import StoreUnavailable


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Cut what is inside short after `seconds`, as StoreUnavailable: it may have been done or not."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise StoreUnavailable(f"stores: no answer within {seconds:.0f} s: check that they are up") from error
