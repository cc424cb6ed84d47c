"""Which cursors a runner need not ask for again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.db.cursors import Sighted
from reconciler.occurrences import Pause
from reconciler.runner.remembering import Remembered
from reconciler.scheduler import Due

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
SEEN = Sighted(7, "a", "d1", "abc", NOON - timedelta(minutes=5), ())


def due(next_run: datetime, digest: str = "d1") -> Due:
    return Due(7, "default", next_run, digest, next_run)


def test_a_cursor_is_remembered_where_it_was_moved_to() -> None:
    remembered = Remembered()
    assert remembered.recall(due(LATER)) is None
    remembered.keep(SEEN, NOON, LATER)
    assert remembered.recall(due(LATER)) == SEEN._replace(through=NOON)


@pytest.mark.parametrize("item", [due(NOON), due(LATER, "d2")], ids=["another instant", "another spec"])
def test_a_cursor_is_asked_for_again_when_redis_says_something_else(item: Due) -> None:
    remembered = Remembered()
    remembered.keep(SEEN, NOON, LATER)
    assert remembered.recall(item) is None


def test_what_was_paused_what_never_comes_again_and_what_was_overtaken_is_not_remembered() -> None:
    remembered = Remembered()
    for row, next_run in ((SEEN._replace(pauses=(Pause(NOON, LATER),)), LATER), (SEEN, None)):
        remembered.keep(SEEN, NOON, LATER)
        remembered.keep(row, NOON, next_run)
        assert remembered.recall(due(LATER)) is None
    remembered.keep(SEEN, NOON, LATER)
    remembered.forget([due(LATER)])
    assert remembered.recall(due(LATER)) is None
