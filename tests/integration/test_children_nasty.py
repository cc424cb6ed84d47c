"""What a task can do to its process: one honest failure for it, and the others go on."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Awaitable[Any]]
Parent = Callable[..., subprocess.Popen[bytes]]

NEIGHBOURS = """
def garble():
    for fd in os.listdir("/proc/self/fd"):
        link = f"/proc/self/fd/{fd}"
        if os.path.exists(link) and os.readlink(link).startswith("socket"):
            os.write(int(fd), b"garbage" * 99)
@task
async def fine(): return "fine"
@task
def sync_fine(): return "fine"
@task
async def nap(seconds=60, path=""):
    if path: open(path, "w").write("x")
    print("napping")
    await asyncio.sleep(seconds)
"""


async def goes_on(one: Any) -> bool:
    return [(await one.run(f"own.{task}")).result for task in ("fine", "sync_fine")] == ["fine", "fine"]


LEAVES = [
    ("print('before', flush=True); os._exit(3)", "its process ended with exit code 3"),
    ("import ctypes; ctypes.string_at(0)", "its process was killed by signal 11 (SIGSEGV)"),
    ("os.kill(os.getpid(), 9)", "its process was killed by signal 9 (SIGKILL); perhaps the memory ran out"),
    ("os.closerange(3, 4096); time.sleep(60)", "its process had broken the line to the runner and was killed"),
    ("garble(); time.sleep(60)", "its process had broken the line to the runner and was killed"),
    ("sys.exit(0)", "SystemExit: the task called exit(0); a task ends by returning"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("raise type('Odd', (Exception,), {'__reduce__': None})('x')", "Odd: x"),
    ("return object()", "returned object, which is not JSON; a task returns what JSON can hold, or nothing"),
    ("return [sys]", "returned list, which holds module; a task returns what JSON can hold, or nothing"),
]


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(("body", "error"), LEAVES)
async def test_each_is_one_failed_outcome_and_the_rest_goes_on(family: Start, kind: str, body: str, error: str) -> None:
    one = await family(f"{NEIGHBOURS}\n@task\n{kind} nasty():\n    {body}\n")
    outcome = await one.run("own.nasty")
    assert (outcome.is_success, outcome.error) == (False, error)
    assert await goes_on(one)


async def test_who_shared_the_process_learns_through_whom_it_was_lost(family: Start, tmp_path: Path) -> None:
    one = await family(f"{NEIGHBOURS}\n@task\nasync def nasty():\n    os._exit(3)\n")
    innocent = one.submit("own.nap", path=str(tmp_path / "began"))
    await one.until_said(tmp_path / "began")
    guilty, later = one.submit("own.nasty"), one.submit("own.fine")
    assert (await one.outcome(guilty)).error == "its process ended with exit code 3"
    assert (await one.outcome(innocent)).error == ("its process was lost through own.nasty: it ended with exit code 3")
    assert (await one.outcome(later)).result == "fine"


async def test_who_swallows_cancellation_is_killed(family: Start, tmp_path: Path) -> None:
    one = await family(f"""{NEIGHBOURS}
@task
async def stubborn():
    print("not me")
    while True:
        try: await asyncio.sleep(60)
        except asyncio.CancelledError: pass
""")
    innocent = one.submit("own.nap", path=str(tmp_path / "began"))
    await one.until_said(tmp_path / "began")
    outcome = await one.run("own.stubborn", timeout=0.2)
    assert outcome.error == "timed out after 200ms; it did not stop and its process was killed"
    assert outcome.log == "not me\n"
    lost = await one.outcome(innocent)
    assert lost.error == "its process was lost through own.stubborn, which timed out and did not stop"
    assert lost.log == "napping\n"
    assert await goes_on(one)


async def test_nothing_new_begins_beside_what_was_told_to_stop_and_goes_on(family: Start, tmp_path: Path) -> None:
    one = await family(
        f"""{NEIGHBOURS}
@task
async def stubborn():
    while True:
        try: await asyncio.sleep(60)
        except asyncio.CancelledError: open({str(tmp_path / "told")!r}, "w").write("x")
