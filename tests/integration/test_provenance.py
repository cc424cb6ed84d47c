"""Which commit a run belongs to, and what revisions, syncs and executions say about where things came from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from reconciler.db import claims, configs, finishing, provenance, revisions, runners, syncs
from reconciler.db.configs import ConfigRow
from reconciler.db.link import Link
from reconciler.db.syncs import Sync
from reconciler.spec import TaskSpec

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
RUN = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest, revision)
values (%s, %s, 't', %s, %s, %s, 'schedule', %s, %s)
"""


async def applied(
    link: Link, revision: str | None, at: datetime, verb: str = "update", **fields: Any
) -> tuple[int, TaskSpec]:
    """What a sync of that commit writes about the name `a`."""
    spec = TaskSpec.from_document({"name": "a", "task": "t", **fields})
    is_delete = verb == "delete"
    sync = Sync(
        source="default",
        revision=revision,
        author="Ada",
        subject=f"subject of {revision}",
        deleted=int(is_delete),
        plan={"changes": [{"verb": verb, "name": "a"}]},
        is_success=True,
        actor="ci",
        started_at=at,
        finished_at=at,
        reason="because" if is_delete else None,
    )
    sync_id = await syncs.record(link, sync)
    if is_delete:
        await configs.delete(link, ["a"])
        await revisions.mark_removed(link, ["a"])
    else:
        row = ConfigRow("a", "default", spec.document(), spec.digest, "a.yaml")
        await configs.upsert(link, [row], revision)
        await revisions.append(link, [row], sync_id)
    return sync_id, spec


async def waiting(link: Link, scheduled_for: datetime, digest: str) -> None:
    await link.run("insert into task_cursors (name, through) values ('a', %s) on conflict do nothing", [START - HOUR])
    await link.run(
        "insert into task_claims (name, scheduled_for, task, not_before, queue, priority, trigger, digest, exclusive)"
        " values ('a', %s, 't', %s, 'default', 0, 'schedule', %s, true)",
        [scheduled_for, START, digest],
    )


async def test_a_run_belongs_to_the_commit_of_the_spec_it_was_decided_by_not_of_the_one_in_force(link: Link) -> None:
    _, first = await applied(link, "aaa", START)
    await applied(link, "bbb", START + 2 * HOUR, timeout="5m")
    await waiting(link, START + HOUR, first.digest)
    [claim] = await claims.pick_up(link, uuid4(), ["default"], ["t"], 9)
    assert claim.revision == "aaa"
    record = {
        "name": "a", "scheduled_for": claim.scheduled_for, "token": claim.token, "task": "t", "started_at": START,
        "finished_at": START, "is_success": True, "attempts": [], "revision": claim.revision,
    }  # fmt: skip
    await finishing.finish(link, [record])
    assert await link.run("select digest, revision from task_executions") == [(first.digest, "aaa")]


async def test_a_spec_that_came_back_counts_as_of_the_commit_before_the_instant(link: Link) -> None:
    _, spec = await applied(link, "aaa", START)
    await applied(link, "bbb", START + 2 * HOUR, timeout="5m")
    await applied(link, "ccc", START + 4 * HOUR)
    for hours, revision in ((1, "aaa"), (5, "ccc")):
        await waiting(link, START + hours * HOUR, spec.digest)
        [claim] = await claims.pick_up(link, runner := uuid4(), ["default"], ["t"], 9)
        assert (claim.revision, (await finishing.of_runner(link, runner))[0].revision) == (revision, revision)
        await link.run("delete from task_claims")


async def test_a_run_of_a_pruned_task_and_of_a_config_that_no_sync_wrote(link: Link) -> None:
    _, spec = await applied(link, "aaa", START)
    await applied(link, "bbb", START + 2 * HOUR, verb="delete")
    await waiting(link, START + HOUR, spec.digest)
    [claim] = await claims.pick_up(link, uuid4(), ["default"], ["t"], 9)
    assert claim.revision == "aaa"
    await link.run("delete from task_claims")
    await waiting(link, START + HOUR, "by-hand")
    [claim] = await claims.pick_up(link, uuid4(), ["default"], ["t"], 9)
    assert claim.revision is None


