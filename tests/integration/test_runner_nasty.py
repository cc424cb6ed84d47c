"""What a task can do to its process, with a whole runner: one honest failed row, and the others run as they are due."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.db import byhand
from reconciler.scheduler import SchedulerService

House = Any  # of conftest

BESIDE = ("beside.sync", "beside.async")
DIED_OF = {
    "leaves": "its process ended with exit code 3",
    "crashes": "its process was killed by signal 11 (SIGSEGV)",
    "fills": "went beyond memory_limit 256M",
    "floods": "ValueError: that was all",
    "returns_nonsense": "returned object, which is not JSON; a task returns what JSON can hold, or nothing",
    "raises_nonsense": "Unpicklable: <function",
    "exits": "SystemExit: the task called exit(0); a task ends by returning",
    "goes_on_in_a_thread": "ValueError: that was all",
}
STOPPED = "timed out after 1s; it did not stop and its process was killed"
NASTY = [
    *((f"nasty.{kind}.{name}", error) for name, error in DIED_OF.items() for kind in ("sync", "async")),
    ("nasty.sync.stands_still", "timed out after 1s"),
    ("nasty.sync.starts_others", "timed out after 1s"),
    ("nasty.async.stands_still", STOPPED),
    ("nasty.async.swallows", STOPPED),
    ("nasty.async.waits_for_a_thread", "timed out after 1s"),
]


@pytest.fixture
def nasty_house(house: House) -> House:
    (house.directory / "mytasks.py").write_text((Path(__file__).parent / "tasks" / "nasty.py").read_text())
    return house


@pytest.mark.parametrize(("name", "error"), NASTY, ids=[name for name, _ in NASTY])
async def test_each_is_one_failed_row_and_the_others_run_as_they_are_due(
    nasty_house: House, tmp_path: Path, name: str, error: str, living: Callable[[list[int]], list[int]]
) -> None:
    house, task, fields = nasty_house, name.rpartition(".")[2], {}
    if task == "fills":
        fields["memory_limit"] = "256M"
    if error.startswith("timed out"):
        fields["timeout"] = "1s"
    if task == "starts_others":
        fields["params"] = {"path": str(tmp_path / "pids")}
    await house.config("nasty", name, **fields)
    for beside in BESIDE:
        await house.config(beside, beside, schedule=["@every 1s"])
    before = memory()
    async with house.running(cancel_grace="500ms"):
        for beside in BESIDE:
            await house.at_least(beside, 1)
        await byhand.trigger(house.link, "nasty")
        await SchedulerService(house.redis).wake()
        [row] = await house.at_least("nasty", 1)
        seen = {beside: len(await house.rows(beside)) for beside in BESIDE}
        for beside in BESIDE:
            await house.at_least(beside, seen[beside] + 2)
        [row] = await house.rows("nasty")
        assert await house.link.run("select 1 from task_claims where name = 'nasty'") == []
    assert (row[1], row[6]) == (False, [])
    assert row[2].startswith(error), row[2]
    assert_log(task, row[4])
    assert memory() - before < 64 * 1024
    for beside in BESIDE:
        rows = await house.rows(beside)
        assert [one[2] for one in rows if not one[1]] == []
    if task == "starts_others":
        assert living([int(pid) for pid in (tmp_path / "pids").read_text().split()]) == []


def assert_log(task: str, log: str) -> None:
    if task == "floods":
        assert log.startswith("[earlier output was dropped]\n")
        assert len(log.encode()) <= 64 * 1024
    elif task == "crashes":
        assert log in ("begun\n", None)  # it may end before anybody has read that
    else:
        assert log.startswith("begun\n")


async def test_who_shared_a_blocked_loop_has_a_failed_attempt_only_if_it_was_cut_short(
    nasty_house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house, retries = nasty_house, {"attempts": 2, "backoff": "10m", "max_backoff": "10m"}
    await house.config("blocks", "nasty.async.stands_still")
    await house.config("long", "beside.long", params={"path": str(tmp_path / "began")}, retries=retries)
    await house.config("beside", "beside.async", schedule=["@every 1s"])
    async with house.running(cancel_grace="500ms"):
        await byhand.trigger(house.link, "long")
        await house.until(lambda: asyncio.to_thread((tmp_path / "began").exists))
        await byhand.trigger(house.link, "blocks")
        [row] = await house.at_least("blocks", 1)
        seen = len(await house.rows("beside"))
        await house.at_least("beside", seen + 2)
        [[attempts]] = await house.until(lambda: waiting(house, "long"))
        beside = await house.rows("beside")
    assert row[2].startswith("blocked the event loop that all async tasks share")
    assert row[4] == "begun\n"
    assert "blocks blocks the event loop" in caplog.text
    assert [attempt["error"] for attempt in attempts] == [
        "its process was lost through blocks, which blocked the event loop"
    ]
    assert [one[2] for one in beside if not one[1]] == []


async def waiting(house: House, name: str) -> list[tuple[Any, ...]]:
    return await house.link.run(
        "select attempts from task_claims where name = %s and runner_id is null and attempts <> '[]'", [name]
    )


def memory() -> int:
    """KiB that this process, and so the runner in it, has in use."""
    text = Path(f"/proc/{os.getpid()}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])
