"""What a revision may do, with real repositories: only forward, unless somebody means it and says why."""

from __future__ import annotations

import asyncio
import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from gitsource import GitSource, git

from reconciler.db import sources, syncs
from reconciler.db.link import Link
from reconciler.scheduler import SchedulerService

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git command here")


@pytest.fixture
def source(tmp_path: Path, link: Link, scheduler: SchedulerService) -> GitSource:
    return GitSource(tmp_path / "clone", link, scheduler).init()


async def test_an_older_commit_that_comes_late_is_refused_and_nothing_of_it_applied(source: GitSource) -> None:
    source.write("a", "b")
    old = source.commit("one")
    source.write("a", timeout="5m")
    source.write("c")
    new = source.commit("two")
    await source.apply()
    source.checkout(old)
    outcome = await source.apply(max_prune="100%")
    assert outcome.plan is not None
    [refusal] = outcome.plan.refusals
    assert refusal.what == "rewind"
    assert f"{old[:7]} does not descend from {new[:7]}, applied " in refusal.text
    assert " UTC by ci: if that is meant: reconciler apply --allow-rewind --reason '…'" in refusal.text
    assert outcome.plan.changes == ()
    assert [(change.verb, change.name) for change in outcome.plan.withheld] == [("update", "a"), ("delete", "c")]
    assert await source.names() == ["a", "b", "c"]
    stood = await sources.one(source.link, "default")
    assert stood and (stood.revision, stood.tried_revision, stood.error) == (new, old, refusal.text)


async def test_what_is_refused_again_and_again_is_one_row_though_the_good_one_passes_in_between(
    source: GitSource, tmp_path: Path
) -> None:
    source.write("a")
    old = source.commit("one")
    git(tmp_path, "clone", "-q", str(source.root), "late")
    late = source.elsewhere(tmp_path / "late")
    source.write("a", timeout="5m")
    source.commit("two")
    await source.apply()
    git(late.root, "checkout", "-q", old)
    for _ in range(3):
        await late.apply()
        await source.apply()
    assert [(sync.is_success, (sync.revision or "")[:7]) for sync in await syncs.listing(source.link)] == [
        (False, old[:7]),
        (True, git(source.root, "rev-parse", "--short=7", "HEAD")),
    ]


async def test_a_force_push_is_refused_until_somebody_says_why(source: GitSource) -> None:
    source.write("a", "b")
    first = source.commit("one")
    source.write("a", timeout="5m")
    source.commit("two")
    await source.apply()
    git(source.root, "reset", "-q", "--hard", first)
    source.write("a", timeout="9m")
    amended = source.commit("two, amended")
    refused = await source.apply()
    assert refused.plan and refused.plan.refusals[0].what == "rewind"
    outcome = await source.apply(allow_rewind=True, reason="the commit was amended")
    assert outcome.plan and [change.name for change in outcome.plan.changes] == ["a"]
    last = await syncs.latest(source.link, "default")
    assert last and (last.revision, last.is_success, last.reason) == (amended, True, "the commit was amended")
    again = await source.apply(allow_rewind=True, reason="the commit was amended")
    assert again.sync_id is None


async def test_each_new_revision_has_a_row_also_where_no_spec_changes(source: GitSource) -> None:
    source.write("a")
    first = source.commit("one")
    await source.apply()
    (source.root / "README").write_text("hello\n")
    second = source.commit("words only")
    outcome = await source.apply()
    assert outcome.plan and not outcome.plan.has_changes
    assert (await source.apply()).sync_id is None
    assert [sync.revision for sync in await syncs.listing(source.link)] == [second, first]
    stood = await sources.one(source.link, "default")
    assert stood and (stood.revision, stood.sync_id) == (second, outcome.sync_id)


async def test_a_second_pass_writes_nothing_until_a_minute_has_passed(source: GitSource) -> None:
    source.write("a")
    source.commit("one")
    await source.apply()
    before = await source.link.run("select xmin::text, s::text from sources s")
    await source.apply()
    assert await source.link.run("select xmin::text, s::text from sources s") == before
    await source.link.run("update sources set tried_at = tried_at - %(ago)s", {"ago": timedelta(minutes=2)})
    await source.apply()
    stood = await sources.one(source.link, "default")
    assert stood and stood.tried_at and stood.applied_at and stood.tried_at > stood.applied_at


async def test_without_git_after_git_nothing_is_applied(source: GitSource) -> None:
    source.write("a")
    commit = source.commit("one")
    await source.apply()
    shutil.rmtree(source.root / ".git")
    source.write("b")
    outcome = await source.apply()
    assert outcome.plan and outcome.plan.refusals[0].text.startswith("rewind refused: no revision is known here (")
    assert commit[:7] in outcome.plan.refusals[0].text
    assert await source.names() == ["a"]
    allowed = await source.apply(allow_rewind=True, reason="git is gone")
    assert allowed.plan and allowed.plan.has_changes
    assert (await source.apply()).plan is not None
    source.write("c")
    assert (await source.apply()).plan and await source.names() == ["a", "b", "c"]


