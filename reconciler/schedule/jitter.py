"""How far an occurrence is put off, so that many that are due together do not start together.

The same for the same occurrence in every process and after every restart: nothing is random, nothing is kept.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b

SCALE = 1 << 53
TICK = timedelta(microseconds=1)
MILLISECOND = timedelta(milliseconds=1)
NOTHING = timedelta(0)


def jitter_of(name: str, scheduled_for: datetime, jitter: timedelta, bound: timedelta | None = None) -> timedelta:
    """From nothing to just below `jitter`, in whole milliseconds, evenly spread over names and instants.

    `bound` is the time to the schedule's next instant: the answer stays below that too, so no two instants of a
    name change places.
    """
    span = (jitter if bound is None else min(jitter, bound)) // TICK
    if span <= 0:
        return NOTHING
    put_off = (span * _hash(f"{name}@{scheduled_for.timestamp():.6f}") // SCALE) * TICK
    return put_off - put_off % MILLISECOND


def fraction_of(text: str) -> float:
    """A number from 0 to just below 1 that looks random and is always the same for `text`."""
    return _hash(text) / SCALE


def _hash(text: str) -> int:
    """From 0 to just below SCALE: as many bits as a float keeps."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 11
