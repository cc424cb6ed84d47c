"""Tasks in their child processes: called, told apart, cancelled, renewed and stopped."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.children.children import Children
from reconciler.errors import ReconcilerError

Start = Callable[[str], Awaitable[Any]]

PLAIN = """
@task
async def greet(ctx: TaskContext, who: str = "you"):
    "Say hello."
    print("hello", who)
    ctx.logger.info("greeted")
    return {"who": who, "pid": os.getpid()}

@task
def count(n: int):
    print("counting")
    subprocess.run("echo from the shell; echo and its errors >&2", shell=True)
    return n + 1

@task
async def nap(seconds: float = 60, path: str = ""):
    print("napping")
    if path:
        open(path, "w").write(str(os.getpid()))
    await asyncio.sleep(seconds)

@task
def sync_nap(seconds: float = 60, path: str = ""):
    print("napping")
    if path:
        open(path, "w").write(str(os.getpid()))
    time.sleep(seconds)
"""


async def test_the_catalogue_tells_of_every_task_without_importing_it(family: Start) -> None:
    one = await family(PLAIN)
    greet, count = one.children.catalogue["own.greet"], one.children.catalogue["own.count"]
    assert (greet.is_async, greet.doc) == (True, "Say hello.")
    assert (count.is_async, count.schema["required"]) == (False, ["n"])
    assert "shell.run" in one.children.catalogue
    assert one.children.faults == []


async def test_async_tasks_share_a_process_and_sync_tasks_have_their_own(family: Start) -> None:
    one = await family(PLAIN)
    first, second = await one.run("own.greet", who="me"), await one.run("own.greet")
    assert first.log == "hello me\nINFO task.own.greet: greeted\n"
    assert first.result["pid"] == second.result["pid"] != os.getpid()
    counted = await one.run("own.count", n="3")
    assert counted.result == 4
    assert counted.log == "counting\nfrom the shell\nand its errors\n"


async def test_times_are_on_the_clock_of_this_process(family: Start) -> None:
    one = await family(PLAIN)
    for task in ("own.nap", "own.sync_nap"):
        before = asyncio.get_running_loop().time()
        outcome = await one.run(task, seconds=0)
        assert before <= outcome.started_at <= outcome.finished_at <= asyncio.get_running_loop().time()


async def test_an_unknown_task_is_a_failure_that_never_started(family: Start) -> None:
    one = await family(PLAIN)
    outcome = await one.run("own.gret")
    assert outcome.error == "no task named 'own.gret'; did you mean 'own.greet'?"
    assert not outcome.is_started


async def test_a_secret_is_read_in_the_child_and_masked_in_its_output(family: Start) -> None:
    one = await family(
        "@task\ndef sync(s): subprocess.run(['echo', s])\n@task\nasync def asynchronous(s): print(s); return s\n"
    )
    sync = await one.run("own.sync", s={"from_env": "TOKEN"})
    asynchronous = await one.run("own.asynchronous", s={"from_env": "TOKEN"})
    assert (sync.log, asynchronous.log, asynchronous.result) == ("***\n", "***\n", "***")


async def test_the_passwords_of_the_stores_are_masked_whether_a_task_asked_for_them_or_not(family: Start) -> None:
    tell = "    url = os.environ['RECONCILER_DATABASE_URL']\n    {how}\n    raise ValueError('no s@me-word', url)\n"
    one = await family(
        "@task\ndef sync():\n"
        + tell.format(how="subprocess.run(['echo', url])")
        + "@task\nasync def asynchronous():\n"
        + tell.format(how="print(url)")
        + "@task\ndef ends_its_process():\n    print('s@me-word')\n    os._exit(3)\n"
    )
    for name in ("own.sync", "own.asynchronous"):
        outcome = await one.run(name)
        assert (outcome.log, outcome.error) == ("***\n", "ValueError: ('no ***', '***')")
        assert "ValueError" in outcome.traceback and "me-word" not in outcome.traceback
    assert (await one.run("own.ends_its_process")).log == "***\n"


async def test_reading_standard_input_finds_its_end(family: Start) -> None:
    one = await family(
        "@task\ndef sync(): return sys.stdin.read()\n@task\nasync def other(): return sys.stdin.read()\n"
    )
    assert (await one.run("own.sync")).result == ""
    assert (await one.run("own.other")).result == ""


async def test_sync_calls_beyond_the_processes_wait_their_turn(family: Start, tmp_path: Path) -> None:
    one = await family("@task\ndef write(n, path): open(path, 'a').write(f'{n} ')\n" + PLAIN)
    blockers = [one.submit("own.sync_nap", path=str(tmp_path / name)) for name in "ab"]
    for name in "ab":
        await one.until_said(tmp_path / name)
    waiting = [one.submit("own.write", n=n, path=str(tmp_path / "order")) for n in range(5)]
    assert one.children.running == 7
    one.children.cancel(blockers[0], "make room")
    for call in waiting:
        await one.outcome(call)
    assert (tmp_path / "order").read_text() == "0 1 2 3 4 "


@pytest.mark.parametrize("task", ["own.nap", "own.sync_nap"])
async def test_a_cancelled_call_has_failed_with_the_reason_and_its_log(
    family: Start, tmp_path: Path, task: str
) -> None:
    one = await family(PLAIN)
    call = one.submit(task, path=str(tmp_path / "began"))
    await one.until_said(tmp_path / "began")
    one.children.cancel(call, "cancelled by anna")
    outcome = await one.outcome(call)
    assert (outcome.is_success, outcome.error) == (False, "cancelled by anna")
    assert outcome.log == "napping\n"
    assert one.children.running == 0


async def test_a_call_cancelled_before_it_began_never_starts(family: Start, tmp_path: Path) -> None:
    one = await family(PLAIN)
    for _ in range(2):
        one.submit("own.sync_nap")
    queued = one.submit("own.sync_nap", path=str(tmp_path / "began"))
    one.children.cancel(queued, "not any more")
    outcome = await one.outcome(queued)
    assert (outcome.error, outcome.is_started) == ("not any more", False)
    at_once = one.submit("own.nap")
    one.children.cancel(at_once, "nor this")
    assert (await one.outcome(at_once)).error == "nor this"
    assert not (tmp_path / "began").exists()


@pytest.mark.parametrize(("task", "kind"), [("own.nap", "async def"), ("own.sync_nap", "def")])
async def test_a_timeout_ends_a_call_and_tells_how_long_it_had(family: Start, task: str, kind: str) -> None:
    one = await family(PLAIN)
    outcome = await one.run(task, timeout=0.2)
    assert (outcome.is_success, outcome.error) == (False, "timed out after 200ms")
    assert outcome.log == "napping\n"


async def test_new_code_is_used_by_what_starts_later_and_what_runs_keeps_the_old(family: Start, tmp_path: Path) -> None:
    source = """
