"""Whose turn is it to change configs? One transaction's at a time, in the whole database.

The lock ends with the transaction, so none is left behind, and a pooler in transaction mode may stand in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from psycopg.errors import LockNotAvailable

from reconciler.db.link import Link, Transaction
from reconciler.errors import ReconcilerError

# "reconcil" in ASCII. One key for every source, because a name may move between them.
KEY: Final = 0x7265636F6E63696C
PATIENCE: Final = timedelta(seconds=60)

# Both give the moment after the lock was taken; the second gives no row where somebody else has it.
LOCK: Final = "select clock_timestamp() from pg_advisory_xact_lock(%(key)s)"
TRY_LOCK: Final = "select clock_timestamp() from pg_try_advisory_xact_lock(%(key)s) as is_mine where is_mine"


@asynccontextmanager
async def applying(link: Link, *, waits: bool) -> AsyncIterator[tuple[Transaction, datetime | None]]:
    """A transaction and the moment its turn came; None: somebody else is at it, and `waits` is false.

    ReconcilerError where the other one takes longer than PATIENCE.
    """
    async with link.transaction(lock_timeout=PATIENCE) as tx:
        try:
            rows = await tx.run(LOCK if waits else TRY_LOCK, {"key": KEY})
        except LockNotAvailable as error:
            what = f"another apply has been at work for more than {PATIENCE.seconds} s"
            raise ReconcilerError(f"postgresql: {link.place}: {what}: find it in pg_stat_activity") from error
        yield tx, rows[0][0] if rows else None
