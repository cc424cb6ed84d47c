"""The clockwork in Redis: which configs are due, when to look next, and who is to be woken.

It keeps what it is told and decides nothing: an id that is taken may run only if PostgreSQL agrees, and all of
this can be thrown away and rebuilt from there at any moment. Nothing here knows a spec or a schedule.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from reconciler.errors import StoreUnavailable
from reconciler.scheduler import entries, scripts, taking, wakes
from reconciler.scheduler.differences import LONGEST_HOLD, Differences, Judge
from reconciler.scheduler.entries import Advance, Due, Entry, State, Taken, milliseconds, milliseconds_after
from reconciler.scheduler.hidden import Hidden
from reconciler.scheduler.redis_link import RedisServiceManager
from reconciler.scheduler.syncing import Syncing

__all__ = ["Advance", "Due", "Entry", "EpochChanged", "RedisServiceManager", "SchedulerService", "Taken"]

# Given some of the ids that Redis knows, those that no config has any more.
Gone = Callable[[Collection[int]], Awaitable[Collection[int]]]

# Entries a script call: few enough that Redis is not busy with one for more than some milliseconds.
CHUNK = 500
# A rebuild that was emptied under its feet begins again, so often at most.
ROUNDS = 5
# After this a whole alignment is due again, whoever makes it: one a minute, with the time to notice.
ALIGNED_FOR = timedelta(seconds=50)
# The mark of a rebuild whose process died goes away by itself.
MARK_KEPT_MS = 600_000


class EpochChanged(Exception):
    """Redis is not the one that was aligned last: align it, and what is due is in there afterwards."""


class SchedulerService:
    """`schedule:status:{config_id}` and the due queues; each method raises StoreUnavailable when Redis is away."""

    def __init__(self, redis: RedisServiceManager) -> None:
        self._redis = redis
        self._aligned_at = 0  # the count of server restarts when Redis was last aligned whole
        client, prefix = redis.client, redis.prefix
        self._prefix = prefix
        self._epoch_key = f"{prefix}schedule:epoch"
        self._configs_key = f"{prefix}schedule:configs"
        self._aligned_key = f"{prefix}schedule:aligned"
        self._channel = f"{prefix}schedule:wake"
        self.syncing = Syncing(redis)
        self.differences = Differences(redis)
        self.hidden = Hidden(redis)
        self.modes = redis.modes
        self._take = client.register_script(taking.TAKE)
        self._advance = client.register_script(taking.ADVANCE)
        self._give_back = client.register_script(taking.GIVE_BACK)
        self._align = client.register_script(scripts.ALIGN)
        self._differing = client.register_script(scripts.DIFFERING)
        self._halt = client.register_script(scripts.HALT)
        self._forget = client.register_script(scripts.FORGET)
        self._begin = client.register_script(scripts.BEGIN)
        self._settle = client.register_script(scripts.SETTLE)

    # ── what a runner asks ──

    async def take(self, queues: Sequence[str], now: datetime, limit: int, hold: timedelta, epoch: str) -> Taken:
        """Up to `limit` configs due by `now`, hidden from other runners for `hold`.

        EpochChanged: the epoch in Redis is absent or another, or the server restarted since the last `align`.
        """
        if self._redis.restarts != self._aligned_at:
            raise EpochChanged
        keys = [self._epoch_key, *(self._due_key(queue) for queue in queues)]
        args = [self._prefix, epoch, milliseconds(now), str(max(0, limit)), milliseconds(now + hold)]
        with self._redis.answering():
            answer = await self._take(keys=keys, args=args)
        if answer is None:
            raise EpochChanged
        taken = entries.taken(answer, queues)
        if self._redis.restarts != self._aligned_at:
            # Noticed on the way here: this may be what an old copy on disk said.
            await self.give_back(taken.due)
            raise EpochChanged
        return taken

    async def advance(self, moves: Sequence[Advance]) -> None:
        """Set what comes next, only where config and instant are still what the runner saw; one round trip."""
        if moves:
            await self._run(self._advance, [text for move in moves for text in move.row()])

    async def give_back(self, due: Sequence[Due], score: datetime | None = None) -> None:
        """Let others see these again, at their old score or at `score`, unless they have changed meanwhile."""
        if due:
            await self._run(self._give_back, [item.row(score or item.score) for item in due])

    async def epoch(self) -> str | None:
        """The token of the last rebuild; None where Redis was emptied since."""
        with self._redis.answering():
            found = await self._redis.client.get(self._epoch_key)
        return None if found is None else str(found)

    async def is_aligned_lately(self) -> bool:
        """Whether somebody made Redis say all that PostgreSQL says lately (`ALIGNED_FOR`), by Redis' own clock."""
        with self._redis.answering():
            return bool(await self._redis.client.exists(self._aligned_key))

    # ── what PostgreSQL says ──

    async def align(
        self,
        entries: Sequence[Entry],
        *,
        complete: bool,
        gone: Gone | None = None,
        unchanged: Collection[int] = (),
        judge: Judge | None = None,
    ) -> int:
        """Make Redis say what `entries` say, writing only what differs; the number of configs that differed.

        `complete`: these, and the `unchanged` ids, are all there are. Other ids are removed, and Redis is declared
        whole (`epoch`). `gone` is asked about them first, for a config may have come since the entries were read.
        `judge` hears of what differs in a Redis that is whole, and says what of it is left as it is.
        """
        ids = {entry.config_id for entry in entries}.union(unchanged)
        changed = await self._rebuild(entries, ids, gone, judge) if complete else await self._write(entries)
        if changed:
            await self.wake()
        return changed

    async def differing(self, configs: Sequence[tuple[int, str, bool, datetime | None]]) -> set[int]:
        """Of these (id, digest, whether it is paused, the pause's end) the ids that Redis keeps otherwise, or not.

        What it says of their next instant is believed.
        """
        found: set[int] = set()
        for chunk in _chunks(configs):
            flat = [
                text
                for config_id, digest, is_paused, ends in chunk
                for text in (str(config_id), digest, "1" if is_paused else "", milliseconds_after(ends))
            ]
            with self._redis.answering():
                found.update(map(int, await self._differing(args=[self._prefix, json.dumps(flat)])))
        return found

    async def register(self, entry: Entry) -> None:
        """Keep one config as `entry` says, new or known."""
        await self.align([entry], complete=False)

    async def start(self, entry: Entry) -> None:
        """The same for a config that was stopped."""
        await self.register(entry)

    async def resume(self, entry: Entry) -> None:
        """The same for a config that was paused."""
        await self.register(entry)

    async def stop(self, config_id: int) -> bool:
        """Suspend a config: it is kept and not queued. False where it is not known."""
        return await self._set_state(config_id, "suspended", None, None)

    async def pause(self, config_id: int, reason: str | None, until: datetime | None) -> bool:
        """Keep a config from being taken before `until`, None: before it is resumed. False: it is not known."""
        return await self._set_state(config_id, "paused", reason, until)

    async def unregister(self, *config_ids: int) -> int:
        """Forget configs; the number of those that were known."""
        return sum([await self._run(self._forget, [str(i) for i in ids]) for ids in _chunks(config_ids)])

    async def status(self, config_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """What is kept of each config that is known: state, digest, queue, next_run, wake_at, reason, until."""
        found: dict[int, dict[str, Any]] = {}
        for ids in _chunks(config_ids):
            hashes = await self._ask([("HGETALL", f"{self._prefix}schedule:status:{i}") for i in ids])
            known = {i: fields for i, fields in zip(ids, hashes, strict=True) if fields.get("queue")}
            scores = await self._ask([("ZSCORE", self._due_key(f["queue"]), i) for i, f in known.items()])
            for (i, fields), score in zip(known.items(), scores, strict=True):
                found[i] = entries.status(fields, score)
        return found

    # ── waking ──

    async def wake(self) -> None:
        """Tell every runner to look again: something nearer is due, or work is waiting."""
        with self._redis.answering():
            await self._redis.client.publish(self._channel, "")

    def wakes(self) -> AsyncIterator[None]:
        """One item a `wake`, and one each time the connection was made; never ends, never raises."""
        return wakes.calls(self._redis.client, self._channel)

    # ── reading along ──

    async def publish_log(self, name: str, scheduled_for: datetime, offset: int, text: str) -> None:
        """Tell whoever reads along what a run has printed from character `offset` on; kept nowhere."""
        with self._redis.answering():
            await self._redis.client.publish(self._log_channel(name, scheduled_for), json.dumps([offset, text]))

    async def logs(self, name: str, scheduled_for: datetime) -> AsyncIterator[tuple[int, str]]:
        """What a run prints from now on, as (offset, text). Lossy; never ends, never raises."""
        async for message in wakes.heard(self._redis.client, self._log_channel(name, scheduled_for)):
            if message is not None:
                offset, text = json.loads(message)
                yield int(offset), str(text)

    # ── steps ──

    async def _rebuild(
        self, entries: Sequence[Entry], ids: Collection[int], gone: Gone | None, judge: Judge | None
    ) -> int:
        """Write, remove, declare whole; once more where Redis was emptied or restarted meanwhile."""
        changed = 0
        for _ in range(ROUNDS):
            restarts = self._redis.restarts
            keys = [self._epoch_key, self._configs_key, f"{self._prefix}schedule:rebuild:{uuid4().hex}"]
            with self._redis.answering():
                await self._begin(keys=keys, args=[MARK_KEPT_MS])
            wrong = await self.differences.wrong(entries, judge) if judge else entries
            changed += await self._write(wrong, milliseconds_after(judge.now + LONGEST_HOLD) if judge else "")
            changed += await self._remove_others(ids, gone, judge)
            with self._redis.answering():
                epoch = await self._settle(keys=keys, args=[uuid4().hex, scripts.COMPLETE])
            if epoch is not None and self._redis.restarts == restarts:
                self._aligned_at = restarts
                with self._redis.answering():
                    await self._redis.client.set(self._aligned_key, "", px=ALIGNED_FOR)
                if judge:
                    await self.differences.remember(judge.seen)
                return changed
        raise StoreUnavailable(f"redis: {self._redis.place}: emptied again and again while it was rebuilt")

    async def _write(self, entries: Sequence[Entry], latest: str = "") -> int:
        changed = 0
        for chunk in _chunks(entries):
            changed += await self._send(self._align, f"[{','.join([entry.packed() for entry in chunk])}]", latest)
        return changed

    async def _remove_others(self, ids: Collection[int], gone: Gone | None, judge: Judge | None) -> int:
        others: Collection[int] = await self.others(ids)
        if others and gone is not None:
            others = await gone(others)
        if others and judge:
            await judge.strays(others)
        return await self.unregister(*others)

    async def others(self, ids: Collection[int]) -> set[int]:
        """The ids kept here that are not among `ids`, all of which are here."""
        client = self._redis.client
        with self._redis.answering():
            if not await client.sismember(self._configs_key, scripts.COMPLETE):
                # The set is new, or somebody deleted it: what it does not name may be here all the same.
                pattern = _literal(f"{self._prefix}schedule:status:") + "*"
                kept = [key.rpartition(":")[2] async for key in client.scan_iter(match=pattern, count=1000)]
            elif await client.scard(self._configs_key) == len(ids) + 1:
                return set()
            else:
                kept = list(await client.smembers(self._configs_key))
        return {int(i) for i in kept if i.isdecimal()}.difference(ids)

    async def _set_state(self, config_id: int, state: State, reason: str | None, until: datetime | None) -> bool:
        args = [self._prefix, str(config_id), state, reason or "", milliseconds_after(until)]
        with self._redis.answering():
            return bool(await self._halt(args=args))

    async def _run(self, script: Any, items: Sequence[Any]) -> int:
        return await self._send(script, json.dumps(items))

    async def _send(self, script: Any, *args: str) -> int:
        with self._redis.answering():
            return int(await script(args=[self._prefix, *args]))

    async def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        with self._redis.answering():
            async with self._redis.client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                return await pipeline.execute()

    def _log_channel(self, name: str, scheduled_for: datetime) -> str:
        return f"{self._prefix}schedule:log:{name}@{milliseconds(scheduled_for)}"

    def _due_key(self, queue: str) -> str:
        return f"{self._prefix}schedule:due:{queue}"


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def _literal(key: str) -> str:
    """`key` as a glob pattern that matches only itself."""
    return "".join(f"\\{c}" if c in "\\*?[]" else c for c in key)
