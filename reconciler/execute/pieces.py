"""What a call prints, handed on piece by piece while it runs to whoever reads along: masked, and never too much."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from reconciler.execute.output import clean
from reconciler.registry.references import Mask

# For each `take`, of which there are four or five a second.
LIMIT = 64 * 1024
LONGEST_HELD = 4096
# What is left out is more than the line that says so: an offset never goes back.
LINE = 200
Piece = tuple[int, str]


class Pieces:
    """Filled by `feed`, from any thread, and emptied by `take`; holds a bounded part of what lies between the two.

    `start` counts the characters printed before what it is given first.
    """

    def __init__(self, start: int = 0, text: str = "") -> None:
        self._lock = threading.Lock()
        self._texts = [text] if text else []
        self._size = len(text)
        self._offset = start
        self._left_out = 0
        self._is_torn = start > 0  # a secret may have been cut in two where the text begins

    def feed(self, text: str) -> None:
        with self._lock:
            self._texts.append(text)
            self._size += len(text)
            if self._size > 4 * LIMIT:
                self._trim()

    def take(self, mask: Mask, *, is_last: bool = False) -> list[Piece]:
        """What came since, each piece with the number of characters before it; a line stands for what was left out.

        The beginning of what may become a secret waits for its rest.
        """
        with self._lock:
            if not self._size:
                return []
            raw, left_out = "".join(self._texts), self._left_out
            kept = len(raw) if is_last else safe_length(raw, mask.needles)
            self._texts, self._size, self._left_out = [raw[kept:]], len(raw) - kept, 0
            text = raw[:kept]
            if self._is_torn and text:
                torn, self._is_torn = max(map(len, mask.needles), default=0), False
                text, self._offset = text[torn:], self._offset + len(text[:torn])
            return self._numbered(mask(clean(text)), left_out)

    def _numbered(self, text: str, left_out: int) -> list[Piece]:
        if len(text) > LIMIT:
            left_out += len(text) - LIMIT + LINE
            text = text[LINE - LIMIT :]
        pieces = []
        if left_out:
            pieces.append((self._offset, f"[{left_out} characters left out: more than can be followed]\n"))
            self._offset += left_out
        if text:
            pieces.append((self._offset, text))
            self._offset += len(text)
        return pieces

    def _trim(self) -> None:
        whole = "".join(self._texts)
        kept = whole[-2 * LIMIT :]
        self._texts, self._size = [kept], len(kept)
        self._left_out += len(whole) - len(kept)
        self._is_torn = True


def safe_length(text: str, needles: Sequence[str]) -> int:
    """How much of a text can be masked now, whatever follows: up to where one of `needles` may have begun."""
    cut = min((len(text) - _begun(text, needle) for needle in needles), default=len(text))
    is_settled = False
    while not is_settled:  # nor may the cut go through a whole one
        is_settled = True
        for needle in needles:
            at = text.find(needle, max(0, cut - len(needle) + 1), cut + len(needle) - 1)
            if 0 <= at < cut:
                cut, is_settled = at, False
    return cut


def _begun(text: str, needle: str) -> int:
    """The length of the longest end of a text with which a needle begins, short of the whole needle."""
    last = text[-1:]
    for length in range(min(len(needle) - 1, len(text), LONGEST_HELD), 0, -1):
        if needle[length - 1] == last and text.endswith(needle[:length]):
            return length
    return 0
