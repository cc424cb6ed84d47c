"""How PostgreSQL's protocol tells which statements a transaction ran, and that it was committed.

Only as much of it as a proxy needs that loses the answer of a COMMIT. Knows no socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

STARTUP_LIMIT = 10_000
SSL, GSS = 80877103, 80877104
SYNC = None


class Conversation:
    """One connection: what the program sends and the server answers, taken in chunks as they come."""

    def __init__(self) -> None:
        self.ran: list[str] = []  # the statements of the transaction that is open
        self._sent, self._answered = bytearray(), bytearray()
        self._is_started = False
        self._single_bytes = 0  # answers to a request for encryption
        self._prepared: dict[bytes, str] = {}
        self._bound: dict[bytes, str] = {}
        self._asked: deque[str | None] = deque()

    def take_sent(self, chunk: bytes) -> None:
        """What goes to the server."""
        self._sent += chunk
        while True:
            head = 5 if self._is_started else 4
            if len(self._sent) < head:
                return
            length = int.from_bytes(self._sent[head - 4 : head], "big") + head - 4
            if len(self._sent) < length:
                return
            message = bytes(self._sent[:length])
            del self._sent[:length]
            if self._is_started:
                self._heed(message[:1], message[5:])
            elif int.from_bytes(message[4:8], "big") in (SSL, GSS):
                self._single_bytes += 1
            else:
                self._is_started = True

    def take_answer(self, chunk: bytes) -> Iterator[tuple[bytes, bool]]:
        """What comes back, message by message; True: it tells that the transaction in which `ran` ran is committed."""
        self._answered += chunk
        while self._single_bytes and self._answered:
            self._single_bytes -= 1
            yield bytes(self._answered[:1]), False
            del self._answered[:1]
        while len(self._answered) >= 5:
            length = int.from_bytes(self._answered[1:5], "big") + 1
            if len(self._answered) < length:
                break
            message = bytes(self._answered[:length])
            del self._answered[:length]
            yield message, self._hear(message[:1], message[5:])

    def forget(self) -> None:
        """The transaction is over."""
        self.ran = []

    def _heed(self, kind: bytes, body: bytes) -> None:
        if kind == b"P":
            name, text = body.split(b"\0", 2)[:2]
            self._prepared[name] = text.decode(errors="replace")
        elif kind == b"B":
            portal, name = body.split(b"\0", 2)[:2]
            self._bound[portal] = self._prepared.get(name, "")
        elif kind == b"E":
            self._asked.append(self._bound.get(body.split(b"\0", 1)[0], ""))
        elif kind == b"Q":
            self._asked += [body.rstrip(b"\0").decode(errors="replace"), SYNC]
        elif kind == b"S":
            self._asked.append(SYNC)

    def _hear(self, kind: bytes, body: bytes) -> bool:
        if kind in (b"C", b"I", b"s") and self._asked and self._asked[0] is not SYNC:
            text, tag = self._asked.popleft() or "", body.rstrip(b"\0")
            if tag == b"COMMIT":
                return True
            if tag in (b"BEGIN", b"ROLLBACK"):
                self.forget()
            else:
                self.ran.append(text)
        elif kind == b"E":
            while self._asked and self._asked[0] is not SYNC:
                self._asked.popleft()
        elif kind == b"Z":
            if self._asked and self._asked[0] is SYNC:
                self._asked.popleft()
            if body == b"I":
                self.forget()
        return False
