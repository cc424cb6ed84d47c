"""Work on many files, shared out among processes: each is forked with all that is loaded, and sends its part back.

What a process does not bring, for whatever reason, is done here. A process with threads is never forked: a lock that
one of them holds would stay held in the child for good.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, TypeVar

# So many files are worth a process of their own.
WORTH = 500
MOST = 4
# What a child brings is packed there and unpacked here: in that time so much of a share is done here too.
MORE_HERE = 0.15
# Given to `work` at once.
TOGETHER = 20
# Sent as one, so that neither side holds more than these twice.
BATCH = 500

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Work = Callable[[Sequence[Item]], Sequence[Answer]]


def shared_out(work: Work[Item, Answer], items: Sequence[Item], progress: Callable[[int], None]) -> list[Answer]:
    """What `work`, given some at a time, makes of each item, in their order.

    It may run in a child: what it returns has to be picklable. `progress` hears now and then how many are done, about.
    """
    count = max(1, min(_processors(), MOST, len(items) // WORTH))
    part = len(items) / (count + MORE_HERE)
    edges = [len(items) - round(part * number) for number in range(count - 1, -1, -1)]
    own, *others = (items[start:end] for start, end in pairwise([0, *edges]))
    children = [_started(work, share) for share in others]
    answers: list[Answer] = []
    for some in _by(TOGETHER, own):
        answers += work(some)
        progress(min(len(answers) * count, len(items)))
    for child, share in zip(children, others, strict=True):
        found: list[Answer] = _received(child) if child else []
        # A child that died brings less than it should, and then nothing of it is believed.
        answers += found if len(found) == len(share) else _all(work, share)
    return answers


def _by(size: int, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _all(work: Work[Item, Answer], items: Sequence[Item]) -> list[Answer]:
    return [answer for some in _by(TOGETHER, items) for answer in work(some)]


def _processors() -> int:
    """How many processes may be at work; 1 where this one cannot be forked safely."""
    with suppress(OSError):
        if sys.platform == "linux" and len(list(Path("/proc/self/task").iterdir())) == 1:
            return len(os.sched_getaffinity(0))
    return 1


def _started(work: Work[Item, Answer], share: Sequence[Item]) -> tuple[int, BinaryIO] | None:
    """The id of a child that is at it, and where its answers come from; None where there cannot be another process."""
    try:
        answers, sending = os.pipe()
        pid = os.fork()
    except OSError:
        return None
    if pid == 0:
        _answer(work, share, sending)
    os.close(sending)
    return pid, os.fdopen(answers, "rb")


def _answer(work: Work[Item, Answer], share: Sequence[Item], sending: int) -> None:
    """All that a child does. It never returns: what stands above it on the stack belongs to the parent."""
    code = 1
    try:
        # Kept until all is done: whoever reads is busy with its own share until then, and a pipe holds little.
        batches = [pickle.dumps(_all(work, some), 5) for some in _by(BATCH, share)]
        with os.fdopen(sending, "wb") as file:
            file.writelines(batches)
        code = 0
    finally:
        os._exit(code)


def _received(child: tuple[int, BinaryIO]) -> list[Answer]:
    pid, answers = child
    found: list[Answer] = []
    try:
        with answers, suppress(Exception):  # cut off where it died, or whatever
            while True:
                found += pickle.load(answers)
    finally:
        os.waitpid(pid, 0)
    return found