async def test_a_revision_keeps_its_commit_when_its_sync_is_forgotten(link: Link) -> None:
    _, spec = await applied(link, "aaa", START)
    await link.run("delete from syncs")
    [origin] = await provenance.revisions(link, "a")
    assert (origin.revision, origin.author, origin.actor, origin.spec) == ("aaa", None, None, spec.document())


async def test_revisions_come_newest_first_with_who_applied_them(link: Link) -> None:
    first, _ = await applied(link, "aaa", START)
    second, _ = await applied(link, "bbb", START + HOUR, timeout="5m")
    found = await provenance.revisions(link, "a")
    assert [(one.revision, one.subject, one.sync_id) for one in found] == [
        ("bbb", "subject of bbb", second),
        ("aaa", "subject of aaa", first),
    ]
    assert [one.revision for one in await provenance.revisions(link, "a", 1)] == ["bbb"]
    assert await provenance.revisions(link, "b") == []


async def test_the_sync_that_removed_a_name_is_the_one_whose_plan_says_so(link: Link) -> None:
    await applied(link, "aaa", START)
    gone, _ = await applied(link, "bbb", START + HOUR, verb="delete")
    other = {"changes": [{"verb": "delete", "name": "b"}, {"verb": "update", "name": "a"}]}
    await link.run(
        "insert into syncs (source, is_success, actor, deleted, plan, started_at, finished_at)"
        " values ('default', true, 'ci', 1, %s, %s, %s)",
        [Jsonb(other), START + 2 * HOUR, START + 2 * HOUR],
    )
    removed = await provenance.removal(link, "a", START)
    assert removed is not None
    assert (removed.sync_id, removed.revision, removed.reason) == (gone, "bbb", "because")
    assert await provenance.removal(link, "a", START + 2 * HOUR) is None


@pytest.mark.parametrize(
    ("before", "is_first"),
    [
        (None, False),  # nothing ran before it
        ((True, "d1", "aaa"), True),  # it worked, with another spec
        ((True, "d2", "aaa"), True),  # or with the same one of another commit
        ((True, "d2", "bbb"), False),  # the spec is not what changed
        ((False, "d1", "aaa"), False),  # it was broken already
    ],
)
async def test_the_first_failure_after_a_commit_is_the_one_whose_forerunner_succeeded_with_another(
    before: tuple[bool, str, str] | None, is_first: bool, link: Link
) -> None:
    if before:
        is_success, digest, revision = before
        await link.run(RUN, ["a", START, START, START, is_success, digest, revision])
    at = START + HOUR
    await link.run(RUN, ["a", at, at, at, False, "d2", "bbb"])
    await link.run(RUN, ["a", at + HOUR, at, at, False, "d2", "bbb"])  # it goes on failing
    await link.run(RUN, ["b", START, at, at, True, "d1", "aaa"])  # that of another name says nothing
    found = await provenance.first_failures(link, [("a", START), ("a", at), ("a", at + HOUR)])
    assert found == ({("a", at): provenance.Culprit("bbb", None, None)} if is_first else {})


async def test_the_first_failure_names_the_commit_that_brought_its_spec(link: Link) -> None:
    _, old = await applied(link, "aaa", START)
    _, new = await applied(link, "bbb", START + 2 * HOUR, timeout="5m")
    for hours, spec, is_success in ((1, old, True), (3, new, False)):
        at = START + hours * HOUR
        await link.run(RUN, ["a", at, at, at, is_success, spec.digest, None])
    found = await provenance.first_failures(link, [("a", START + 3 * HOUR)])
    assert list(found.values()) == [provenance.Culprit("bbb", "Ada", "subject of bbb")]
    assert await provenance.first_failures(link, []) == {}


async def test_the_catalogue_is_of_the_runners_that_live_and_of_the_newest_where_they_differ(link: Link) -> None:
    assert await runners.catalogue(link) == {}
    for number, tasks in enumerate(({"a": {"n": 1}, "b": {}}, {"a": {"n": 2}, "c": {}}, {"gone": {}})):
        await runners.register(link, uuid4(), host="h", pid=number, queues=["default"], tasks=tasks, lease=2)
    await link.run("update runners set ended_at = clock_timestamp() where pid = 2")
    await link.run("update runners set started_at = started_at - interval '1 hour' where pid = 0")
    assert await runners.catalogue(link) == {"a": {"n": 2}, "b": {}, "c": {}}
