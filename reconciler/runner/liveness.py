"""Whether the other runners are alive, judged by what this process itself has seen and on its own monotonic clock.

A runner is dead once its beat has shown the same value for its whole lease without one failed look in between: an
outage of PostgreSQL, or anybody's stepped clock, expires nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID


class Witness:
    """Remembers since when each beat has stood still."""

    def __init__(self) -> None:
        self._since: dict[UUID, tuple[int, float]] = {}

    def see(self, beats: Mapping[UUID, tuple[int, float]], asked: float, answered: float) -> list[UUID]:
        """Take in everybody's (beat, lease in seconds); returns those that have stood still for their lease.

        They were read at some moment between `asked` and `answered`, so a standstill counts from the answer to the
        first look to the question of the last.
        """
        before, self._since = self._since, {}
        for runner_id, (beat, _) in beats.items():
            seen, since = before.get(runner_id, (None, answered))
            self._since[runner_id] = (beat, since if seen == beat else answered)
        return [id_ for id_, (_, lease) in beats.items() if asked - self._since[id_][1] >= lease]

    def look_failed(self) -> None:
        """Nobody could be seen: every standstill counts from the next look on."""
        self._since.clear()
