"""The loop over git: repositories elsewhere, and a working tree that somebody works in."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from reconciler.db import sources, syncs
from reconciler.scheduler.syncing import Answer
from reconciler.settings import SourceSettings
from reconciler.sync.stillness import Mark, mark_of

LONG = timedelta(hours=1)
SHORT = timedelta(milliseconds=200)
SPEC = "task: report\nschedule: '0 2 * * *'\n"
LATER = "task: report\nschedule: '0 3 * * *'\n"


def remote(repository: Any, **more: Any) -> SourceSettings:
    return SourceSettings(repo=repository.url, allow_file=True, **{"interval": LONG, **more})


async def at(loop: Any, commit: str, name: str = "default") -> bool:
    row = await sources.one(loop.link, name)
    return row is not None and row.revision == commit


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in line for line in caplog.messages)


async def answers(loop: Any, source: str, token: str) -> Answer:
    """Ask for a pass, and what the service says to it."""
    heard = loop.scheduler.syncing.answers()
    assert await anext(heard) is None
    assert await loop.scheduler.syncing.ask(source, token)
    async with asyncio.timeout(30):
        async for answer in heard:
            if answer and token in answer.tokens:
                return answer
    raise AssertionError


# ── a repository elsewhere ──


async def test_a_push_is_in_force_as_soon_as_somebody_says_so(repository: Any, running: Any) -> None:
    first = repository.commit("first", nightly=SPEC)
    async with running(sources=[remote(repository)]) as loop:
        await loop.until(lambda: at(loop, first))
        assert await loop.has("nightly")
        second = repository.commit("second", hourly=SPEC)
        answer = await answers(loop, "default", "t1")
        assert (answer.code, answer.revision) == (0, second)
        assert answer.said == f"applied {second[:7]}: 1 created (hourly)"
        assert await loop.has("hourly", "nightly")
        again = await answers(loop, "", "t2")
        assert again.said == f"nothing to change at {second[:7]}; 2 unchanged"
        assert [sync.revision for sync in await syncs.listing(loop.link)] == [second, first]


async def test_a_source_that_nobody_has_here_is_nobodys_pass(repository: Any, running: Any) -> None:
    repository.commit("first", nightly=SPEC)
    async with running(sources=[remote(repository)]) as loop:
        await loop.passed()
        before = len(loop.passes)
        await loop.scheduler.syncing.ask("other", "t1")
        await answers(loop, "default", "t2")
        assert len(loop.passes) == before + 1


async def test_while_nothing_changed_the_specs_are_the_same_object(
    repository: Any, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.sync import source as module

    real, read = module.reconcile, []

    async def kept(specs: Any, *args: Any) -> Any:
        read.append(specs)
        return await real(specs, *args)

    monkeypatch.setattr(module, "reconcile", kept)
    repository.commit("first", nightly=SPEC)
    async with running(sources=[remote(repository, interval=SHORT)]) as loop:
        await loop.until(lambda: len(read) >= 3)
        assert all(specs is read[0] for specs in read)
        repository.commit("second", nightly=LATER)
        await loop.until(lambda: read[-1] is not read[0])


async def test_a_force_push_is_refused_once_and_a_descendant_is_welcome(
    repository: Any, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    repository.commit("first", nightly=SPEC)
    second = repository.commit("second", hourly=SPEC)
    async with running(sources=[remote(repository, interval=SHORT)]) as loop:
        await loop.until(lambda: at(loop, second))
        forced = repository.commit("rewritten", amend=True, hourly=LATER)
        await loop.until(lambda: said(caplog, "rewind refused") > 0)
        answer = await answers(loop, "default", "t1")
        assert (answer.code, answer.revision) == (3, forced)
        assert said(caplog, "rewind refused") == 1
        assert await at(loop, second)
        repository.git("reset", "-q", "--hard", second)
        third = repository.commit("third", daily=SPEC)
        await loop.until(lambda: at(loop, third))
        assert await loop.has("daily", "hourly", "nightly")


async def test_a_remote_that_is_away_is_said_once_and_what_runs_goes_on(
    repository: Any, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = repository.commit("first", nightly=SPEC)
    async with running(sources=[remote(repository, interval=SHORT)]) as loop:
        await loop.until(lambda: at(loop, first))
        await loop.passed()
        caplog.clear()
        away = repository.bare.rename(repository.bare.with_name("away.git"))
        await loop.until(lambda: len(caplog.messages) > 0)
        before = len(loop.turns)
        await loop.until(lambda: len(loop.turns) >= before + 3)
        assert len(caplog.messages) == 1
        assert await loop.has("nightly")
        answer = await answers(loop, "default", "t1")
        assert (answer.code, answer.said) == (1, caplog.messages[0])
        assert len([sync for sync in await syncs.listing(loop.link) if not sync.is_success]) == 1
        away.rename(repository.bare)
        second = repository.commit("second", hourly=SPEC)
        await loop.until(lambda: at(loop, second))
        assert said(caplog, "the source can be read again") == 1


async def test_a_broken_commit_holds_everything_until_its_fix(repository: Any, running: Any) -> None:
    first = repository.commit("first", nightly=SPEC)
    async with running(sources=[remote(repository, interval=SHORT)]) as loop:
        await loop.until(lambda: at(loop, first))
        broken = repository.commit("broken", hourly="task: nothing\n", nightly=LATER)
        await loop.until(lambda: bool(loop.passes and loop.passes[-1].faults))
        row = await sources.one(loop.link, "default")
        assert row is not None
        assert (row.revision, row.tried_revision) == (first, broken)
        assert row.error and "hourly.yaml" in row.error
        fixed = repository.commit("fixed", hourly=SPEC)
        await loop.until(lambda: at(loop, fixed))
        assert await loop.has("hourly", "nightly")


async def test_an_emptied_directory_deletes_nothing(repository: Any, running: Any) -> None:
    first = repository.commit("first", nightly=SPEC, hourly=SPEC)
    async with running(sources=[remote(repository, interval=SHORT)]) as loop:
        await loop.until(lambda: at(loop, first))
        repository.commit("emptied", nightly=None, hourly=None)
        answer = await answers(loop, "default", "t1")
        assert answer.code != 0
        assert await loop.has("hourly", "nightly")


async def test_every_service_hears_the_call(repository: Any, running: Any) -> None:
    first = repository.commit("first", nightly=SPEC)
    one_of = {"sources": [remote(repository)]}
    async with running(**one_of) as one, running(**one_of) as two:
        await one.until(lambda: at(one, first))
        await one.until(lambda: bool(one.turns and two.turns))
        before = len(one.turns), len(two.turns)
        assert await one.scheduler.syncing.ask() == 2
        await one.until(lambda: len(one.turns) > before[0] and len(two.turns) > before[1])


async def test_several_sources_of_both_kinds_keep_out_of_each_others_way(
    repository: Any, running: Any, project: Any
) -> None:
    commit = repository.commit("first", nightly=SPEC)
    (project / "specs" / "local.yaml").write_text(SPEC)
    both = [remote(repository, name="far"), SourceSettings(name="near", interval=LONG)]
    async with running(sources=both, watch=True) as loop:
        await loop.until(lambda: loop.has("local", "nightly"))
        assert await at(loop, commit, "far")
        (project / "specs" / "saved.yaml").write_text(SPEC)
        await loop.until(lambda: loop.has("local", "nightly", "saved"))
        assert {row.name for row in await sources.every(loop.link)} == {"far", "near"}


async def test_a_dozen_sources_share_a_few_readers_and_all_arrive(running: Any, project: Any) -> None:
    names = [f"s{number:02}" for number in range(12)]
    for name in names:
        (project / name).mkdir()
        (project / name / f"{name}.yaml").write_text(SPEC)
    async with running(sources=[SourceSettings(name=name, path=name, interval=LONG) for name in names]) as loop:
        await loop.until(lambda: loop.has(*names))
        assert {sync.source for sync in await syncs.listing(loop.link)} == set(names)


# ── a working tree that somebody works in ──


@pytest.fixture
def tree(repository: Any, project: Any, running: Any) -> Any:
    """The project as a working tree, on `main` with one commit, and with the tasks that `running` put there."""
    repository.git("init", "-q", "-b", "main", cwd=project)
    (project / ".gitignore").write_text(".reconciler\nelsewhere\n")
    repository.tree = project
    repository.commit("first", push=False, nightly=SPEC)
    return repository


async def test_a_branch_switch_under_watch_is_refused_and_switching_back_is_good(
    tree: Any, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tree.git("checkout", "-q", "-b", "other")
    tree.commit("on the other branch", push=False, **{f"other-{n}": SPEC for n in range(200)})
    tree.git("checkout", "-q", "main")
    second = tree.commit("on main", push=False, hourly=SPEC)
    async with running(watch=True) as loop:
        await loop.until(lambda: at(loop, second))
        tree.git("checkout", "-q", "other")
        await loop.until(lambda: said(caplog, "rewind refused") > 0)
        assert await loop.has("hourly", "nightly")
        tree.git("checkout", "-q", "main")
        (tree.tree / "specs" / "daily.yaml").write_text(SPEC)
        await loop.until(lambda: loop.has("daily", "hourly", "nightly"))
        assert not [
            sync for sync in await syncs.listing(loop.link) if sync.revision == f"{second}-dirty" and sync.deleted
        ]
    assert said(caplog, "rewind refused") == 1


async def test_whoever_may_rewind_follows_the_branch_and_the_reason_is_kept(tree: Any, running: Any) -> None:
    first = tree.git("rev-parse", "HEAD")
    second = tree.commit("second", push=False, hourly=SPEC)
    async with running(watch=True, allow_rewind=True) as loop:
        await loop.until(lambda: at(loop, second))
        tree.git("checkout", "-q", first)
        await loop.until(lambda: at(loop, first))
        assert await loop.has("nightly")
        [newest, *_] = await syncs.listing(loop.link)
        assert newest.reason == "by --allow-rewind"


async def test_nothing_is_read_while_git_writes(tree: Any, running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.sync import reading

    looks: list[Mark] = []
    monkeypatch.setattr(reading, "mark_of", lambda root: looks.append(mark_of(root)) or looks[-1])
    async with running(watch=True) as loop:
        await loop.passed()
        lock = tree.tree / ".git" / "index.lock"
        lock.touch()
        before = len(loop.passes)
        (tree.tree / "specs" / "half.yaml").write_text(SPEC)
        await loop.until(lambda: sum(bool(look.lock) for look in looks) >= 3)
        assert len(loop.passes) == before
        lock.unlink()
        await loop.until(lambda: loop.has("half", "nightly"))


async def test_a_lock_that_stays_is_said_with_what_to_do(
    tree: Any, running: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.sync import reading

    monkeypatch.setattr(reading, "REST", 0.01)
    lock = tree.tree / ".git" / "index.lock"
    lock.touch()
    async with running(interval=SHORT) as loop:
        await loop.until(lambda: said(caplog, f"if no git runs there, remove {lock}") > 0)
        assert await loop.has()
        lock.unlink()
        await loop.until(lambda: loop.has("nightly"))
