"""How a runner and its children talk: JSON values over a socket, each after its length in four bytes."""

from __future__ import annotations

import json
import socket
import struct
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from reconciler.execute import Call, Outcome

LENGTH = struct.Struct("!I")
CHUNK = 256 * 1024
LARGEST = 256 * 1024 * 1024
# How a call reads as a row, after its number: what comes beyond `timeout` is sent only where there is some.
PLAIN = Call._fields.index("timeout") + 1
SCHEDULED_FOR = Call._fields.index("scheduled_for") + 1
LAST_SUCCESS = Call._fields.index("last_success") + 1
dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def frame(message: list[Any]) -> bytes:
    content = dumps(message).encode()
    return LENGTH.pack(len(content)) + content


class Frames:
    """Messages out of a stream of bytes; ValueError for bytes that are none."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[list[Any]]:
        rest = self._rest
        rest += data
        start = 0
        while len(rest) - start >= LENGTH.size:
            length = LENGTH.unpack_from(rest, start)[0]
            end = start + LENGTH.size + length
            if length > LARGEST:
                raise ValueError("not a message")
            if end > len(rest):
                break
            message = bytes(rest[start + LENGTH.size : end])
            start = end
            yield json.loads(message)
        del rest[:start]


class Channel:
    """One end of a socket in an event loop. Sending never waits: what does not fit is sent when it does."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        sock: socket.socket,
        on_message: Callable[[list[Any]], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        sock.setblocking(False)
        self.loop, self.sock = loop, sock
        self._on_message, self._on_end = on_message, on_end
        self._frames = Frames()
        self._unsent = bytearray()
        self.is_open = True
        loop.add_reader(sock.fileno(), self._readable)

    def send(self, message: list[Any]) -> None:
        if not self.is_open:
            return
        data = frame(message)
        if not self._unsent:
            sent = self._write(data)
            if sent == len(data):
                return
            data = data[sent:]
            self.loop.add_writer(self.sock.fileno(), self._writable)
        self._unsent += data

    def drain(self) -> None:
        """Take in all that has arrived."""
        while self.is_open and self._readable():
            pass

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.loop.remove_reader(self.sock.fileno())
            self.loop.remove_writer(self.sock.fileno())
            self.sock.close()

    @property
    def is_flushed(self) -> bool:
        return not self._unsent

    def _readable(self) -> bool:
        try:
            data = self.sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if data and self._is_understood(data):
            return True
        self.close()
        self._on_end()
        return False

    def _is_understood(self, data: bytes) -> bool:
        """A task that writes to our socket has broken it for good: the same as its end."""
        messages = self._frames.feed(data)
        while True:
            try:
                message = next(messages, None)
            except ValueError:
                return False
            if message is None:
                return True
            self._on_message(message)

    def _writable(self) -> None:
        del self._unsent[: self._write(self._unsent)]
        if not self._unsent:
            self.loop.remove_writer(self.sock.fileno())

    def _write(self, data: bytes | bytearray) -> int:
        with suppress(BlockingIOError, InterruptedError):
            try:
                return self.sock.send(data)
            except (BrokenPipeError, ConnectionResetError):
                return len(data)  # the reader is gone; its end is noticed where we read
        return 0


def call_row(number: int, call: Call) -> list[Any]:
    row = [number, *call[:PLAIN]]
    row[SCHEDULED_FOR] = call.scheduled_for.isoformat()
    # Few have these, and a no-op costs no more than its row.
    if call.memory_limit is not None or call.last_success is not None or call.last_result is not None or call.follow:
        last = call.last_success and call.last_success.isoformat()
        row += [call.memory_limit, last, call.last_result, call.follow]
    return row


def call_from(row: list[Any]) -> Call:
    row[SCHEDULED_FOR] = datetime.fromisoformat(row[SCHEDULED_FOR])
    if len(row) > LAST_SUCCESS and row[LAST_SUCCESS] is not None:
        row[LAST_SUCCESS] = datetime.fromisoformat(row[LAST_SUCCESS])
    return Call(*row[1:])


def outcome_row(number: int, outcome: Outcome) -> list[Any]:
    """A success that leaves nothing behind is only its times."""
    row: list[Any] = [number, outcome.started_at, outcome.finished_at]
    if not outcome.is_success or outcome.result is not None or outcome.log:
        row += [outcome.is_success, outcome.error, outcome.traceback, outcome.result, outcome.log]
        if outcome.kinds:
            row += [outcome.is_started, outcome.kinds, outcome.retry_after]
    return row


def outcome_from(row: list[Any]) -> Outcome:
    if len(row) == 3:
        return Outcome(True, row[1], row[2])
    _, started_at, finished_at, is_success, *rest = row
    if len(rest) > 5:
        rest[5] = tuple(rest[5])
    return Outcome(is_success, started_at, finished_at, *rest)
