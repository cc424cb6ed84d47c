"""Configs, their revisions and the syncs that made them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.db import configs, revisions, syncs
from reconciler.db.configs import ConfigRow
from reconciler.db.link import Link
from reconciler.db.syncs import Sync

THEN = datetime(2026, 1, 1, tzinfo=UTC)
SYNC = Sync(source="default", is_success=True, actor="ada", started_at=THEN, finished_at=THEN)


def row(name: str, **spec: object) -> ConfigRow:
    return ConfigRow(name, "default", {"name": name, **spec}, f"digest of {spec}", f"{name}.yaml")


async def test_what_is_written_is_read_back_by_name(link: Link) -> None:
    rows = [row("b", labels={"ü": ["\n"]}), row("a", suspend=True, schedule=["@hourly"])]
    await configs.upsert(link, rows, "abc123")
    first, second = await configs.load(link)
    assert (first.name, second.name) == ("a", "b")
    assert second.spec == {"name": "b", "labels": {"ü": ["\n"]}}
    assert (second.source, second.path, second.revision) == ("default", "b.yaml", "abc123")
    assert second.digest == rows[0].digest
    assert [key.name for key in await configs.keys(link)] == ["a", "b"]
    assert [config.name for config in await configs.load(link, ["b", "nobody"])] == ["b"]
    assert await configs.load(link, []) == []


@pytest.mark.parametrize(
    ("spec", "is_scheduled"),
    [
        ({"schedule": ["@hourly"], "suspend": None}, True),
        ({"schedule": ["@hourly"], "suspend": False}, True),
        ({"schedule": ["@hourly"], "suspend": True}, False),
        ({"schedule": [], "suspend": None}, False),
    ],
)
async def test_is_scheduled(link: Link, spec: dict[str, object], is_scheduled: bool) -> None:
    await configs.upsert(link, [row("a", **spec)], None)
    [config] = await configs.load(link)
    assert config.is_scheduled is is_scheduled


async def test_a_row_that_exists_keeps_its_id_and_its_creation(link: Link) -> None:
    await configs.upsert(link, [row("a"), row("b")], "one")
    before = await configs.load(link)
    await configs.upsert(link, [row("b", timeout="1m")], "two")
    after = await configs.load(link)
    assert after[0] == before[0]
    assert (after[1].id, after[1].created_at) == (before[1].id, before[1].created_at)
    assert (after[1].revision, after[1].spec["timeout"]) == ("two", "1m")
    assert after[1].updated_at > before[1].updated_at


async def test_a_deleted_name_that_comes_back_has_a_new_id(link: Link) -> None:
    await configs.upsert(link, [row("a"), row("b")], None)
    [before, _] = await configs.keys(link)
    await configs.delete(link, ["a", "nobody"])
    assert [key.name for key in await configs.keys(link)] == ["b"]
    await configs.upsert(link, [row("a")], None)
    assert (await configs.keys(link))[0].id > before.id


async def test_nothing_to_write_sends_nothing() -> None:
    unreachable = Link("postgresql://nowhere.invalid/name")
    await configs.upsert(unreachable, [], None)
    await configs.delete(unreachable, [])
    await revisions.append(unreachable, [], 1)
    await revisions.mark_removed(unreachable, [])
    assert await revisions.specs(unreachable, []) == {}


async def test_more_rows_than_a_statement_takes_are_all_written(link: Link) -> None:
    rows = [row(f"{n:05}") for n in range(25, 0, -1)]
    chunks = list(configs.in_chunks(rows, size=10))
    assert [[len(column) for column in chunk.values()] for chunk in chunks] == [[10] * 5, [10] * 5, [5] * 5]
    assert [name for chunk in chunks for name in chunk["names"]] == sorted(row.name for row in rows)


async def test_every_spec_that_was_in_force_can_be_read(link: Link) -> None:
    old, new = row("a", timeout="1m"), row("a", timeout="2m")
    await revisions.append(link, [old, row("b")], await syncs.record(link, SYNC))
    await revisions.append(link, [new], await syncs.record(link, SYNC))
    wanted = [("a", old.digest), ("a", new.digest), ("a", "never"), ("nobody", old.digest)]
    assert await revisions.specs(link, wanted) == {("a", old.digest): old.spec, ("a", new.digest): new.spec}


async def test_a_pruned_name_keeps_its_history_and_only_its_last_revision_ends(link: Link) -> None:
    for rows in ([row("a", timeout="1m"), row("b")], [row("a", timeout="2m")]):
        await revisions.append(link, rows, 1)
    await revisions.mark_removed(link, ["a", "nobody"])
    ends = "select name, spec ->> 'timeout', removed_at is not null from task_revisions order by id"
    assert await link.run(ends) == [("a", "1m", False), ("b", None, False), ("a", "2m", True)]


async def test_syncs_are_listed_newest_first_and_the_last_of_a_source_is_found(link: Link) -> None:
    made = [
        replace(SYNC, revision="one", plan={"changes": []}, created=3),
        replace(SYNC, source="other", started_at=THEN + timedelta(minutes=2)),
        replace(SYNC, revision="two", started_at=THEN + timedelta(minutes=1), is_success=False, error="refused"),
    ]
    ids = [await syncs.record(link, sync) for sync in made]
    stored = [replace(sync, id=sync_id) for sync, sync_id in zip(made, ids, strict=True)]
    assert await syncs.listing(link, 2) == [stored[2], stored[1]]
    assert await syncs.latest(link, "default") == stored[2]
    assert await syncs.latest(link, "default", succeeded=True) == stored[0]
    assert await syncs.latest(link, "nobody") is None
