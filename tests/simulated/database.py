"""A pretended PostgreSQL: its tables, its clock, its locks and its transactions; what is done to them is elsewhere.

Each call of the program's own functions is one step at one moment of the server's clock. A transaction of several
steps sees what was committed and what it did itself; what it did is there for others when it is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import copy
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from reconciler.db.link import Link as RealLink
from reconciler.errors import StoreUnavailable
from simulated.loop import PROCESS, Process, VirtualLoop
from simulated.rows import ClaimRow, Tables
from simulated.weather import Weather

BASE = datetime(2031, 3, 5, 10, tzinfo=UTC)
Step = Callable[..., Any]


class Database:
    """`work(db, ...)` is done to it by `ask`, through the weather."""

    def __init__(self, loop: VirtualLoop, random: Random) -> None:
        self.loop = loop
        self.tables = Tables()
        self.weather = Weather("postgresql", loop, 12.0)
        self.shift = timedelta(0)
        self.highest = BASE
        self.locked: dict[str, Transaction] = {}
        self.applier: Transaction | None = None
        self.transactions = 0
        self.deleted_at = 0  # the transaction that deleted configs last
        self.ids = 0
        self.revision = 0
        self.on_commit: list[Callable[[Tables, Transaction], None]] = []
        self.tell: Callable[[str], None] | None = None  # hears of every answer that is not empty
        self.on_claim: list[Callable[[ClaimRow], None]] = []
        self._random = random

    def now(self) -> datetime:
        moment = self.unstepped() + self.shift
        self.highest = max(self.highest, moment)
        return moment

    def unstepped(self) -> datetime:
        """What its clock would show, had nobody set it back; a runner may not have heard of that yet."""
        return BASE + timedelta(seconds=round(self.loop.time(), 6))

    def done(self, step: Step, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """One step, and what it answered."""
        answer = step(self, *args, **options)
        if self.tell is not None and answer:
            self.tell(f"    {step.__name__}: {answer}")
        return answer

    def next_id(self) -> int:
        self.ids += 1
        return self.ids

    def new_token(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)

    def begun(self) -> int:
        """The number of a transaction that writes."""
        self.transactions += 1
        return self.transactions

    # ── what the unique indexes and the rules of every statement hold up ──

    def owned_exclusive(self, name: str) -> bool:
        return any(c.name == name and c.exclusive and c.runner_id is not None for c in self.tables.claims.values())

    def add_claim(self, row: ClaimRow) -> None:
        for hear in self.on_claim:
            hear(row)
        self.tables.claims[row.key] = row

    def move_cursor(self, name: str, through: datetime) -> None:
        self.tables.cursors[name] = through

    # ── transactions ──

    def release(self, transaction: Transaction) -> None:
        self.locked = {name: holder for name, holder in self.locked.items() if holder is not transaction}
        if self.applier is transaction:
            self.applier = None

    def commit(self, transaction: Transaction) -> None:
        """Its steps, one after the other, to what is committed."""
        before = self._copied()
        self.begun()
        self.revision = max(self.revision, transaction.revision)
        for step, args, options in transaction.written:
            step(self, *args, **options)
        self.release(transaction)
        for hear in self.on_commit:
            hear(before, transaction)

    def seen_by(self, transaction: Transaction) -> Database:
        """What that transaction sees, to be looked at only."""
        if not transaction.written:
            return self
        view = copy(self)
        view.tables = self._copied()
        for step, args, options in transaction.written:
            step(view, *args, **options)
        return view

    def _copied(self) -> Tables:
        tables = copy(self.tables)
        tables.configs = dict(tables.configs)
        tables.cursors = dict(tables.cursors)
        tables.skips = dict(tables.skips)
        tables.revisions = [copy(row) for row in tables.revisions]
        return tables


class Link(RealLink):
    """One connection of one process: its statements take turns."""

    def __init__(self, database: Database) -> None:
        self.place = "model"
        self._database = database
        self._turn = asyncio.Lock()

    async def do(self, step: Step, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        async with self._turn:
            return await self._database.weather.ask(lambda: self._database.done(step, args, options))

    async def run(self, statement: str, params: Any = None) -> list[Any]:
        raise AssertionError(f"the model does not know this statement: {statement}")

    @asynccontextmanager
    async def transaction(self, *, lock_timeout: timedelta | None = None) -> AsyncIterator[Any]:
        async with self._turn:
            process = PROCESS.get()
            transaction = Transaction(self._database, process)
            try:
                yield transaction
                await self._database.weather.ask(transaction.commit)
            except BaseException:
                transaction.end()  # nothing more of it where it was committed
                raise

    async def close(self) -> None:
        """There is nothing to close."""


class Transaction:
    """Its writes are kept until the commit; the server forgets it when its process has died."""

    def __init__(self, database: Database, process: Process | None) -> None:
        self.written: list[tuple[Step, tuple[Any, ...], dict[str, Any]]] = []
        self.began: datetime | None = None
        self.revision = 0
        self._database, self._process, self._is_over = database, process, False
        self.session = self

    async def do(self, step: Step, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return await self._database.weather.ask(lambda: self._done(step, args, options))

    async def turn(self) -> datetime:
        """The moment at which nobody else applies."""
        while True:
            moment = await self._database.weather.ask(self._take_turn)
            if moment is not None:
                self.began = moment
                return moment
            await asyncio.sleep(0.05)

    def newest_revision(self) -> int:
        """What was applied last, by anybody."""
        return self._database.revision

    def commit(self) -> None:
        if self._is_over:
            raise StoreUnavailable("postgresql: model: the transaction is gone")
        self._is_over = True
        self._database.commit(self)

    def end(self) -> None:
        """Rolled back."""
        self._is_over = True
        self._database.release(self)

    @property
    def is_abandoned(self) -> bool:
        return self._process is not None and self._process.is_dead

    def _take_turn(self) -> datetime | None:
        if self._is_over:
            return None
        if self._database.applier is not None and self._database.applier.is_abandoned:
            self._database.applier.end()
        if self._database.applier is None:
            self._database.applier = self
            return self._database.now()
        return None

    def _done(self, step: Step, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if self._is_over:
            raise StoreUnavailable("postgresql: model: the transaction is gone")
        if step.__name__ == "lock":
            for name in args[0]:
                if name in self._database.tables.cursors:
                    self._database.locked[name] = self
        if step.__name__ in WRITES:
            self.written.append((step, args, options))
        return step(self._database.seen_by(self) if step.__name__ not in WRITES else _scratch(self), *args, **options)


WRITES = frozenset(
    {"ensure", "move_to", "upsert", "delete", "append_in_force", "append_new", "mark_removed", "record_skips"}
)


def _scratch(transaction: Transaction) -> Database:
    """For a write that is done at the commit: its answer is not looked at."""
    view = copy(transaction._database)
    view.tables = view._copied()
    return view
