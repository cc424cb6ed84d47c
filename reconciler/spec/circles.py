"""Who waits for whom, round in a circle? Names in, circles out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

# Whoever has more circles than this mends these first.
MOST = 20
# A circle is shown with so many names at most.
SHOWN = 12


def circles(waits: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """Circles among those who wait, each from its first name by the alphabet on: up to `MOST`, none if there are none.

    Walks each arrow once, so the cost grows with their number; names that wait for nobody need not be in `waits`.
    """
    done: set[str] = set()
    found: set[tuple[str, ...]] = set()
    for start in sorted(waits):
        for circle in _from(start, waits, done):
            if circle not in found:
                found.add(circle)
                yield circle
            if len(found) >= MOST:
                return


def _from(start: str, waits: Mapping[str, Sequence[str]], done: set[str]) -> Iterator[tuple[str, ...]]:
    """The circles that a walk from `start` closes; without recursion, since a chain may be long."""
    if start in done:
        return
    path, place = [start], {start: 0}
    ahead = [iter(waits.get(start, ()))]
    while ahead:
        following = next(ahead[-1], None)
        if following is None:
            ahead.pop()
            done.add(path[-1])
            del place[path.pop()]
        elif following in place:
            yield _turned(path[place[following] :])
        elif following not in done and following in waits:
            place[following] = len(path)
            path.append(following)
            ahead.append(iter(waits[following]))


def _turned(circle: Sequence[str]) -> tuple[str, ...]:
    first = circle.index(min(circle))
    return (*circle[first:], *circle[:first])


def words(circle: Sequence[str]) -> str:
    """`a -> b -> a goes round in a circle; remove one of these`, each waiting for the next."""
    around = [*circle, circle[0]]
    if len(around) > SHOWN:
        around = [*around[: SHOWN - 2], f"… {len(around) - SHOWN + 1} more …", around[-1]]
    return f"{' -> '.join(around)} goes round in a circle; remove one of these"
