"""Results on their way to PostgreSQL: kept in memory until it has them, however long that takes.

A claim that another runner has taken over writes nothing. What a result says is decided before it comes here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from reconciler.db import finishing
from reconciler.db.claimrows import Returned
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.failpoints import failpoint
from reconciler.runner.patience import is_passing, within

log = logging.getLogger("reconciler.runner")

BATCH = 1000

# Called with the rows that were just written, as column values; it must neither wait nor raise.
Hearer = Callable[[Sequence[Mapping[str, Any]]], None]


class Finished(NamedTuple):
    """A final row on its way; `is_told`: somebody wants to hear of it."""

    token: UUID
    record: dict[str, Any]
    is_told: bool = False


class Results:
    """What is not written yet; `stir` is set when some of it was."""

    def __init__(self, stir: asyncio.Event) -> None:
        self.hearers: list[Hearer] = []
        self._stir = stir
        self._waiting: list[Finished | Returned] = []
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def tokens(self) -> set[UUID]:
        return {result.token for result in self._waiting}

    def add(self, result: Finished | Returned) -> None:
        self._waiting.append(result)
        self._arrived.set()

    async def write_out(self, link: Link, patience: float) -> None:
        """Write results as they come, for as long as this is not cancelled; an outage only makes them wait."""
        away = ""
        while True:
            await self._arrived.wait()
            try:
                await self.flush(link, patience)
                away = ""
            except (StoreUnavailable, psycopg.Error) as error:
                if str(error) != away:
                    away = str(error)
                    log.warning("%s; %s until it answers", away, _kept(len(self)))
                await asyncio.sleep(min(1.0, patience))

    async def flush(self, link: Link, patience: float) -> None:
        """Write everything that has arrived; an error (StoreUnavailable, psycopg's) leaves what is not written."""
        while self._waiting:
            batch = _batch(self._waiting[:BATCH])
            failpoint("before-finish")
            async with within(patience):
                written = await _write(link, batch)
            failpoint("after-finish")
            done = set(map(id, batch))
            self._waiting = [result for result in self._waiting if id(result) not in done]
            self._tell(written)
        self._arrived.clear()
        self._stir.set()

    def _tell(self, records: Sequence[Mapping[str, Any]]) -> None:
        for hearer in self.hearers if records else ():
            try:
                hearer(records)
            except Exception as error:  # who only listens must never cost a result
                log.error("whoever hears of results failed", exc_info=error)


def _kept(count: int) -> str:
    return "1 result is kept" if count == 1 else f"{count} results are kept"


async def _write(link: Link, batch: Sequence[Finished | Returned]) -> list[dict[str, Any]]:
    """Write a batch; returns the records that have their rows."""
    finished = [result for result in batch if isinstance(result, Finished)]
    returned = [result for result in batch if isinstance(result, Returned)]
    written: list[dict[str, Any]] = []
    if plain := [result for result in finished if not result.is_told]:
        written += await _finish(link, plain)
    if told := [result for result in finished if result.is_told]:
        written += await _finish(link, told)
    if returned:
        await finishing.hand_back(link, returned)
    return written


def _batch(results: Sequence[Finished | Returned]) -> list[Finished | Returned]:
    """What can be written together: of those that somebody wants to hear of the first of each name, since what is told
    depends on their order. The others follow, each batch in a time of its own.
    """
    batch: list[Finished | Returned] = []
    names: set[str] = set()
    for result in results:
        if isinstance(result, Finished) and result.is_told:
            if result.record["name"] in names:
                continue
            names.add(result.record["name"])
        batch.append(result)
    return batch


async def _finish(link: Link, batch: list[Finished]) -> list[dict[str, Any]]:
    """One statement for the batch; where the server refuses it, halves, until the bad row stands alone."""
    records = [result.record for result in batch]
    try:
        written = await finishing.finish(link, records, is_told=batch[0].is_told)
    except psycopg.Error as error:
        if is_passing(error):
            raise
        if len(batch) > 1:
            half = len(batch) // 2
            return [*await _finish(link, batch[:half]), *await _finish(link, batch[half:])]
        if "could not be stored" not in (batch[0].record["error"] or ""):
            return await _finish(link, [_unstorable(batch[0], error)])
        raise
    for result in batch:
        if result.token not in written:
            log.warning("%s: result dropped: another runner has taken it over", result.record["name"])
    return [record for record in records if record["token"] in written]


def _unstorable(result: Finished, error: psycopg.Error) -> Finished:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    dropped: dict[str, Any] = {"result": None, "log": None, "traceback": None, "attempts": []}
    text = f"its result could not be stored: {reason}".encode("ascii", "replace").decode().replace("\x00", "")
    record = {**result.record, **dropped, "is_success": False, "error": text}
    return Finished(result.token, record, result.is_told)