async def test_a_dirty_tree_is_judged_by_its_commit(source: GitSource) -> None:
    source.write("a")
    old = source.commit("one")
    source.write("b")
    new = source.commit("two")
    source.write("c")
    await source.apply()
    stood = await sources.one(source.link, "default")
    assert stood and (stood.revision, stood.tried_revision) == (new, f"{new}-dirty")
    source.delete("c")
    assert (await source.apply()).plan and await source.names() == ["a", "b"]
    rows = len(await syncs.listing(source.link))
    for text in ("# words\n", ""):
        (source.root / "specs" / "note.txt").write_text(text) if text else (source.root / "specs" / "note.txt").unlink()
        assert (await source.apply()).sync_id is None
    assert len(await syncs.listing(source.link)) == rows
    source.checkout(old)
    source.write("d")
    outcome = await source.apply()
    assert outcome.plan and outcome.plan.refusals[0].what == "rewind"
    assert await source.names() == ["a", "b"]


async def test_a_shallow_clone_that_cannot_tell_is_not_said_to_be_older(source: GitSource, tmp_path: Path) -> None:
    source.write("a")
    source.commit("one")
    await source.apply()
    source.write("b")
    source.commit("two")
    source.write("c")
    source.commit("three")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{source.root}", "shallow")
    git(tmp_path / "shallow", "remote", "remove", "origin")
    shallow = source.elsewhere(tmp_path / "shallow")
    outcome = await shallow.apply()
    assert outcome.plan
    [refusal] = outcome.plan.refusals
    assert "cannot tell whether" in refusal.text
    assert "fetch-depth: 0" in refusal.text
    assert "does not descend" not in refusal.text
    assert await source.names() == ["a"]


async def test_of_two_appliers_at_once_the_older_revision_loses(
    source: GitSource, tmp_path: Path, database_url: str
) -> None:
    source.write("a")
    source.commit("zero")
    await source.apply()
    source.write("a", timeout="1m")
    old = source.commit("one")
    git(tmp_path, "clone", "-q", str(source.root), "old")
    source.write("a", timeout="2m")
    new = source.commit("two")
    assert git(tmp_path / "old", "rev-parse", "HEAD") == old
    late, other = source.elsewhere(tmp_path / "old"), Link(database_url)
    await asyncio.gather(source.apply(), late.apply(other))
    await other.close()
    [(timeout, revision)] = await source.link.run("select spec ->> 'timeout', revision from task_configs")
    assert (timeout, revision) == ("2m", new)
    stood = await sources.one(source.link, "default")
    assert stood and stood.revision == new


async def test_what_git_said_before_the_lock_counts_only_for_what_stands_under_it(
    source: GitSource, tmp_path: Path, database_url: str
) -> None:
    """The other one applies its newer commit between the look ahead and the lock."""
    from reconciler.sync import reconcile as module

    source.write("a")
    source.commit("zero")
    await source.apply()
    source.write("a", timeout="1m")
    source.commit("one")
    git(tmp_path, "clone", "-q", str(source.root), "old")
    source.write("a", timeout="2m")
    new = source.commit("two")
    late, other = source.elsewhere(tmp_path / "old"), Link(database_url)
    asked = module.foreseen

    async def slow(*arguments: object) -> object:
        answer = await asked(*arguments)  # type: ignore[arg-type]
        await source_applies()
        return answer

    async def source_applies() -> None:
        module.foreseen = asked
        await source.apply()

    module.foreseen = slow  # type: ignore[assignment]
    try:
        outcome = await late.apply(other)
    finally:
        module.foreseen = asked
    await other.close()
    assert outcome.plan and outcome.plan.refusals[0].what == "rewind"
    stood = await sources.one(source.link, "default")
    assert stood and stood.revision == new


async def test_a_deletion_names_the_commit_that_removed_the_file(source: GitSource) -> None:
    source.write("a", "b", "c")
    source.commit("one")
    await source.apply()
    source.delete("b")
    gone = source.commit("drop old reports")
    plan = await source.plan()
    [change] = plan.changes
    assert change.reason == f"removed by {gone[:7]} (Ada: drop old reports)"
    assert change.removal and change.removal.commit == gone
    source.delete("c")
    plan = await source.plan()
    assert [change.reason for change in plan.changes][1] == "deleted here, not committed"


