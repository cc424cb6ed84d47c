"""What a task starts in a session of its own: it ends with the task's process, however that ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="such processes are only found where there is /proc")

STRAYS = """
def away(path):
    '''A process in a session of its own that starts another in one of its own; their ids in a file.'''
    script = "setsid sleep 600 & echo $$ $! > $0.part; mv $0.part $0; wait"
    subprocess.Popen(["sh", "-c", script, path], start_new_session=True)
    while not os.path.exists(path): time.sleep(0.01)
@task
def starts(path):
    away(path)
    time.sleep(600)
@task
def leaves(path):
    away(path)
    os._exit(3)
@task
async def asynchronous(path):
    away(path)
    await asyncio.sleep(600)
@task
async def leaves_the_loop(path):
    away(path)
    os._exit(3)
@task
async def blocks(path):
    away(path)
    time.sleep(600)
@task
def fine(): return "fine"
"""


async def strays(one: Any, path: Path) -> list[int]:
    return [int(pid) for pid in (await one.until_said(path)).split()]


@pytest.mark.parametrize("task", ["own.starts", "own.blocks"])
async def test_a_timeout_ends_them(family: Start, tmp_path: Path, task: str) -> None:
    one = await family(STRAYS)
    outcome = await one.run(task, timeout=1, path=str(tmp_path / "pids"))
    assert outcome.error.startswith("timed out after 1s")
    pids = await strays(one, tmp_path / "pids")
    await one.until_gone(pids)
    assert (await one.run("own.fine")).result == "fine"


async def test_a_cancelled_shell_command_is_ended_though_it_left_its_session(family: Start, tmp_path: Path) -> None:
    one = await family(STRAYS)
    script = f"echo $$ > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/pids; exec sleep 600"
    call = one.submit("shell.run", command=["setsid", "sh", "-c", script])
    pids = await strays(one, tmp_path / "pids")
    one.children.cancel(call, "cancelled by anna")
    assert (await one.outcome(call)).error == "cancelled by anna"
    await one.until_gone(pids)


@pytest.mark.parametrize("task", ["own.leaves", "own.leaves_the_loop"])
async def test_a_task_that_ends_its_process_leaves_none(family: Start, tmp_path: Path, task: str) -> None:
    one = await family(STRAYS)
    outcome = await one.run(task, path=str(tmp_path / "pids"))
    assert outcome.error == "its process ended with exit code 3"
    pids = await strays(one, tmp_path / "pids")
    await one.until_gone(pids)


async def test_those_of_one_task_end_and_those_of_another_go_on(
    family: Start, tmp_path: Path, living: Callable[[list[int]], list[int]]
) -> None:
    one = await family(STRAYS)
    first, second = (one.submit("own.starts", path=str(tmp_path / name)) for name in "ab")
    ended, others = [await strays(one, tmp_path / name) for name in "ab"]
    one.children.cancel(first, "cancelled by anna")
    await one.outcome(first)
    await one.until_gone(ended)
    assert living(others) == others
    assert second not in one.outcomes


async def test_a_stop_leaves_none(family: Start, tmp_path: Path) -> None:
    one = await family(STRAYS)
    for task in ("own.starts", "own.asynchronous"):
        one.submit(task, path=str(tmp_path / task))
    pids = [pid for task in ("own.starts", "own.asynchronous") for pid in await strays(one, tmp_path / task)]
    await one.children.stop(0, "the runner was stopped")
    await one.until_gone(pids)


async def test_after_a_kill_of_the_runner_none_goes_on(
    family: Start, tmp_path: Path, parent: Callable[..., subprocess.Popen[bytes]]
) -> None:
    one = await family(STRAYS)
    runner = parent("own.starts", "own.asynchronous")
    pids = [pid for task in ("own.starts", "own.asynchronous") for pid in await strays(one, tmp_path / task)]
    assert len(pids) == 4
    runner.kill()
    runner.wait()
    await one.until_gone(pids)
