"""Back to an earlier state, from what PostgreSQL keeps, and forward again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from gitsource import GitSource, git

from reconciler.db import configs, sources, syncs
from reconciler.db.link import Link
from reconciler.errors import ReconcilerError
from reconciler.plan.guards import Options
from reconciler.scheduler import SchedulerService
from reconciler.sync.reconcile import Pass
from reconciler.sync.rollback import Rollback, release, rollback, rollback_preview

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git command here")


@pytest.fixture
def source(tmp_path: Path, link: Link, scheduler: SchedulerService) -> GitSource:
    return GitSource(tmp_path / "clone", link, scheduler).init()


def wish(to: str, **options: object) -> Rollback:
    return Rollback(to, Options(**options), "ada", "the report was wrong")  # type: ignore[arg-type]


async def back(source: GitSource, to: str, **options: object) -> Pass:
    return await rollback(source.link, source.scheduler, wish(to, **options))


async def state(link: Link) -> dict[str, object]:
    return {config.name: (config.spec["timeout"], config.path) for config in await configs.load(link)}


async def two_states(source: GitSource) -> tuple[str, str, dict[str, object]]:
    """The commits, and what was in force after the first: an edit, a new one, one gone and a moved file followed."""
    source.write("a", "b", "moves")
    first = source.commit("one")
    await source.apply()
    before = await state(source.link)
    source.write("a", timeout="5m")
    source.write("c")
    source.delete("b", "moves")
    source.write("team/moves")
    second = source.commit("two")
    await source.apply()
    assert await state(source.link) != before
    return first, second, before


@pytest.mark.parametrize("named", ["commit", "prefix", "sync", "previous"])
async def test_what_was_in_force_then_is_in_force_again(source: GitSource, named: str) -> None:
    first, _, before = await two_states(source)
    [_, sync] = await syncs.listing(source.link)
    to = {"commit": first, "prefix": first[:8], "sync": str(sync.id), "previous": "previous"}[named]
    outcome = await back(source, to)
    assert await state(source.link) == before
    assert outcome.plan and {(change.verb, change.name): change.reason for change in outcome.plan.changes} == {
        ("create", "b"): f"was there at {first[:7]}",
        ("update", "a"): "edited, its instants stay as they are",
        ("update", "moves"): "moved, the spec is the same",
        ("delete", "c"): f"was not there at {first[:7]}",
    }
    last = await syncs.latest(source.link, "default")
    assert last and (last.revision, last.actor, last.reason) == (
        first,
        "ada",
        f"rollback to {first[:7]}: the report was wrong",
    )


async def test_a_dry_run_says_it_and_writes_nothing(source: GitSource) -> None:
    first, _, _ = await two_states(source)
    before = await state(source.link)
    target, plan = await rollback_preview(source.link, wish("previous"))
    assert (target.revision, len(plan.changes)) == (first, 4)
    assert await state(source.link) == before
    assert len(await syncs.listing(source.link)) == 2


async def test_while_pinned_the_same_head_applies_nothing_and_says_so(source: GitSource) -> None:
    first, second, before = await two_states(source)
    await back(source, "previous")
    rows = len(await syncs.listing(source.link))
    for _ in range(2):
        outcome = await source.apply()
        assert outcome.pin and outcome.pin.text.startswith(f"pinned at {first[:7]} by ada since ")
        assert outcome.pin.text.endswith(": the report was wrong")
        assert outcome.plan and outcome.plan.changes == ()
        assert outcome.plan.pin == outcome.pin.text
        assert len(outcome.plan.withheld) == 4
    assert await state(source.link) == before
    assert len(await syncs.listing(source.link)) == rows
    stood = await sources.one(source.link, "default")
    assert stood and (stood.revision, stood.pinned_while, stood.error) == (second, second, None)
    source.checkout(first)
    assert (await source.apply()).pin


async def test_a_newer_commit_ends_the_pin_by_itself(source: GitSource) -> None:
    await two_states(source)
    await back(source, "previous")
    source.write("a", timeout="9m")
    third = source.commit("three: mended")
    outcome = await source.apply()
    assert outcome.pin is None
    assert outcome.plan and outcome.plan.has_changes
    assert await source.names() == ["a", "c", "moves"]
    stood = await sources.one(source.link, "default")
    assert stood and (stood.revision, stood.pin) == (third, None)


async def test_a_commit_that_says_what_is_pinned_ends_the_pin_too(source: GitSource) -> None:
    source.write("a")
    source.commit("one")
    await source.apply()
    source.write("a", timeout="5m")
    source.commit("two")
    await source.apply()
    await back(source, "previous")
    git(source.root, "revert", "--no-edit", "HEAD")
    outcome = await source.apply()
    assert (outcome.pin, outcome.plan and outcome.plan.has_changes) == (None, False)
    stood = await sources.one(source.link, "default")
    assert stood and (stood.revision, stood.pin) == (git(source.root, "rev-parse", "HEAD"), None)


async def test_a_newer_commit_that_is_refused_leaves_the_pin(source: GitSource) -> None:
    source.write("a", "b", "c", "d")
    source.commit("one")
    await source.apply()
    source.write("a", timeout="5m")
    source.commit("two")
    await source.apply()
    await back(source, "previous")
    source.delete("b", "c", "d")
    source.write("a")
    source.commit("three")
    outcome = await source.apply()
    assert outcome.plan and [refusal.what for refusal in outcome.plan.refusals] == ["prune"]
    stood = await sources.one(source.link, "default")
    assert stood and stood.pin
    assert (await source.apply(max_prune="3")).plan and await source.names() == ["a"]
    stood = await sources.one(source.link, "default")
    assert stood and stood.pin is None


async def test_a_head_that_another_history_leads_to_does_not_end_the_pin(source: GitSource) -> None:
    first, _, before = await two_states(source)
    await back(source, "previous")
    git(source.root, "reset", "-q", "--hard", first)
    source.write("a", timeout="7m")
    source.commit("another two")
    outcome = await source.apply()
    assert outcome.pin
    assert await state(source.link) == before


async def test_a_release_lets_the_next_pass_apply_the_head(source: GitSource) -> None:
    _, second, _ = await two_states(source)
    after = await state(source.link)
    await back(source, "previous")
    pin = await release(source.link, "default", "ada", "it was not that")
    assert pin and pin.by == "ada"
    assert await release(source.link, "default", "ada") is None
    outcome = await source.apply()
    assert outcome.pin is None
    assert await state(source.link) == after
    last = await syncs.latest(source.link, "default")
    assert last and (last.revision, last.is_success) == (second, True)
    assert [sync.reason for sync in await syncs.listing(source.link)][1] == "released: it was not that"


async def test_git_is_not_needed_and_without_it_the_pin_holds_until_it_is_released(source: GitSource) -> None:
    shutil.rmtree(source.root / ".git")
    source.write("a")
    await source.apply()
    source.write("a", timeout="5m")
    await source.apply()
    outcome = await back(source, "previous")
    assert outcome.pin and outcome.pin.text.startswith("pinned at sync ")
    source.write("a", timeout="6m")
    assert (await source.apply()).pin
    [(timeout,)] = await source.link.run("select spec ->> 'timeout' from task_configs")
    assert timeout is None
    await release(source.link, "default", "ada")
    await source.apply()
    [(timeout,)] = await source.link.run("select spec ->> 'timeout' from task_configs")
    assert timeout == "6m"


async def test_previous_twice_goes_back_twice(source: GitSource) -> None:
    for minutes in (1, 2, 3):
        source.write("a", timeout=f"{minutes}m")
        source.commit(f"{minutes}")
        await source.apply()
    for expected in ("2m", "1m"):
        await back(source, "previous")
        [(timeout,)] = await source.link.run("select spec ->> 'timeout' from task_configs")
        assert timeout == expected
    with pytest.raises(ReconcilerError, match="there is no state before this one"):
        await back(source, "previous")


async def test_what_was_only_put_right_is_no_state_to_go_back_from(source: GitSource) -> None:
    _, _, before = await two_states(source)
    await source.link.run("update task_configs set spec = jsonb_set(spec, '{timeout}', '\"9m\"') where name = 'a'")
    assert (await source.apply()).plan
    await back(source, "previous")
    assert await state(source.link) == before


async def test_the_guards_of_apply_hold(source: GitSource) -> None:
    source.write("a")
    source.commit("one")
    await source.apply()
    source.write("b", "c", "d")
    source.write("e", protect=True)
    source.commit("two")
    await source.apply()
    refused = await back(source, "previous")
    assert refused.plan
    assert [refusal.what for refusal in refused.plan.refusals] == ["protect", "prune"]
    assert refused.plan.refusals[1].text.endswith("if that is meant: reconciler rollback previous --max-prune 3")
    assert refused.sync_id is None
    stood = await sources.one(source.link, "default")
    assert stood and stood.pin is None
    partial = await back(source, "previous", max_prune="3")
    assert partial.plan and len(partial.plan.changes) == 3
    assert await source.names() == ["a", "e"]


async def test_an_instant_that_passed_meanwhile_does_not_fire(source: GitSource) -> None:
    source.write("a", schedule="0 3 * * *")
    source.commit("one")
    await source.apply()
    source.write("a", schedule="0 4 * * *")
    source.commit("two")
    await source.apply()
    await source.link.run("update task_cursors set through = '2026-01-01Z'")
    [(now,)] = await source.link.run("select clock_timestamp()")
    await back(source, "previous")
    [(through,)] = await source.link.run("select through from task_cursors")
    assert through >= now


@pytest.mark.parametrize(
    ("to", "what"),
    [
        ("zzzz", "no applied revision 'zzzz': reconciler syncs lists them"),
        ("999999", "no applied revision '999999'"),
        ("ab", "no applied revision 'ab'"),
    ],
)
async def test_a_state_that_is_not_known_is_one_line(source: GitSource, to: str, what: str) -> None:
    await two_states(source)
    with pytest.raises(ReconcilerError) as raised:
        await back(source, to)
    assert what in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_what_was_never_applied_has_nothing_to_go_back_to(source: GitSource) -> None:
    with pytest.raises(ReconcilerError, match="nothing of it was ever applied"):
        await back(source, "previous")
