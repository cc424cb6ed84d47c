"""A pretended Redis: what the steps of `SchedulerService` do, and the few plain commands beside them.

`Server` is the one that all share, and can forget everything, or come back as it once was. `Manager` stands for the
`RedisServiceManager` of one process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

from reconciler.scheduler import scripts
from reconciler.scheduler.differences import LONGEST_HOLD, Kept, kept_as
from reconciler.scheduler.entries import Advance, Due, Entry, Taken, milliseconds, milliseconds_after, moment
from reconciler.scheduler.redis_link import heeding_cancellation
from simulated.loop import VirtualLoop
from simulated.weather import Weather

FIELDS = ("state", "digest", "next_run", "queue", "reason", "until")
EPOCH = "schedule:epoch"


class Data:
    """All that one Redis holds."""

    def __init__(self) -> None:
        self.strings: dict[str, str] = {}
        self.ends: dict[str, float] = {}
        self.hashes: dict[str, dict[str, str]] = {}  # by id
        self.due: dict[str, dict[str, int]] = {}  # by queue: id, score
        self.configs: set[str] | None = None


class Server:
    """`data`, and the scripts on it, each one step."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.weather = Weather("redis", loop, 3.0)
        self.data = Data()
        self.run_id = 1
        self.listeners: list[Listener] = []
        self._kept = Data()
        self.scripts: dict[str, Callable[[Sequence[str], Sequence[str]], Any]] = {
            scripts.DIFFERING: self.differing,
            scripts.HALT: self.halt,
            scripts.FORGET: self.forget,
            scripts.BEGIN: self.begin,
            scripts.SETTLE: self.settle,
        }

    # ── what may happen to it ──

    def save(self) -> None:
        """To its disk."""
        self._kept = deepcopy(self.data)

    def flush(self) -> None:
        self.data = Data()

    def restart(self, *, with_old: bool) -> None:
        """It comes back with nothing, or with what it last saved; whoever listened hears the connection break."""
        self.data = deepcopy(self._kept) if with_old else Data()
        self.run_id += 1
        for listener in self.listeners:
            listener.break_off()
        self.listeners.clear()

    # ── what `SchedulerService` does in one step ──

    def take(self, queues: Sequence[str], now: datetime, limit: int, hold: timedelta, epoch: str) -> Taken | None:
        """None: the epoch is another one."""
        at, held, data = int(milliseconds(now)), int(milliseconds(now + hold)), self.data
        if self.get(EPOCH) != epoch:
            return None
        found = []
        for queue in queues:
            rows = sorted((score, id_, queue) for id_, score in data.due.get(queue, {}).items() if score <= at)
            found += rows[: max(0, limit)]
        found.sort(key=lambda one: one[0])
        due = [one for score, id_, queue in found[:limit] for one in self._taken(queue, id_, score, at, held)]
        firsts = [min(data.due[queue].values()) for queue in queues if data.due.get(queue)]
        return Taken(due, moment(str(min(firsts))) if firsts else None)

    def _taken(self, queue: str, id_: str, score: int, now: int, held: int) -> list[Due]:
        fields, due = self.data.hashes.get(id_, {}), self.data.due[queue]
        state, next_run, ends = fields.get("state"), fields.get("next_run"), fields.get("until")
        look = int(next_run) if next_run else None
        if state == "paused" and ends:
            if look is not None and int(ends) <= now:
                fields["state"] = "active"
                fields.pop("reason", None)
                fields.pop("until", None)
            elif look is not None:
                look = max(look, int(ends))
        elif state != "active":
            look = None
        if look is None or fields.get("queue") != queue:
            del due[id_]
        elif look > now:
            due[id_] = look
        else:
            due[id_] = held
            return [Due(int(id_), queue, moment(str(next_run)), fields["digest"], moment(str(score)))]
        return []

    def advance(self, moves: Sequence[Advance]) -> None:
        for move in moves:
            fields = self.data.hashes.get(str(move.config_id), {})
            now = tuple(fields.get(name) for name in ("state", "digest", "queue", "next_run"))
            if now == ("active", move.digest, move.queue, milliseconds(move.was)):
                if move.next_run is not None:
                    fields["next_run"] = milliseconds(move.next_run)
                else:
                    fields.pop("next_run", None)
                look = milliseconds_after(move.wake_at) if move.next_run is not None else ""
                self._queue(move.queue, str(move.config_id), look)

    def give_back(self, items: Sequence[Due], score: datetime | None = None) -> None:
        for item in items:
            id_, due = str(item.config_id), self.data.due.get(item.queue, {})
            fields = self.data.hashes.get(id_, {})
            is_same = (fields.get("digest"), fields.get("next_run")) == (item.digest, milliseconds(item.next_run))
            if is_same and id_ in due:
                due[id_] = int(milliseconds_after(score or item.score))

    def show(self, queues: Sequence[str], now: datetime, hold: timedelta) -> int:
        """What is due and hidden is due for everybody; how many were."""
        at, held, shown = int(milliseconds(now)), int(milliseconds(now + hold)), 0
        for queue in queues:
            due = self.data.due.get(queue, {})
            for id_, score in list(due.items()):
                fields = self.data.hashes.get(id_, {})
                next_run = fields.get("next_run")
                if at < score <= held and fields.get("state") == "active" and next_run and int(next_run) <= at:
                    due[id_] = at
                    shown += 1
        return shown

    def align(self, entries: Sequence[Entry], latest: str = "") -> int:
        """Write what differs; how many entries did. A score beyond `latest` is set back."""
        changed = 0
        for entry in entries:
            id_, row = str(entry.config_id), kept_as(entry)
            there = self.data.hashes.get(id_, {})
            score = self.data.due.get(entry.queue, {}).get(id_)
            is_late = bool(latest and row.score and (score or 0) > max(int(latest), int(row.score)))
            if not _is_same(there, row):
                if there.get("queue") not in (None, entry.queue):
                    self._queue(there["queue"], id_, "")
                fields = {name: getattr(row, name) for name in FIELDS}
                self.data.hashes[id_] = {name: value for name, value in fields.items() if value}
                self._queue(entry.queue, id_, row.score)
                changed += 1
            elif is_late or bool(row.score) != (score is not None):
                self._queue(entry.queue, id_, row.score)
                changed += 1
            self.data.configs = (self.data.configs or set()) | {id_}
        return changed

    def of(self, entries: Sequence[Entry], now: datetime, *, keeps_set: bool = False) -> dict[int, Kept]:
        """What is here otherwise than in the entries."""
        latest, found = int(milliseconds_after(now + LONGEST_HOLD)), {}
        for entry in entries:
            id_, row = str(entry.config_id), kept_as(entry)
            there = self.data.hashes.get(id_, {})
            score = self.data.due.get(entry.queue, {}).get(id_)
            is_late = score is not None and bool(row.score) and score > max(latest, int(row.score))
            if not _is_same(there, row) or bool(row.score) != (score is not None) or is_late:
                if there.get("queue") not in (None, entry.queue):
                    score = self.data.due.get(there["queue"], {}).get(id_)
                fields = {name: there.get(name, "") for name in FIELDS}
                found[entry.config_id] = Kept(**fields, score="" if score is None else str(score))
            if keeps_set:
                self.data.configs = (self.data.configs or set()) | {id_}
        return found

    # ── scripts ──

    def differing(self, keys: Sequence[str], args: Sequence[str]) -> list[str]:
        found, same = [], []
        flat = json.loads(args[1])
        for n in range(0, len(flat), 4):
            id_, digest, paused, ends = flat[n : n + 4]
            there = self.data.hashes.get(id_, {})
            state, queue = there.get("state"), there.get("queue")
            is_due = queue is not None and id_ in self.data.due.get(queue, {})
            is_paused = state == "paused"
            if (
                there.get("digest") != digest
                or not queue
                or state == "suspended"
                or is_paused != bool(paused)
                or (is_paused and there.get("until", "") != ends)
                or (state == "active" and "next_run" in there and not is_due)
            ):
                found.append(id_)
            else:
                same.append(id_)
        if same:
            self.data.configs = (self.data.configs or set()) | set(same)
        return found

    def halt(self, keys: Sequence[str], args: Sequence[str]) -> int:
        _, id_, state, reason, ends = args
        fields = self.data.hashes.get(id_, {})
        queue, next_run = fields.get("queue"), fields.get("next_run")
        if not queue:
            return 0
        fields["state"] = state
        fields.pop("reason", None)
        fields.pop("until", None)
        fields.update({name: value for name, value in (("reason", reason), ("until", ends)) if value})
        if state == "suspended":
            fields.pop("next_run", None)
        score = self.data.due.get(queue, {}).get(id_) or next_run
        self._queue(queue, id_, str(max(int(score), int(ends))) if ends and score else "")
        return 1

    def forget(self, keys: Sequence[str], args: Sequence[str]) -> int:
        known = 0
        for id_ in json.loads(args[1]):
            fields = self.data.hashes.pop(id_, None)
            if fields is not None:
                self._queue(fields.get("queue", ""), id_, "")
                known += 1
            if self.data.configs is not None:
                self.data.configs.discard(id_)
        return known

    def begin(self, keys: Sequence[str], args: Sequence[str]) -> int:
        self.data.strings[keys[2]] = ""
        return 1

    def settle(self, keys: Sequence[str], args: Sequence[str]) -> str | None:
        if self.data.strings.pop(keys[2], None) is None:
            return None
        self.data.configs = (self.data.configs or set()) | {args[1]}
        return self.data.strings.setdefault(keys[0], args[0])

    # ── plain commands ──

    def get(self, key: str) -> str | None:
        if key in self.data.ends and self.data.ends[key] <= self.loop.time():
            del self.data.ends[key]
            self.data.strings.pop(key, None)
        return self.data.strings.get(key)

    def set(self, key: str, value: str, seconds: float | None) -> None:
        self.data.strings[key] = value
        self.data.ends.pop(key, None)
        if seconds is not None:
            self.data.ends[key] = self.loop.time() + seconds

    def publish(self, channel: str, text: str) -> int:
        heard = [one for one in self.listeners if one.channel == channel]
        for listener in heard:
            listener.hear({"type": "message", "data": text})
        return len(heard)

    def _queue(self, queue: str, id_: str, look: str) -> None:
        if look:
            self.data.due.setdefault(queue, {})[id_] = int(look)
        else:
            self.data.due.get(queue, {}).pop(id_, None)


