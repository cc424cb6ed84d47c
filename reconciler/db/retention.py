"""What history is kept, and how the rest goes: in small transactions, so that a prune never holds anybody up.

A name's rows are kept as its own spec says (`history.keep`: how long; `history.keep_last`: how many at most;
`history.keep_logs`: how long what they printed), those of a name without a config, and what belongs to no name, for a
default time. The newest execution of a name always stays, and so does every revision: a spec that once was in force
can always be named.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Final

from reconciler.db import expired
from reconciler.db.link import Row, Statements
from reconciler.durations import parse_duration

KEEP = timedelta(days=30)
NAMES_AT_ONCE = 200
# After each transaction others have the server for as long as it took, times this.
REST = 2.0


class Taken(Exception):
    """Somebody else removes history at this moment, and goes on with it."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows of each kind went; `logs`: executions that stay, without what they printed."""

    executions: int = 0
    logs: int = 0
    skips: int = 0
    pauses: int = 0
    syncs: int = 0
    runners: int = 0
    outages: int = 0
    incidents: int = 0
    drifts: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{count:,} {kind}" for kind, count in found.items() if count) or "nothing"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one name: what ended at `before` or later, at most `keep_last` rows, logs from `logs_before`."""

    name: str
    before: datetime
    keep_last: int | None
    logs_before: datetime | None


# table, its index's name column, what happens to a row that is past its time, and which those are
DELETE: Final = "delete from {table} t"
FORGET: Final = "update task_executions t set log = null, traceback = null"
OF_NAMES: Final = {
    "executions": ("task_executions", DELETE, expired.EXECUTIONS),
    "logs": ("task_executions", FORGET, expired.LOGS),
    "skips": ("task_skips", DELETE, expired.SKIPS),
    "pauses": ("task_overrides", DELETE, expired.PAUSES),
}
OF_NOBODY: Final = {
    "pauses": ("task_overrides", expired.SELECTED_PAUSES),
    "syncs": ("syncs", expired.SYNCS),
    "runners": ("runners", expired.RUNNERS),
    "outages": ("outages", expired.OUTAGES),
    "incidents": ("incidents", expired.INCIDENTS),
    "drifts": ("drifts", expired.DRIFTS),
}


NOW: Final = "select statement_timestamp()"


async def prune_now(link: Statements, keep: timedelta, *, is_trial: bool = False) -> Pruned:
    """Remove what is past its time by the server's clock; `is_trial`: only count it."""
    [(now,)] = await link.run(NOW)
    return await prune(link, now, keep=keep, is_trial=is_trial)


async def prune(
    link: Statements,
    now: datetime,
    *,
    keep: timedelta = KEEP,
    batch: int = 1000,
    rest: float = REST,
    is_trial: bool = False,
) -> Pruned:
    """Remove history past its time, at most `batch` rows a transaction, with a rest after each.

    `keep` is for names without a config and for what belongs to no name. `is_trial`: only count. Where another prune
    is under way, what is left is left to it.
    """
    found = dict.fromkeys((field.name for field in fields(Pruned)), 0)
    step = _Step(link, now, keep, batch, rest, is_trial)
    try:
        for kind, (table, change, victims) in OF_NAMES.items():
            async for count in step.of_names(table, change, victims):
                found[kind] += count
        for kind, (table, victims) in OF_NOBODY.items():
            async for count in step.of_nobody(table, victims):
                found[kind] += count
    except Taken:
        pass
    return Pruned(**found)


@dataclass(frozen=True, slots=True)
class _Step:
    """One table after the other, a transaction at a time; each yields how many rows went."""

    link: Statements
    now: datetime
    keep: timedelta
    batch: int
    rest: float
    is_trial: bool

    async def of_names(self, table: str, change: str, victims: str) -> AsyncIterator[int]:
        statement = self._statement(change.format(table=table), victims, "t.name")
        async for chunk in self._names(table):
            rest = chunk
            while rest:
                each = None if self.is_trial else max(1, self.batch // len(rest))
                gone = await self._go(statement, _asked(rest, each))
                yield sum(gone.values())
                # A name that gave all it was asked for may have more; fewer names then give more each.
                rest = [kept for kept in rest if each and gone.get(kept.name) == each]

    async def of_nobody(self, table: str, victims: str) -> AsyncIterator[int]:
        statement = self._statement(DELETE.format(table=table), victims, "''::text")
        limit = None if self.is_trial else self.batch
        params: dict[str, object] = {"before": self.now - self.keep, "limit": limit}
        if "longest_before" in victims:
            params = {"longest_before": self.now - await self._longest(), "limit": limit}
        count: int | None = limit
        while count == limit:
            count = sum((await self._go(statement, params)).values())
            yield count

    async def _names(self, table: str) -> AsyncIterator[list[Kept]]:
        after, statement = "", expired.NAMES.format(table=table)
        while rows := await self.link.run(statement, {"after": after, "limit": NAMES_AT_ONCE}):
            after = rows[-1][0]
            yield [self._kept(row) for row in rows]

    def _kept(self, row: Row) -> Kept:
        name, keep, keep_last, keep_logs = row
        before = self.now - (parse_duration(keep) if keep else self.keep)
        return Kept(name, before, keep_last, self.now - parse_duration(keep_logs) if keep_logs else None)

    async def _longest(self) -> timedelta:
        keeps = [parse_duration(text) for (text,) in await self.link.run(expired.KEEPS) if text]
        return max([self.keep, *keeps])

    def _statement(self, change: str, victims: str, name: str) -> str:
        if self.is_trial:
            victims = expired.LOGS_OF_WHAT_STAYS if victims == expired.LOGS else victims
            return expired.COUNT.format(victims=victims.format(lock=""))
        return expired.REMOVE.format(
            change=change, name=name, victims=victims.format(lock="for update of x skip locked")
        )

    async def _go(self, statement: str, params: dict[str, object]) -> dict[str, int]:
        """How many rows of which name went; Taken where somebody else is at it."""
        started = time.monotonic()
        rows = await self.link.run(statement, params)
        if not all(is_mine for is_mine, _, _ in rows):
            raise Taken
        gone = {name: count for _, name, count in rows if count}
        if gone and self.rest and not self.is_trial:
            await asyncio.sleep((time.monotonic() - started) * self.rest)
        return gone


def _asked(kept: Sequence[Kept], each: int | None) -> dict[str, object]:
    return {
        "names": [one.name for one in kept],
        "befores": [one.before for one in kept],
        "keep_lasts": [one.keep_last for one in kept],
        "logs_befores": [one.logs_before for one in kept],
        "each": each,
    }