async def test_without_git_a_deletion_says_where_the_name_is_no_longer(source: GitSource) -> None:
    shutil.rmtree(source.root / ".git")
    source.write("a", "b")
    await source.apply()
    source.delete("b")
    [change] = (await source.plan()).changes
    assert (change.reason, change.removal) == ("no longer in source 'default'", None)


async def test_git_is_asked_for_evidence_only_where_something_is_deleted(
    source: GitSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.write("a", "b")
    source.commit("one")
    await source.apply()
    asked: list[object] = []
    kind = type(source.origin)
    monkeypatch.setattr(kind, "removals", lambda *arguments: asked.append(arguments) or {})
    source.write("a", timeout="1m")
    source.commit("two")
    await source.apply()
    assert asked == []
    source.delete("b")
    source.commit("three")
    await source.apply()
    assert len(asked) == 1


async def test_a_protected_task_stays_when_its_file_goes_and_goes_when_it_is_no_longer_protected(
    source: GitSource,
) -> None:
    source.write("a", "b")
    source.write("c", protect=True)
    source.commit("one")
    await source.apply()
    source.delete("b", "c")
    source.commit("two")
    outcome = await source.apply()
    assert outcome.plan and [change.name for change in outcome.plan.changes] == ["b"]
    [refusal] = outcome.plan.refusals
    assert (refusal.what, refusal.names) == ("protect", ("c",))
    assert await source.names() == ["a", "c"]
    source.write("c", protect=False)
    source.commit("three")
    await source.apply()
    source.delete("c")
    source.commit("four")
    await source.apply()
    assert await source.names() == ["a"]


async def test_a_faulty_file_holds_only_its_own_tasks_where_that_is_wanted(source: GitSource) -> None:
    source.write("a", "b")
    source.commit("one")
    await source.apply()
    (source.root / "specs" / "a.yaml").write_text("name: a\ntask: reports.build\nschedule: '99 * * * *'\n")
    source.write("c")
    bad = source.commit("two")
    refused = await source.apply()
    assert refused.plan is None
    assert refused.faults
    outcome = await source.apply(on_fault="hold_file")
    assert outcome.plan
    assert [change.name for change in outcome.plan.changes] == ["c"]
    assert (outcome.plan.held, outcome.held) == (("a",), ("a.yaml",))
    assert (outcome.plan.unchanged, len(outcome.faults)) == (2, 1)
    last = await syncs.latest(source.link, "default")
    assert last and (last.is_success, last.revision) == (False, bad)
    assert "a.yaml" in (last.error or "")
    assert (await source.apply(on_fault="hold_file")).sync_id is None
    source.write("a", timeout="1m")
    source.commit("three")
    assert (await source.apply(on_fault="hold_file")).faults == ()
    last = await syncs.latest(source.link, "default")
    assert last and (last.is_success, last.updated) == (True, 1)


async def test_a_task_that_moved_into_a_faulty_file_is_not_deleted(source: GitSource) -> None:
    source.write("a", "b")
    source.commit("one")
    await source.apply()
    source.delete("a")
    (source.root / "specs" / "new.yaml").write_text("name: a\ntask: reports.build\nschedule: '99 * * * *'\n")
    source.commit("two")
    outcome = await source.apply(on_fault="hold_file")
    assert outcome.plan and outcome.plan.held == ("a",)
    assert await source.names() == ["a", "b"]


async def test_a_new_name_that_is_an_old_task_is_called_a_likely_rename(source: GitSource) -> None:
    source.write("a", "nightly", timeout="1m")
    source.write("b")
    source.commit("one")
    await source.apply()
    source.delete("nightly")
    source.write("sales/nightly-sales", timeout="1m")
    source.commit("tidy up")
    plan = await source.plan()
    assert [(change.verb, change.name, change.looks_like) for change in plan.changes] == [
        ("create", "nightly-sales", "nightly"),
        ("delete", "nightly", "nightly-sales"),
    ]


async def test_a_deleted_name_comes_back_with_its_history_when_the_commit_is_reverted(source: GitSource) -> None:
    source.write("a", "b")
    source.commit("one")
    await source.apply()
    await source.link.run("update task_cursors set through = through - interval '3 days' where name = 'b'")
    [(left,)] = await source.link.run("select through from task_cursors where name = 'b'")
    source.delete("b")
    source.commit("two")
    await source.apply()
    git(source.root, "revert", "--no-edit", "HEAD")
    outcome = await source.apply()
    assert outcome.plan and [(change.verb, change.name) for change in outcome.plan.changes] == [("create", "b")]
    [(through,)] = await source.link.run("select through from task_cursors where name = 'b'")
    assert through > left
    kept = await source.link.run("select removed_at is null from task_revisions where name = 'b' order by id")
    assert kept == [(False,), (True,)]