def _is_same(there: Mapping[str, str], row: Kept) -> bool:
    """As the scripts compare: of a config without a pause, a reason and an end that are left there go unseen."""
    names = FIELDS if row.state == "paused" or row.reason else FIELDS[:4]
    return all(there.get(name, "") == getattr(row, name) for name in names)


class Manager:
    """What `SchedulerService` asks of the `RedisServiceManager` of one process."""

    def __init__(self, server: Server) -> None:
        self.place = "model"
        self.prefix = ""
        self.modes: Mapping[str, str] = {}
        self.restarts = 0
        self.client = Client(server, self)
        self._server = server
        self._known = 0

    def greet(self) -> None:
        """Which server is this? Another than before is counted."""
        if self._known not in (0, self._server.run_id):
            self.restarts += 1
        self._known = self._server.run_id

    @contextmanager
    def answering(self) -> Iterator[None]:
        with heeding_cancellation():
            yield


async def _unknown(*_: Any, **__: Any) -> Any:
    raise AssertionError("the model does not know this script")


class Client:
    """The part of redis-py's client that the program uses."""

    def __init__(self, server: Server, manager: Manager) -> None:
        self._server, self._manager = server, manager

    async def _ask(self, work: Callable[[], Any]) -> Any:
        def done() -> Any:
            self._manager.greet()
            return work()

        return await self._server.weather.ask(done)

    def register_script(self, text: str) -> Callable[..., Any]:
        script = self._server.scripts.get(text)
        if script is None:  # of a step that is replaced as a whole
            return _unknown

        async def call(keys: Sequence[str] = (), args: Sequence[Any] = ()) -> Any:
            return await self._ask(lambda: script(keys, list(map(str, args))))

        return call

    async def do(self, step: str, *args: Any, **options: Any) -> Any:
        """One of the steps of `Server`."""
        return await self._ask(lambda: getattr(self._server, step)(*args, **options))

    async def get(self, key: str) -> Any:
        return await self._ask(lambda: self._server.get(key))

    async def mget(self, keys: Sequence[str]) -> Any:
        return await self._ask(lambda: [self._server.get(key) for key in keys])

    async def set(self, key: str, value: str, px: Any = None) -> None:
        await self._ask(lambda: self._server.set(key, value, px.total_seconds() if px else None))

    async def exists(self, key: str) -> Any:
        return await self._ask(lambda: int(self._server.get(key) is not None))

    async def publish(self, channel: str, text: str) -> Any:
        return await self._ask(lambda: self._server.publish(channel, text))

    async def sismember(self, key: str, member: str) -> Any:
        return await self._ask(lambda: member in (self._server.data.configs or ()))

    async def scard(self, key: str) -> Any:
        return await self._ask(lambda: len(self._server.data.configs or ()))

    async def smembers(self, key: str) -> Any:
        return await self._ask(lambda: sorted(self._server.data.configs or ()))

    async def scan_iter(self, match: str, count: int) -> AsyncIterator[str]:
        for id_ in await self._ask(lambda: list(self._server.data.hashes)):
            yield f"schedule:status:{id_}"

    def pipeline(self, transaction: bool) -> Pipeline:
        return Pipeline(self._server, self._ask)

    def pubsub(self) -> Listener:
        return Listener(self._server, self._ask)


