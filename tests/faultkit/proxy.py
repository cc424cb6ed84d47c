"""A TCP proxy between the program and one store, which cuts, stalls, slows, and loses the answer of a COMMIT.

It runs in a thread of its own; every call takes effect before it returns.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from faultkit.wire import Conversation

CHUNK = 1 << 16
Upstream = Path | tuple[str, int]


class Pair:
    """One connection of the program and the one to the store that belongs to it."""

    def __init__(self, program: asyncio.StreamWriter, store: asyncio.StreamWriter) -> None:
        self.program, self.store = program, store
        self.conversation = Conversation()

    def reset(self) -> None:
        """Hang up as a host that vanished and came back does: RST to the program."""
        sock = self.program.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.program.transport.abort()
        self.store.transport.abort()

    def close(self) -> None:
        self.program.close()
        self.store.close()


class Proxy:
    """Listens on 127.0.0.1, on a port that was free; what it does to the traffic holds until `heal`."""

    def __init__(self, upstream: Upstream, kind: str = "postgresql") -> None:
        self.lost = 0
        self._upstream, self._kind = upstream, kind
        self._is_cut, self._delay = False, 0.0
        self._to_lose, self._of = 0, ""
        self._pairs: set[Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._questions_flow, self._answers_flow = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{kind}", daemon=True)
        self._server: asyncio.Server | None = None
        self.port = 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, url: str) -> str:
        """The same address by way of this proxy: user, password, database and options stay."""
        if self._kind == "redis":
            return self._redis_url(url)
        parts = urlsplit(url)
        options = [(key, text) for key, text in parse_qsl(parts.query) if key not in ("host", "port")]
        user = parts.netloc.rpartition("@")[0] if "@" in parts.netloc else ""
        place = f"{user}@127.0.0.1:{self.port}" if user else f"127.0.0.1:{self.port}"
        query = "&".join(f"{key}={quote(text, safe='')}" for key, text in options)
        return urlunsplit(("postgresql", place, parts.path, query, ""))

    @property
    def connections(self) -> int:
        return len(self._pairs)

    def cut(self) -> None:
        """Close what is there, and every new connection at once."""
        self._do(self._cut)

    def reset(self) -> None:
        """Hang up on what is there; new connections work."""
        self._do(lambda: [pair.reset() for pair in list(self._pairs)])

    def stall(self, *, answers_only: bool = False) -> None:
        """Accept, and forward nothing; what is held meanwhile goes on at `heal`."""
        events = (self._answers_flow,) if answers_only else (self._answers_flow, self._questions_flow)
        self._do(lambda: [event.clear() for event in events])

    def slow(self, seconds: float) -> None:
        """Hold each chunk for so long, both ways."""
        self._do(lambda: setattr(self, "_delay", seconds))

    def heal(self) -> None:
        """As if nothing had been; commits still to be lost stay so."""
        self._do(self._heal)

    def lose_commits(self, times: int = 1, of: str = "") -> None:
        """Swallow the answer of so many commits of transactions that ran a statement with this text, and hang up."""

        def arm() -> None:
            self._to_lose, self._of = times, of.lower()

        self._do(arm)

    def _redis_url(self, url: str) -> str:
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0] if "@" in parts.netloc else ""
        place = f"{user}@127.0.0.1:{self.port}" if user else f"127.0.0.1:{self.port}"
        database = (
            dict(parse_qsl(parts.query)).get("db", "0") if parts.scheme == "unix" else parts.path.strip("/") or "0"
        )
        return f"redis://{place}/{database}"

    def _do(self, act: Callable[[], object]) -> None:
        async def acted() -> None:
            act()

        asyncio.run_coroutine_threadsafe(acted(), self._loop).result(10)

    def _cut(self) -> None:
        self._is_cut = True
        for pair in list(self._pairs):
            pair.close()

    def _heal(self) -> None:
        self._is_cut, self._delay = False, 0.0
        self._questions_flow.set()
        self._answers_flow.set()

    async def _listen(self) -> None:
        self._heal()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pair in list(self._pairs):
            pair.reset()

    async def _serve(self, questions: asyncio.StreamReader, program: asyncio.StreamWriter) -> None:
        if self._is_cut:
            program.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            answers, store = await self._connected()
        except OSError:
            program.transport.abort()
            self._tasks.discard(task)
            return
        pair = Pair(program, store)
        self._pairs.add(pair)
        ways = [
            asyncio.ensure_future(self._forward(pair, questions, store, self._questions_flow, self._asked)),
            asyncio.ensure_future(self._forward(pair, answers, program, self._answers_flow, self._answered)),
        ]
        try:
            with suppress(asyncio.CancelledError):  # asyncio would tell of it on stderr
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._pairs.discard(pair)
            self._tasks.discard(task)
            pair.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, Path):
            return await asyncio.open_unix_connection(str(self._upstream))
        return await asyncio.open_connection(*self._upstream)

    async def _forward(
        self,
        pair: Pair,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        flow: asyncio.Event,
        allowed: Callable[[Pair, bytes], bytes | None],
    ) -> None:
        """Until one side hangs up, or `allowed` says that the connection breaks here."""
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await flow.wait()
                passed = allowed(pair, chunk)
                if passed is None:
                    pair.reset()
                    return
                writer.write(passed)
                await writer.drain()

    def _asked(self, pair: Pair, chunk: bytes) -> bytes:
        if self._kind == "postgresql":
            pair.conversation.take_sent(chunk)
        return chunk

    def _answered(self, pair: Pair, chunk: bytes) -> bytes | None:
        if self._kind != "postgresql":
            return chunk
        passed = bytearray()
        for message, is_commit in pair.conversation.take_answer(chunk):
            if is_commit:
                ran = pair.conversation.ran
                if self._to_lose and (not self._of or any(self._of in text.lower() for text in ran)):
                    self._to_lose -= 1
                    self.lost += 1
                    return None
                pair.conversation.forget()
            passed += message
        return bytes(passed)
