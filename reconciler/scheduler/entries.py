"""What goes into the clockwork and comes out of it: values, and how they are written in Redis. No connection here.

A row is a list of strings, for JSON; "" stands for nothing, moments are epoch milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

State = Literal["active", "paused", "suspended"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LATEST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND


@dataclass(frozen=True)
class Entry:
    """What Redis should say of one config: `next_run` is the instant that is due, `wake_at` when to look at it
    (None: it is not queued), `reason` and `until` are those of a pause.
    """

    config_id: int
    queue: str
    state: State
    digest: str
    next_run: datetime | None
    wake_at: datetime | None
    reason: str | None = None
    until: datetime | None = None

    @cached_property
    def told(self) -> str:
        """What `ALIKE` reads where Redis says just this: state, digest, next_run, queue, reason and end, score.

        Kept, because each pass asks about every entry, and nearly all of them are those of the pass before.
        """
        row = [self.state, self.digest, milliseconds(self.next_run), self.queue]
        if self.state != "active" or self.reason:
            row += [self.reason or "", milliseconds_after(self.until)]
        return "\x1f".join([*row, milliseconds_after(self.wake_at)])

    def packed(self) -> str:
        """Id, queue, state, digest, next_run, reason, until, wake_at: the inside of a JSON array."""
        row = [
            str(self.config_id),
            self.queue,
            self.state,
            self.digest,
            milliseconds(self.next_run),
            self.reason or "",
            milliseconds_after(self.until),
            milliseconds_after(self.wake_at),
        ]
        return json.dumps(row)[1:-1]


class Due(NamedTuple):
    """A config whose `next_run` has come; `score` is where it stood in the queue before it was taken."""

    config_id: int
    queue: str
    next_run: datetime
    digest: str
    score: datetime

    def row(self, score: datetime) -> list[str]:
        """[id, queue, digest, next_run, score]"""
        return [
            str(self.config_id),
            self.queue,
            self.digest,
            milliseconds(self.next_run),
            milliseconds_after(score),
        ]


@dataclass(frozen=True, slots=True)
class Taken:
    """What is due, earliest first, and the earliest moment of all that is left (None: nothing is queued)."""

    due: list[Due]
    next_at: datetime | None


class Advance(NamedTuple):
    """Config and instant (`was`) as the runner saw them, and the instant that comes next."""

    config_id: int
    queue: str
    digest: str
    was: datetime
    next_run: datetime | None
    wake_at: datetime | None

    def row(self) -> tuple[str, ...]:
        """Id, queue, digest, was, next_run, wake_at."""
        return (
            str(self.config_id),
            self.queue,
            self.digest,
            milliseconds(self.was),
            milliseconds(self.next_run),
            milliseconds_after(self.wake_at),
        )


def taken(answer: str, queues: Sequence[str]) -> Taken:
    """What the script `TAKE` answered."""
    earliest, *found = json.loads(answer)
    due = [
        Due(int(config_id), queues[number - 1], moment(next_run), digest, moment(score))
        for config_id, number, next_run, digest, score in zip(*(found[n::5] for n in range(5)), strict=True)
    ]
    return Taken(due, moment(earliest) if earliest else None)


def status(fields: dict[str, str], score: str | None) -> dict[str, Any]:
    """A config's hash, and its score in the queue, with moments as moments; what is not there is None."""
    moments = {"next_run": fields.get("next_run"), "until": fields.get("until"), "wake_at": score}
    return {
        **{field: fields.get(field) for field in ("state", "digest", "queue", "reason")},
        **{field: _moment_or_none(text) for field, text in moments.items()},
    }


def milliseconds(at: datetime | None) -> str:
    return "" if at is None else str((at - EPOCH) // MILLISECOND)


def milliseconds_after(at: datetime | None) -> str:
    """Rounded up: what must not happen before `at` must not happen in the millisecond that it begins in either."""
    return "" if at is None else str(-((EPOCH - at) // MILLISECOND))


# Many are due at one moment.
@lru_cache(4096)
def moment(text: str) -> datetime:
    """What is beyond the calendar (a score may be infinite) is its nearest end."""
    return EPOCH + timedelta(milliseconds=min(max(float(text), 0), LATEST))


def _moment_or_none(text: str | None) -> datetime | None:
    try:
        return moment(text) if text else None
    except ValueError:  # written by another hand; the next pass puts it right
        return None