@task
async def where(): return os.getpid()
@task
async def until(path):
    while not os.path.exists(path): await asyncio.sleep(0.05)
    return os.getpid()
""",
        cancel_grace=30,
    )
    before = (await one.run("own.where")).result
    one.submit("own.stubborn", timeout=0.2)
    beside = one.submit("own.until", path=str(tmp_path / "go"))
    await one.until_said(tmp_path / "told")
    while (await one.run("own.where")).result == before:
        await asyncio.sleep(0.05)
    (tmp_path / "go").write_text("x")
    assert (await one.outcome(beside)).result == before  # what runs there has the time to end


BLOCKS = {
    "sleep": "time.sleep(600)",
    "loop": "\n    while True: pass",
    "regex": "import re; re.match(r'(a+)+$', 'a' * 60 + 'b')",
}


@pytest.mark.parametrize("body", BLOCKS.values(), ids=BLOCKS)
async def test_a_blocked_loop_is_left_by_what_has_not_begun_and_named_to_the_others(
    family: Start, tmp_path: Path, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = await family(f"{NEIGHBOURS}\n@task\nasync def blocks():\n    print('here')\n    {body}\n")
    innocent = one.submit("own.nap", path=str(tmp_path / "began"))
    await one.until_said(tmp_path / "began")
    guilty = one.submit("own.blocks")
    later = [one.submit("own.fine") for _ in range(20)]
    assert [(await one.outcome(call)).result for call in later] == ["fine"] * 20
    assert "own.blocks blocks the event loop" in caplog.text
    assert (await one.outcome(guilty)).error.startswith("blocked the event loop that all async tasks share")
    assert (await one.outcome(innocent)).error == (
        "its process was lost through own.blocks, which blocked the event loop"
    )


async def test_what_was_cancelled_while_it_waited_behind_a_blocked_loop_never_begins(
    family: Start, tmp_path: Path
) -> None:
    one = await family(f"{NEIGHBOURS}\n@task\nasync def blocks():\n    print('here')\n    time.sleep(600)\n")
    innocent = one.submit("own.nap", path=str(tmp_path / "began"))
    await one.until_said(tmp_path / "began")
    guilty, cancelled = one.submit("own.blocks"), one.submit("own.nap", path=str(tmp_path / "never"))
    later = one.submit("own.fine")
    one.children.cancel(cancelled, "not wanted any more")
    assert (await one.outcome(later)).result == "fine"
    outcome = await one.outcome(cancelled)
    assert (outcome.error, outcome.is_started) == ("not wanted any more", False)
    assert not (tmp_path / "never").exists()
    assert "blocked the event loop" in (await one.outcome(guilty)).error + (await one.outcome(innocent)).error


@pytest.mark.parametrize("body", ["time.sleep(600)", "os._exit(3)"])
async def test_what_had_finished_before_in_the_same_turn_of_the_loop_has_finished(family: Start, body: str) -> None:
    one = await family(f"{NEIGHBOURS}\n@task\nasync def nasty():\n    print('here')\n    {body}\n")
    fine = [one.call("own.fine") for _ in range(50)]
    nasty = one.call("own.nasty", timeout=1.0)
    one.children.submit([*fine, nasty])
    assert [(await one.outcome(call.id)).result for call in fine] == ["fine"] * 50
    outcome = await one.outcome(nasty.id)
    assert (outcome.is_success, outcome.log) == (False, "here\n")


async def test_a_copy_of_the_process_that_a_task_makes_ends_without_a_word(family: Start) -> None:
    one = await family("""
@task
async def forks():
    pid = os.fork()
    if not pid: os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