class Pipeline:
    """HGETALL and ZSCORE, several at once."""

    def __init__(self, server: Server, ask: Callable[[Callable[[], Any]], Any]) -> None:
        self._server, self._ask = server, ask
        self._commands: list[tuple[Any, ...]] = []

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Nothing is left open."""

    def execute_command(self, *command: Any) -> None:
        self._commands.append(command)

    async def execute(self) -> list[Any]:
        return list(await self._ask(lambda: [self._done(*command) for command in self._commands]))

    def _done(self, name: str, key: str, *rest: Any) -> Any:
        last = key.rpartition(":")[2]
        if name == "HGETALL":
            return dict(self._server.data.hashes.get(last, {}))
        score = self._server.data.due.get(last, {}).get(str(rest[0]))
        return None if score is None else str(score)


class Listener:
    """A connection that has subscribed to one channel."""

    def __init__(self, server: Server, ask: Callable[[Callable[[], Any]], Any]) -> None:
        self.channel = ""
        self._server, self._ask = server, ask
        self._messages: list[dict[str, str] | None] = []
        self._heard = asyncio.Event()

    def hear(self, message: dict[str, str] | None) -> None:
        self._messages.append(message)
        self._heard.set()

    def break_off(self) -> None:
        self.hear(None)

    async def subscribe(self, channel: str) -> None:
        await self._ask_or_break(lambda: self._server.listeners.append(self))
        self.channel = channel
        self.hear({"type": "subscribe", "data": ""})

    async def get_message(self, timeout: float) -> dict[str, str] | None:
        if not self._messages:
            self._heard.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._heard.wait()
            except TimeoutError:
                return None
        message = self._messages.pop(0)
        if message is None:
            raise ConnectionError("the server closed the connection")
        return message

    async def ping(self) -> None:
        await self._ask_or_break(lambda: self.hear({"type": "pong", "data": ""}))

    async def aclose(self) -> None:
        if self in self._server.listeners:
            self._server.listeners.remove(self)

    async def _ask_or_break(self, work: Callable[[], Any]) -> None:
        try:
            await self._ask(work)
        except Exception as error:
            raise ConnectionError(str(error)) from error
