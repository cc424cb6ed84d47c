"""Several sources on one database, and one that goes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from gitsource import GitSource

from reconciler.db import sources, syncs
from reconciler.db.link import Link
from reconciler.errors import ReconcilerError
from reconciler.scheduler import SchedulerService
from reconciler.sync.reconcile import record_failure
from reconciler.sync.removal import remove_source

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git command here")


@pytest.fixture
def source(tmp_path: Path, link: Link, scheduler: SchedulerService) -> GitSource:
    return GitSource(tmp_path / "clone", link, scheduler).init()


async def test_a_source_says_where_it_is_and_how_far_it_came(source: GitSource) -> None:
    source.write("a")
    commit = source.commit("one")
    outcome = await source.apply()
    [stood] = await sources.every(source.link)
    assert (stood.name, stood.place, stood.revision, stood.sync_id) == ("default", "specs", commit, outcome.sync_id)
    assert stood.applied_at == stood.tried_at


async def test_a_failed_attempt_leaves_the_last_success_to_be_seen(source: GitSource) -> None:
    source.write("a")
    good = source.commit("one")
    await source.apply()
    source.write("b")
    bad = source.commit("two")
    await record_failure(source.link, source.request(), "specs: cannot be read")
    [stood] = await sources.every(source.link)
    assert (stood.revision, stood.tried_revision, stood.error) == (good, bad, "specs: cannot be read")
    assert stood.applied_at and stood.tried_at and stood.applied_at < stood.tried_at


async def test_a_source_whose_first_attempt_failed_is_known_too(source: GitSource) -> None:
    source.commit("nothing")
    await record_failure(source.link, source.request(), "specs: cannot be read")
    [stood] = await sources.every(source.link)
    assert (stood.applied_at, stood.revision, stood.error) == (None, None, "specs: cannot be read")


async def test_an_adopted_name_is_a_revision_of_its_new_source(source: GitSource, tmp_path: Path) -> None:
    source.write("a")
    source.commit("one")
    await source.apply()
    outcome = await source.apply(source="two", adopt=True)
    assert outcome.plan and outcome.plan.counts()["adopt"] == 1
    assert await source.link.run("select source from task_revisions order by id") == [("default",), ("two",)]
    refused = await source.apply()
    assert refused.plan and refused.plan.refusals[0].what == "owner"


async def test_a_removed_source_leaves_its_tasks_to_go_on(source: GitSource) -> None:
    source.write("a", "b")
    source.commit("one")
    await source.apply(source="old")
    removed = await remove_source(source.link, source.scheduler, "old", "ada")
    assert removed.orphans == ("a", "b")
    assert await sources.one(source.link, "old") is None
    assert await source.names() == ["a", "b"]
    last = await syncs.latest(source.link, "old")
    assert last and (last.is_success, last.reason) == (True, "the source was removed")


async def test_a_source_that_is_pruned_takes_its_tasks_along_and_no_others(source: GitSource, tmp_path: Path) -> None:
    source.write("a", "b", "c", "d")
    source.commit("one")
    await source.apply(source="old")
    other = source.elsewhere(tmp_path / "other").init()
    other.write("z")
    other.commit("theirs")
    await other.apply()
    removed = await remove_source(source.link, source.scheduler, "old", "ada", prune=True)
    assert removed.orphans == ()
    assert await source.names() == ["z"]
    assert await sources.one(source.link, "old") is None


async def test_a_protected_task_keeps_its_source(source: GitSource) -> None:
    source.write("a")
    source.write("b", protect=True)
    source.commit("one")
    await source.apply(source="old")
    removed = await remove_source(source.link, source.scheduler, "old", "ada", prune=True)
    assert removed.outcome.plan and removed.outcome.plan.refusals[0].what == "protect"
    assert await source.names() == ["b"]
    assert await sources.one(source.link, "old") is not None


async def test_an_unknown_source_is_one_line(source: GitSource) -> None:
    source.write("a")
    source.commit("one")
    await source.apply(source="team-one")
    with pytest.raises(ReconcilerError, match="no source named 'team-ones'; did you mean 'team-one'"):
        await remove_source(source.link, source.scheduler, "team-ones", "ada")
