"""What a task prints and logs, kept as a tail of at most 64 KiB for the call that it belongs to.

In a process where many calls take turns, the context decides whose output it is. Who has no call is not captured.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

from reconciler.registry.context import Signs
from reconciler.registry.references import Mask

if TYPE_CHECKING:
    from reconciler.execute.pieces import Pieces

LOG_LIMIT = 64 * 1024
PROGRESS_LIMIT = 200
CUT = "[earlier output was dropped]\n"
FORMAT = "%(levelname)s %(name)s: %(message)s"
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
NO_MASK = Mask()
_changing = threading.Lock()


def clean(text: str) -> str:
    """Text that PostgreSQL and JSON take: NUL and lone surrogates become U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return UNSTORABLE.sub("\ufffd", text)


def tail(text: str, limit: int) -> str:
    """The last part of a text, at most `limit` bytes of UTF-8, marked where the beginning is missing."""
    if len(text) * 4 <= limit:
        return text
    content = text.encode()
    if len(content) <= limit:
        return text
    return CUT + content[len(CUT) - limit :].decode(errors="ignore")


def head(text: str, limit: int) -> str:
    """The first part of a text, at most `limit` bytes of UTF-8."""
    if len(text) * 4 <= limit:
        return text
    content = text.encode()
    return text if len(content) <= limit else content[: limit - 3].decode(errors="ignore") + "…"


def progress_text(text: str, mask: Mask) -> str:
    """The text of a progress as it is shown: one line, at most 200 characters."""
    return mask(clean(" ".join(text.split())))[:PROGRESS_LIMIT]


class Recording:
    """The output of one call. `echo` also sees it as it comes. `mask`: what is secret before a parameter is read."""

    __slots__ = ("_chunks", "_size", "echo", "mask", "number", "pieces", "signs", "threads", "written")

    def __init__(self, echo: TextIO | io.TextIOBase | None = None, mask: Mask = NO_MASK) -> None:
        self._chunks: list[str] = []
        self._size = 0
        self.written = 0
        self.number = 0
        self.mask = mask
        self.echo: TextIO | io.TextIOBase | None = echo
        self.signs: Signs | None = None
        self.pieces: Pieces | None = None
        self.threads = 0  # of a pool, at work for this call at this moment

    def write(self, text: str) -> None:
        with _changing:
            self._chunks.append(text)
            self._size += len(text)
            self.written += len(text)
            if self.pieces is not None:
                self.pieces.feed(text)
            if self._size > 4 * LOG_LIMIT:
                self._trim()
        if self.echo is not None:
            self.echo.write(self.mask(text))

    def follow(self, pieces: Callable[[int, str], Pieces]) -> None:
        """From now on also fill pieces, made of the number of characters that are gone and the text that is kept."""
        with _changing:
            if self.pieces is None:
                self.pieces = pieces(self.written - self._size, "".join(self._chunks))

    def counted(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call it in this thread, which is at work for this call as long."""
        with _changing:
            self.threads += 1
        try:
            return function(*args)
        finally:
            with _changing:
                self.threads -= 1

    def _trim(self) -> None:
        # More than is kept in the end: a secret that is cut in two could not be masked any more.
        kept = "".join(self._chunks)[-2 * LOG_LIMIT :]
        self._chunks, self._size = [kept], len(kept)

    def text(self) -> str:
        if not self._chunks:
            return ""
        with _changing:
            whole, is_cut = "".join(self._chunks), self.written > self._size
        return log_text(whole, self.mask, is_cut=is_cut)


def log_text(whole: str, mask: Mask, *, is_cut: bool) -> str:
    """The tail of an output as it is stored. `whole` is longer than the limit where its beginning is missing."""
    text = mask(clean(whole))
    return tail(CUT * is_cut + text, LOG_LIMIT)


recording: ContextVar[Recording | None] = ContextVar("recording", default=None)


class Output(io.TextIOBase):
    """Stands in for `sys.stdout` and `sys.stderr`: a call's output goes to its recording, the rest to `other`."""

    def __init__(self, other: TextIO) -> None:
        self.other = other
        self.buffer = _Bytes(self)

    def write(self, text: str) -> int:
        own = recording.get()
        if own is None:
            return self.other.write(text)
        own.write(str(text))
        return len(text)

    def flush(self) -> None:
        own = recording.get()
        stream = self.other if own is None else own.echo
        if stream is not None:
            stream.flush()

    def fileno(self) -> int:
        return self.other.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"


class _Bytes(io.RawIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def write(self, data: Any) -> int:
        content = bytes(data)
        self.output.write(content.decode("utf-8", "replace"))
        return len(content)

    def writable(self) -> bool:
        return True


class _Handler(logging.Handler):
    """Log records to wherever `sys.stderr` leads at that moment, so to the call's recording."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def log_to_output() -> logging.Handler:
    """Let what is logged from INFO up be output like any other."""
    handler = _Handler()
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.INFO)
    return handler


@contextmanager
def captured() -> Iterator[None]:
    """While inside, what a call prints and logs goes to its recording."""
    streams, level = (sys.stdout, sys.stderr), logging.root.level
    sys.stdout, sys.stderr = Output(streams[0]), Output(streams[1])
    handler = log_to_output()
    try:
        yield
    finally:
        logging.root.removeHandler(handler)
        logging.root.setLevel(level)
        sys.stdout, sys.stderr = streams
