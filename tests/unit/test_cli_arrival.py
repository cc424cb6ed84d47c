"""When is a commit in force? A table of what its source says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.cli.arrival import judged, state
from reconciler.db.sources import Source
from reconciler.db.syncs import Sync

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OLD, NEW = "9f8e7d6c" * 5, "a1b2c3d4" * 5
AT_OLD, AT_NEW = ({"revision": commit, "tried_revision": commit, "tried_at": NOW} for commit in (OLD, NEW))
FAILED = AT_OLD | {"tried_revision": NEW, "error": "a.yaml:1:1: task: is missing\nand more"}
PINNED = AT_NEW | {"pinned_at": NOW, "pinned_by": "ada", "pinned_revision": OLD}
REFUSED = {"refusals": [{"what": "prune"}]}


def sync(revision: str, plan: dict[str, Any] | None) -> Sync:
    return Sync(
        source="default", revision=revision, plan=plan, is_success=False, actor="ci", started_at=NOW, finished_at=NOW
    )


@pytest.mark.parametrize(
    ("row", "last", "is_behind", "found"),
    [
        (None, None, False, None),
        ({}, None, False, None),
        (AT_OLD, None, False, None),
        (AT_NEW, None, False, (0, "✓ a1b2c3d is applied")),
        (AT_NEW | {"revision": NEW + "-dirty"}, None, False, (0, "✓ a1b2c3d is applied")),
        # a later commit has it in it
        (AT_OLD, None, True, (0, "✓ a1b2c3d is applied, with 9f8e7d6")),
        # this very commit failed, or was refused, in whole or in part
        (FAILED, None, False, (1, "reconciler: wait: a1b2c3d failed: a.yaml:1:1: task: is missing")),
        (FAILED, sync(NEW, REFUSED), False, (3, "reconciler: wait: a1b2c3d refused: a.yaml:1:1: task: is missing")),
        (FAILED | {"revision": NEW}, sync(NEW, REFUSED), False, (3, "reconciler: wait: a1b2c3d refused: a.yaml")),
        # it came late, and what is in force has it in it
        (FAILED, sync(NEW, REFUSED), True, (0, "✓ a1b2c3d is applied, with 9f8e7d6")),
        # what was refused was another one
        (FAILED, sync(OLD, REFUSED), False, (1, "reconciler: wait: a1b2c3d failed: a.yaml")),
        (AT_OLD | {"error": "x"}, None, False, None),
        # it is in force no longer
        (PINNED, None, False, (1, "reconciler: wait: a1b2c3d: the source is pinned at 9f8e7d6 by ada")),
    ],
)
def test_a_commit_is_applied_failed_refused_or_still_awaited(
    row: dict[str, Any] | None, last: Sync | None, is_behind: bool, found: tuple[int, str] | None
) -> None:
    source = None if row is None else Source(name="default", **row)
    for commit in (NEW, NEW[:7]):
        given = judged(source, last, commit, is_behind=is_behind)
        assert (given and given[0]) == (found and found[0])
        assert found is None or (given is not None and given[1].startswith(found[1]))


def test_who_waits_is_told_where_the_source_is() -> None:
    assert state(None, "default") == "nothing of source 'default' was applied yet"
    assert state(Source(name="default", **AT_OLD), "default") == "source 'default' is at 9f8e7d6"
    failed = Source(name="default", **FAILED | {"tried_revision": "b" * 40})
    assert state(failed, "default").endswith("; the last attempt at bbbbbbb failed: a.yaml:1:1: task: is missing")
