"""What a task starts in a session of its own: it ends with the task's process, however that ends."""

from __future__ import annotations

import signal
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

PARENT = """
import asyncio, os, sys
from datetime import datetime, UTC
from pathlib import Path
from reconciler.children.children import Children
from reconciler.execute import Call

async def main():
    children = Children(directory=Path(sys.argv[1]), modules=["tasks"], worker_processes=2, environ=os.environ,
                        on_done=lambda outcomes: print(outcomes, flush=True), cancel_grace=5)
    await children.start()
    calls = [Call(name, name, name, {"path": sys.argv[1] + "/" + name}, datetime.now(UTC), 1, "manual", "", None, None)
             for name in ("own.starts", "own.asynchronous")]
    children.submit(calls)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def strays(one: Any, path: Path) -> list[int]:
    return [int(pid) for pid in (await one.until_said(path)).split()]


@pytest.mark.parametrize("task", ["own.starts", "own.blocks"])
async def test_a_timeout_ends_them(family: Start, tmp_path: Path, task: str) -> None:
    one = await family(STRAYS)
    outcome = await one.run(task, timeout=1, path=str(tmp_path / "pids"))
    assert outcome.error.startswith("timed out after 1s")
    pids = await strays(one, tmp_path / "pids")
    await one.until(lambda: not any(is_alive(pid) for pid in pids))
    assert (await one.run("own.fine")).result == "fine"


async def test_a_cancelled_shell_command_is_ended_though_it_left_its_session(family: Start, tmp_path: Path) -> None:
    one = await family(STRAYS)
    script = f"echo $$ > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/pids; exec sleep 600"
    call = one.submit("shell.run", command=["setsid", "sh", "-c", script])
    pids = await strays(one, tmp_path / "pids")
    one.children.cancel(call, "cancelled by anna")
    assert (await one.outcome(call)).error == "cancelled by anna"
    await one.until(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.parametrize("task", ["own.leaves", "own.leaves_the_loop"])
async def test_a_task_that_ends_its_process_leaves_none(family: Start, tmp_path: Path, task: str) -> None:
    one = await family(STRAYS)
    outcome = await one.run(task, path=str(tmp_path / "pids"))
    assert outcome.error == "its process ended with exit code 3"
    pids = await strays(one, tmp_path / "pids")
    await one.until(lambda: not any(is_alive(pid) for pid in pids))


async def test_those_of_one_task_end_and_those_of_another_go_on(family: Start, tmp_path: Path) -> None:
    one = await family(STRAYS)
    first, second = (one.submit("own.starts", path=str(tmp_path / name)) for name in "ab")
    ended, others = [await strays(one, tmp_path / name) for name in "ab"]
    one.children.cancel(first, "cancelled by anna")
    await one.outcome(first)
    await one.until(lambda: not any(is_alive(pid) for pid in ended))
    assert all(is_alive(pid) for pid in others)
    assert second not in one.outcomes


async def test_a_stop_leaves_none(family: Start, tmp_path: Path) -> None:
    one = await family(STRAYS)
    for task in ("own.starts", "own.asynchronous"):
        one.submit(task, path=str(tmp_path / task))
    pids = [pid for task in ("own.starts", "own.asynchronous") for pid in await strays(one, tmp_path / task)]
    await one.children.stop(0, "the runner was stopped")
    await one.until(lambda: not any(is_alive(pid) for pid in pids))


async def test_after_a_kill_of_the_runner_none_goes_on(family: Start, tmp_path: Path) -> None:
    one = await family(STRAYS)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)])
    pids = [pid for task in ("own.starts", "own.asynchronous") for pid in await strays(one, tmp_path / task)]
    assert len(pids) == 4
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    await one.until(lambda: not any(is_alive(pid) for pid in pids))
