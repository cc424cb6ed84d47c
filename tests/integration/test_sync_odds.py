"""Odd things on the way of a pass: histories that were pruned, rows that came back, texts that no store can hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from gitsource import IDENTITY, GitSource, git

from reconciler import align as aligning
from reconciler.align import align
from reconciler.db import configs, retention, syncs
from reconciler.db.link import Link
from reconciler.db.tampered import tampered
from reconciler.errors import ReconcilerError
from reconciler.plan.guards import Options
from reconciler.runner.picking import load_specs
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.spec import by_digest
from reconciler.sync.rollback import Rollback, rollback

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git command here")


@pytest.fixture
def source(tmp_path: Path, link: Link, scheduler: SchedulerService) -> GitSource:
    return GitSource(tmp_path / "clone", link, scheduler).init()


async def test_a_pruned_deletion_does_not_change_what_was_in_force_before_it(source: GitSource, link: Link) -> None:
    source.write("a", "b")
    first = source.commit("one")
    await source.apply()
    source.delete("b")
    source.commit("two")
    await source.apply()
    source.write("a", timeout="5m")
    source.commit("three")
    await source.apply()
    await retention.prune(link, datetime.now(UTC) + timedelta(days=400), keep=timedelta(days=30), rest=0)
    await rollback(link, source.scheduler, Rollback(first, Options(), "ada"))
    assert await source.names() == ["a", "b"]


async def test_a_row_put_back_by_hand_was_not_in_force_before(source: GitSource, link: Link) -> None:
    source.write("a", "b")
    source.commit("one")
    await source.apply()
    source.delete("b")
    source.commit("two")
    await source.apply()
    source.write("a", timeout="5m")
    source.commit("three")
    third = await source.apply()
    await link.run(
        "insert into task_configs (name, source, spec, digest, path)"
        " select name, source, spec, digest, path from task_revisions where name = 'b'"
    )
    outcome = await source.apply()
    assert outcome.plan and [(c.verb, c.name, c.is_drift) for c in outcome.plan.changes] == [("delete", "b", True)]
    source.write("a", timeout="6m")
    source.commit("four")
    await source.apply()
    await rollback(link, source.scheduler, Rollback(str(third.sync_id), Options(), "ada"))
    assert await source.names() == ["a"]


@pytest.mark.parametrize("encoding", ["latin-1", "esc"])
async def test_a_deletion_by_an_author_of_any_bytes_is_applied(source: GitSource, link: Link, encoding: str) -> None:
    source.write("a", "b")
    source.commit("one")
    await source.apply()
    source.delete("b")
    name = "Andr\xe9 Müller".encode("latin-1") if encoding == "latin-1" else b"A\x1b[31mda"
    git(source.root, "add", "-A")
    tree = git(source.root, "write-tree")
    parent = git(source.root, "rev-parse", "HEAD")
    text = b"tree %s\nparent %s\nauthor %s <a@b> 1 +0000\ncommitter x <a@b> 1 +0000\n\ndrop %s\n" % (
        tree.encode(),
        parent.encode(),
        name,
        name,
    )
    commit = (
        subprocess.run(
            ["git", "hash-object", "-t", "commit", "-w", "--stdin"],
            cwd=source.root,
            input=text,
            capture_output=True,
            check=True,
            env=os.environ | IDENTITY,
        )
        .stdout.decode()
        .strip()
    )
    git(source.root, "reset", "-q", "--hard", commit)
    outcome = await source.apply()
    assert await source.names() == ["a"]
    print(repr(outcome.plan.changes[0].reason), (await syncs.listing(link))[0])


KEYS = [
    "schedule:status:{id}",
    "schedule:due:default",
    "schedule:configs",
    "schedule:epoch",
    "schedule:seen",
    "schedule:aligned",
]


@pytest.mark.parametrize("kind", ["string", "list", "bytes", "hash"])
@pytest.mark.parametrize("key", KEYS)
async def test_a_key_of_another_kind_is_put_right(
    source: GitSource, link: Link, redis: RedisServiceManager, key: str, kind: str
) -> None:
    source.write("a", "b")
    source.commit("one")
    await source.apply()
    await source.apply()
    [a, b] = await configs.load(link)
    full = redis.prefix + key.format(id=a.id)
    if kind == "bytes":
        t = await redis.client.type(full)
        if t == "hash":
            await redis.client.hset(full, "state", b"\xff\xfe")
        elif t == "set":
            await redis.client.sadd(full, b"\xff\xfe")
        elif t == "zset":
            await redis.client.zadd(full, {b"\xff\xfe": 1})
        else:
            await redis.client.set(full, b"\xff\xfe")
    else:
        await redis.client.delete(full)
        if kind == "string":
            await redis.client.set(full, "x")
        elif kind == "hash":
            await redis.client.hset(full, "x", "y")
        else:
            await redis.client.rpush(full, "x")
    outcome = await source.apply()
    assert outcome.trouble is None
    status = await source.scheduler.status([a.id, b.id])
    assert status[a.id]["state"] == status[b.id]["state"] == "active", status
    assert status[a.id]["wake_at"]
    again = await source.apply()
    assert again.aligned == 0
    await source.scheduler.take(
        ["default"], datetime.now(UTC), 10, timedelta(seconds=1), await source.scheduler.epoch() or ""
    )


async def test_an_edit_inside_a_savepoint_is_found_though_a_pass_came_before_its_end(
    source: GitSource, link: Link, database_url: str
) -> None:
    source.write("a", "b")
    source.commit("one")
    await source.apply()
    hand = Link(database_url)
    try:
        async with hand.transaction() as tx:
            await tx.run("select pg_current_xact_id()")
            await tx.run("savepoint psql_has_on_error_rollback")
            await tx.run("update task_configs set spec = jsonb_set(spec, '{timeout}', '\"7s\"') where name = 'a'")
            await tx.run("release savepoint psql_has_on_error_rollback")
            await link.run("select pg_current_xact_id()")  # somebody else's, begun later and over before
            async with link.transaction() as other:
                await tampered(other)
    finally:
        await hand.close()
    async with link.transaction() as other:
        assert [one.name for one in await tampered(other)] == ["a"]


async def test_what_somebody_wrote_beside_a_digest_is_not_remembered_as_its_spec(source: GitSource, link: Link) -> None:
    source.write("a")
    source.commit("one")
    await source.apply()
    [config] = await configs.load(link)
    await link.run("update task_configs set spec = jsonb_set(spec, '{timeout}', '\"7s\"')")
    by_digest._young.clear()
    by_digest._old.clear()
    aligning._seen.clear()
    await align(link, source.scheduler, now=datetime.now(UTC))
    found = await load_specs(link, [("a", config.digest)])
    assert found["a", config.digest].timeout is None


async def test_a_rollback_says_nothing_of_adoption_which_it_does_not_have(
    source: GitSource, link: Link, tmp_path: Path
) -> None:
    source.write("a", "b")
    first = source.commit("one")
    await source.apply()
    source.delete("b")
    source.write("a", timeout="5m")
    source.commit("two")
    await source.apply()
    other = source.elsewhere(tmp_path / "other").init()
    other.write("b")
    other.commit("ours now")
    await other.apply(source="other")
    outcome = await rollback(link, source.scheduler, Rollback(first, Options(), "ada"))
    assert outcome.plan and [one.text for one in outcome.plan.refusals] == [
        "owner refused: b belongs to source 'other', and stays there"
    ]
    assert {one.name: (one.source, one.spec["timeout"]) for one in await configs.load(link)} == {
        "a": ("default", None),
        "b": ("other", None),
    }


async def test_a_rollback_to_a_spec_that_is_none_any_more_changes_nothing(source: GitSource, link: Link) -> None:
    source.write("a")
    first = source.commit("one")
    await source.apply()
    source.write("a", timeout="5m")
    source.commit("two")
    await source.apply()
    await link.run(
        "update task_revisions set spec = spec || '{\"of_tomorrow\": 1}', digest = 'other'"
        " where spec ->> 'timeout' is null"
    )
    with pytest.raises(ReconcilerError, match="of_tomorrow"):
        await rollback(link, source.scheduler, Rollback(first, Options(), "ada"))
    [config] = await configs.load(link)
    assert config.spec["timeout"] == "5m"
