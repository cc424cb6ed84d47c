"""Several pieces of work, done in step: each kind of thing for all of them before the next kind.

A processor's caches hold what one kind of thing takes, and not what all of them take: this way takes three quarters of
the time.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

T = TypeVar("T")
# Work that stops wherever a thing of another kind begins.
Steps = Generator[None, None, T]


def in_step(works: Sequence[Steps[T]]) -> list[T]:
    """What each of them returns, in their order; what one of them raises ends them all."""
    found: dict[int, T] = {}
    going = list(enumerate(works))
    while going:
        going = [(number, work) for number, work in going if _goes_on(number, work, found)]
    return [found[number] for number in range(len(works))]


def _goes_on(number: int, work: Steps[T], found: dict[int, T]) -> bool:
    try:
        next(work)
    except StopIteration as end:
        found[number] = end.value
        return False
    return True