@task
async def answer(path):
    open(path, "a").write("x")
    while os.path.exists(path): await asyncio.sleep(0.01)
    return 1
@task
def sync_answer(path):
    open(path, "a").write("x")
    while os.path.exists(path): time.sleep(0.01)
    return 1
"""
    one = await family(source)
    gates = {name: tmp_path / name for name in ("answer", "sync_answer")}
    old = {name: one.submit(f"own.{name}", path=str(path)) for name, path in gates.items()}
    for path in gates.values():
        await one.until_said(path)
    one.write("@task\nasync def answer(path): return 2\n@task\ndef sync_answer(path, more=0): return 2\n")
    await one.children.reload()
    assert "more" in one.children.catalogue["own.sync_answer"].schema["properties"]
    for name, path in gates.items():
        assert (await one.run(f"own.{name}", path="")).result == 2
        path.unlink()
        assert (await one.outcome(old[name])).result == 1


async def test_a_module_that_breaks_is_reported_and_its_tasks_are_absent(family: Start) -> None:
    one = await family(PLAIN)
    one.write("@task\ndef other(): return 1\n", module="other")
    one.write("def (:\n")
    await one.children.reload()
    assert [fault.partition(": ")[0] for fault in one.children.faults] == ["tasks/own.py:4"]
    assert (await one.run("own.greet")).error.startswith("no task named 'own.greet'; ")
    assert (await one.run("other.other")).result == 1


@pytest.mark.parametrize("source", ["os._exit(3)\n", "import ctypes\nctypes.string_at(0)\n"])
async def test_a_module_that_ends_its_process_costs_only_itself(family: Start, source: str) -> None:
    one = await family(PLAIN)
    one.write(source, module="deadly")
    await one.children.reload()
    assert len(one.children.faults) == 1
    assert one.children.faults[0].startswith("tasks.deadly: the process that imported it ")
    assert (await one.run("own.count", n=1)).result == 2
    assert (await one.run("own.greet")).is_success


async def test_a_process_that_somebody_kills_while_it_imports_a_module_costs_no_task(family: Start) -> None:
    one = await family(PLAIN)
    once = "from pathlib import Path\ntry:\n    Path('seen').touch(exist_ok=False)\nexcept FileExistsError:\n    pass\n"
    one.write(f"{once}else:\n    os.kill(os.getpid(), 9)\n", module="unlucky")
    await one.children.reload()
    assert one.children.faults == []
    assert (await one.run("own.greet")).is_success


async def test_a_stop_lets_finish_what_can_and_fails_the_rest(
    family: Start, tmp_path: Path, living: Callable[[list[int]], list[int]]
) -> None:
    one = await family(PLAIN)
    short = [one.submit(task, seconds=0.1, path=str(tmp_path / task)) for task in ("own.nap", "own.sync_nap")]
    for task in ("own.nap", "own.sync_nap"):
        await one.until_said(tmp_path / task)
    long = [one.submit(task, path=str(tmp_path / f"long.{task}")) for task in ("own.nap", "own.sync_nap")]
    pids = [int(await one.until_said(tmp_path / f"long.{task}")) for task in ("own.nap", "own.sync_nap")]
    for _ in range(2):
        one.submit("own.sync_nap")
    queued = one.submit("own.sync_nap")
    await one.children.stop(1, "the runner was stopped")
    assert [one.outcomes[call][0].is_success for call in short] == [True, True]
    assert [one.outcomes[call][0].error for call in long] == ["the runner was stopped"] * 2
    assert not one.outcomes[queued][0].is_started
    assert living(pids) == []
    late = one.submit("own.nap")
    assert (await one.outcome(late)).error == "the runner is stopping"


async def test_a_directory_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    children = Children(
        directory=tmp_path / "absent",
        modules=["tasks"],
        worker_processes=1,
        environ=os.environ,
        on_done=lambda outcomes: None,
        cancel_grace=1,
    )
    with pytest.raises(ReconcilerError, match="absent: cannot start a process for tasks"):
        await children.start()


async def test_many_calls_each_have_one_outcome(family: Start) -> None:
    one = await family("@task\nasync def add(n): return n + 1\n")
    calls = {one.submit("own.add", n=n): n for n in range(3000)}
    await one.until(lambda: one.children.running == 0)
    assert {call: one.outcomes[call][0].result for call in calls} == {call: n + 1 for call, n in calls.items()}


@pytest.mark.parametrize("end", ["stop", "reload"])
async def test_a_call_whose_process_is_still_starting_runs_in_it_though_that_is_to_end(family: Start, end: str) -> None:
    one = await family(PLAIN)
    call = one.submit("own.count", n=1)
    await (one.children.stop(30, "the runner was stopped") if end == "stop" else one.children.reload())
    assert (await one.outcome(call)).result == 2


async def test_processes_that_are_killed_leave_no_file_open(family: Start) -> None:
    one = await family(PLAIN)
    await one.run("own.count", n=1)
    before = len(list(Path("/proc/self/fd").iterdir()))
    gc.disable()  # nor does that depend on when garbage is collected
    try:
        for task in ["own.sync_nap"] * 3 + ["own.nap"]:
            await one.run(task, timeout=0.1)
        await one.run("own.count", n=1)
        await one.until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)
    finally:
        gc.enable()
