"""How long a runner waits for a store before it counts the answer as lost, and which refusals it waits out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from reconciler.errors import StoreUnavailable

# Classes of SQLSTATE: connection, read-only, rolled back, resources, in use, stopped, system.
PASSING = frozenset({"08", "25", "40", "53", "55", "57", "58"})


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Cut what is inside short after `seconds`, as StoreUnavailable: it may have been done or not."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise StoreUnavailable(f"stores: no answer within {seconds:g} s: check that they are up") from error


def is_passing(error: psycopg.Error) -> bool:
    """Whether the server could not do it now, whatever it was: no value's fault, and later it may."""
    return (error.sqlstate or "")[:2] in PASSING