""")
    assert [(await one.run("own.forks")).result for _ in range(3)] == [5, 5, 5]


async def test_who_blocks_a_loop_that_nobody_shares_may_finish(family: Start) -> None:
    one = await family(f"{NEIGHBOURS}\n@task\nasync def blocks():\n    time.sleep(4)\n    return 'done'\n")
    guilty, later = one.submit("own.blocks"), one.submit("own.fine")
    assert (await one.outcome(later)).result == "fine"
    assert guilty not in one.outcomes
    assert (await one.outcome(guilty)).result == "done"


async def test_who_blocks_the_loop_beyond_its_timeout_has_timed_out(family: Start) -> None:
    one = await family("@task\nasync def blocks():\n    print('here')\n    time.sleep(600)\n")
    outcome = await one.run("own.blocks", timeout=0.5)
    assert outcome.error == "timed out after 500ms; it did not stop and its process was killed"
    assert outcome.log == "here\n"


async def test_what_a_task_starts_on_the_loop_is_counted_as_its_own(family: Start, tmp_path: Path) -> None:
    one = await family(f"""{NEIGHBOURS}
async def inner(): os._exit(4)
@task
async def outer(): await asyncio.gather(inner())
""")
    innocent = one.submit("own.nap", path=str(tmp_path / "began"))
    await one.until_said(tmp_path / "began")
    assert (await one.run("own.outer")).error == "its process ended with exit code 4"
    assert "through own.outer" in (await one.outcome(innocent)).error


async def test_the_loop_outlives_an_exit_in_a_task_of_a_task_and_its_own_stop(family: Start) -> None:
    one = await family(f"""{NEIGHBOURS}
async def inner(): sys.exit(4)
@task
async def leaves(): await asyncio.create_task(inner())
@task
async def stops(): asyncio.get_running_loop().stop(); await asyncio.sleep(0); return 1
""")
    innocent = one.submit("own.nap", seconds=1)
    assert (await one.run("own.leaves")).error.startswith("SystemExit: the task called exit(4)")
    assert (await one.run("own.stops")).result == 1
    assert (await one.outcome(innocent)).is_success


async def test_a_timeout_kills_what_a_sync_task_started_too(family: Start, tmp_path: Path) -> None:
    one = await family(f"""{NEIGHBOURS}
@task
def shell(path):
    print("before")
    subprocess.run(["sh", "-c", f"echo from the shell; sleep 600 & echo $! > {{path}}; wait"])
""")
    outcome = await one.run("own.shell", timeout=1, path=str(tmp_path / "pid"))
    assert (outcome.error, outcome.log) == ("timed out after 1s", "before\nfrom the shell\n")
    await one.until_gone([int((tmp_path / "pid").read_text())])
    assert await goes_on(one)


async def test_a_flood_of_output_costs_no_memory(family: Start) -> None:
    one = await family("""
@task
def flood():
    line = "x" * 999 + "\\n"
    for _ in range(200): sys.stdout.write(line * 1000)
    print("the end")
@task
async def async_flood():
    line = "x" * 999 + "\\n"
    for _ in range(200): sys.stdout.write(line * 1000)
    print("the end")
""")
    before = memory(os.getpid())
    for task in ("own.flood", "own.async_flood"):
        outcome = await one.run(task)
        assert outcome.is_success
        assert len(outcome.log.encode()) <= 64 * 1024
        assert outcome.log.endswith("the end\n")
    assert memory(os.getpid()) - before < 32 * 1024


async def test_after_a_kill_of_the_runner_nothing_that_it_started_goes_on(
    family: Start, tmp_path: Path, parent: Parent
) -> None:
    one = await family("""
@task
def shell(path):
    subprocess.run(["sh", "-c", f"sleep 600 & echo $! $$ {os.getpid()} > {path}; wait"])
@task
async def nap(path):
    started = await asyncio.create_subprocess_exec("sleep", "600")
    open(path, "w").write(f"{os.getpid()} {started.pid}")
    await asyncio.sleep(600)
@task
def blocks(path):
    open(path, "w").write(str(os.getpid()))
    import re; re.match(r'(a+)+$', 'a' * 60 + 'b')
""")
    runner = parent("own.shell", "own.nap", "own.blocks")
    pids = []
    for name in ("own.shell", "own.nap", "own.blocks"):
        pids += [int(pid) for pid in (await one.until_said(tmp_path / name)).split()]
    group = descendants(runner.pid)
    runner.kill()
    runner.wait()
    assert len(pids) == 6
    await one.until_gone({*pids, *group})


def descendants(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed] + [below for child in listed for below in descendants(int(child))]


def memory(pid: int) -> int:
    """KiB in use."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])
