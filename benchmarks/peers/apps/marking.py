"""What every task of every peer does: say when it began, and which it is. Imports nothing that a peer lacks.

One line a start, always of LENGTH bytes, appended by one write: lines of several processes do not mix.
"""

from __future__ import annotations

import os
import time

FILE = os.open(os.environ["PEERS_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
LENGTH = 25


def mark(number: int) -> None:
    os.write(FILE, b"%.6f %06d\n" % (time.time(), number))
