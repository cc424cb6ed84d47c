"""In what does Redis say otherwise than it should? Both sides of each config that differs; nothing is mended here.

Whether a difference is somebody's doing, or only a runner at work, cannot be told from Redis alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from hashlib import sha1
from itertools import zip_longest
from typing import Any, Final, Protocol, TypeVar

from reconciler.scheduler.entries import Entry, milliseconds, milliseconds_after
from reconciler.scheduler.redis_link import RedisServiceManager

T = TypeVar("T")
CHUNK: Final = 500
# So many entries have one digest: a runner at work makes the digests of a few differ, and only those are looked into.
ALIKE_CHUNK: Final = 250
# For so many seconds what was asked ahead is good for the pass; what somebody changes meanwhile, the next one finds.
AHEAD_FOR: Final = 5.0
# So many digests are asked for at once. Redis serves others in between: it takes up some of them at a time.
ALIKE_CHUNKS: Final = 40
# A snapshot as PostgreSQL writes it.
SEEN: Final = re.compile(r"\d+:\d+:[\d,]*")
# A runner that has taken an id moves its score ahead, by far less than this. One beyond it would let instants pass.
LONGEST_HOLD: Final = timedelta(minutes=1)

# Are these configs here just as they should be, each queued for the very moment to look? By one digest of all that is
# said of them: to send, unpack and compare every word costs much more. After a "no" ask `COMPARE`.
#   ARGV   prefix, ids with a comma between, SHA-1 of their entries' `told` with a 0x1E between;
#          "1": also see to it that the set of ids names them
#   returns 1 or 0
ALIKE: Final = """
local prefix, call = ARGV[1], redis.pcall
local statuses, queues = prefix .. 'schedule:status:', prefix .. 'schedule:due:'
local ids, said = {}, {}
for id in string.gmatch(ARGV[2], '%d+') do
  local status = statuses .. id
  local h = call('HMGET', status, 'state', 'digest', 'next_run', 'queue')
  local queue, n = h[4] or '', #said
  said[n + 1] = (h[1] or '') .. '\\31' .. (h[2] or '') .. '\\31' .. (h[3] or '') .. '\\31' .. queue .. '\\31'
  if h[1] ~= 'active' then
    local pause = call('HMGET', status, 'reason', 'until')
    said[n + 1] = said[n + 1] .. (pause[1] or '') .. '\\31' .. (pause[2] or '') .. '\\31'
  end
  local score = call('ZSCORE', queues .. queue, id)
  said[n + 2] = type(score) == 'string' and score or ''
  said[n + 3] = '\\30'
  ids[#ids + 1] = id
end
said[#said] = nil
if redis.sha1hex(table.concat(said)) ~= ARGV[3] then return 0 end
if ARGV[4] == '1' then redis.call('SADD', prefix .. 'schedule:configs', unpack(ids)) end
return 1
"""

# Compare each entry with what is here; a key of another kind is not there. A score counts only where it is missing,
# where there should be none, or where it is later than both the moment to look and `latest`.
#   ARGV   prefix, JSON of id, queue, state, digest, next_run, reason, until, when to look, and so on: flat; latest;
#          "1": also see to it that the set of ids names them
#   returns per differing entry: id, state, digest, next_run, queue, reason, until, score; "" for what is not there
COMPARE: Final = """
local prefix, latest, call = ARGV[1], tonumber(ARGV[3]), redis.pcall
local statuses = prefix .. 'schedule:status:'
local keys, ids, answer = {}, {}, {}
local flat = cjson.decode(ARGV[2])
for n = 1, #flat, 8 do
  local id, queue, state, digest, next_run, reason, ends, look = unpack(flat, n, n + 7)
  local status, due, h = statuses .. id, keys[queue], nil
  if not due then
    due = prefix .. 'schedule:due:' .. queue
    keys[queue] = due
  end
  if state == 'paused' or reason ~= '' then
    h = call('HMGET', status, 'state', 'digest', 'next_run', 'queue', 'reason', 'until')
  else
    h = call('HMGET', status, 'state', 'digest', 'next_run', 'queue')
  end
  local score = call('ZSCORE', due, id)
  if type(score) == 'table' then score = false end
  if h[1] ~= state or h[2] ~= digest or (h[3] or '') ~= next_run or h[4] ~= queue
      or (h[5] or '') ~= reason or (h[6] or '') ~= ends
      or (look == '') == (score and true or false)
      or score and score ~= look and tonumber(score) > math.max(latest, tonumber(look)) then
    if #h == 4 then h = call('HMGET', status, 'state', 'digest', 'next_run', 'queue', 'reason', 'until') end
    if h[4] and h[4] ~= queue then score = call('ZSCORE', prefix .. 'schedule:due:' .. h[4], id) end
    if type(score) == 'table' then score = false end
    local k = #answer
    answer[k + 1] = id
    for i = 1, 6 do answer[k + 1 + i] = h[i] or '' end
    answer[k + 8] = score or ''
  end
  ids[#ids + 1] = id
end
if ARGV[4] == '1' and #ids > 0 then redis.call('SADD', prefix .. 'schedule:configs', unpack(ids)) end
return answer
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """What Redis says of one config, as it stands there, moments in milliseconds; "" is what is not there."""

    state: str = ""
    digest: str = ""
    next_run: str = ""
    queue: str = ""
    reason: str = ""
    until: str = ""
    score: str = ""

    @property
    def is_gone(self) -> bool:
        """Whether nothing is kept of it, whatever queue still holds its id."""
        return not any(astuple(self)[:-1])


def kept_as(entry: Entry) -> Kept:
    """What Redis should say; `score` is when to look, and may be earlier, or held by a runner for a moment."""
    return Kept(
        entry.state,
        entry.digest,
        milliseconds(entry.next_run),
        entry.queue,
        entry.reason or "",
        milliseconds_after(entry.until),
        milliseconds_after(entry.wake_at),
    )


class Judge(Protocol):
    """Who knows what a difference means. `seen`: what it saw when it made the entries, kept for the next one."""

    @property
    def now(self) -> datetime: ...
    @property
    def seen(self) -> str: ...

    async def differing(self, found: Mapping[int, Kept], seen: str, *, has_epoch: bool) -> Collection[int]:
        """Given all that differs, and what the last alignment had seen: the ids that are to be left as they are."""

    async def strays(self, config_ids: Collection[int]) -> None:
        """These are here and belong to no config; they are removed."""


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What was asked ahead: chunk by chunk the entries that were all here, [] where one was not; and when."""

    alike: Sequence[Sequence[Entry]] = ()
    restarts: int = 0
    at: float = 0.0


class Differences:
    """Asks Redis, some hundred configs at a time; StoreUnavailable when it is away."""

    def __init__(self, redis: RedisServiceManager) -> None:
        self._redis = redis
        self._alike = redis.client.register_script(ALIKE)
        self._compare = redis.client.register_script(COMPARE)
        self._keys = f"{redis.prefix}schedule:epoch", f"{redis.prefix}schedule:seen"
        self._ahead = _Ahead()

    async def of(self, entries: Sequence[Entry], now: datetime, *, keeps_set: bool = False) -> dict[int, Kept]:
        """What is kept, otherwise than it should be, of these configs, by id.

        `keeps_set`: also see to it that the set of ids names them all.
        """
        found: dict[int, Kept] = {}
        latest, keeps = milliseconds_after(now + LONGEST_HOLD), "1" if keeps_set else ""
        chunks = self._not_seen_ahead(list(_by(ALIKE_CHUNK, entries)))
        for chunk in _by(CHUNK, [entry for some in await self._unlike(chunks, keeps) for entry in some]):
            text = f"[{','.join([entry.packed() for entry in chunk])}]"
            with self._redis.answering():
                answer = await self._compare(args=[self._redis.prefix, text, latest, keeps])
            found.update(_rows(answer))
        return found

    async def look_ahead(self, entries: Sequence[Entry]) -> None:
        """Ask now what `wrong` is going to ask soon, if it is about the same entries."""
        restarts, at = self._redis.restarts, time.monotonic()
        unlike = set(map(id, await self._unlike(chunks := list(_by(ALIKE_CHUNK, entries)), "1")))
        self._ahead = _Ahead([[] if id(chunk) in unlike else chunk for chunk in chunks], restarts, at)

    def _not_seen_ahead(self, chunks: Sequence[Sequence[Entry]]) -> Sequence[Sequence[Entry]]:
        ahead, self._ahead = self._ahead, _Ahead()
        if ahead.restarts != self._redis.restarts or time.monotonic() - ahead.at > AHEAD_FOR:
            return chunks
        return [chunk for chunk, alike in zip_longest(chunks, ahead.alike[: len(chunks)]) if chunk != alike]

    async def _unlike(self, every: Sequence[Sequence[Entry]], keeps: str) -> list[Sequence[Entry]]:
        """The chunks whose entries are not all here just as they should be."""
        found: list[Sequence[Entry]] = []
        for chunks in _by(ALIKE_CHUNKS, every):
            with self._redis.answering():
                async with self._redis.client.pipeline(transaction=False) as pipeline:
                    for chunk in chunks:
                        ids = ",".join([str(entry.config_id) for entry in chunk])
                        await self._alike(args=[self._redis.prefix, ids, _digest(chunk), keeps], client=pipeline)
                    answers = await pipeline.execute()
            found += [chunk for chunk, is_alike in zip(chunks, answers, strict=True) if not is_alike]
        return found

    async def wrong(self, entries: Sequence[Entry], judge: Judge) -> Sequence[Entry]:
        """Those to be written: all of them where Redis was emptied, else what differs and is not to be left."""
        epoch, seen = await self.last()
        if not seen:
            return entries
        found = await self.of(entries, judge.now, keeps_set=True)
        left = await judge.differing(found, seen, has_epoch=epoch is not None)
        return [entry for entry in entries if entry.config_id in found and entry.config_id not in left]

    async def last(self) -> tuple[str | None, str | None]:
        """The epoch in force, and what the last alignment had seen; None: not there, or of another hand."""
        with self._redis.answering():
            answer = await self._redis.client.mget(self._keys)
        epoch, seen = (None if text is None else str(text) for text in answer)
        return epoch, seen if seen and SEEN.fullmatch(seen) else None

    async def remember(self, seen: str) -> None:
        with self._redis.answering():
            await self._redis.client.set(self._keys[1], seen)


def _digest(entries: Sequence[Entry]) -> str:
    told = "\x1e".join([entry.told for entry in entries])
    return sha1(told.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def _rows(answer: Sequence[Any]) -> Iterator[tuple[int, Kept]]:
    return ((int(id_), Kept(*map(str, rest))) for id_, *rest in _by(8, answer))


def _by(size: int, items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
