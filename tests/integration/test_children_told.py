"""What goes between a running task and whoever watches it: progress, the wish that it stops, its output as it comes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.children.children import Children
from reconciler.execute.pieces import LIMIT

Start = Callable[[str], Awaitable[Any]]
KINDS = ("sync", "asynchronous")

TASKS = """
def until_gone(path):
    open(path, "a").write("x")
    while os.path.exists(path): time.sleep(0.01)
async def once_gone(path):
    open(path, "a").write("x")
    while os.path.exists(path): await asyncio.sleep(0.01)
"""


async def test_a_task_is_told_what_ran_before_it(family: Start) -> None:
    ask = "    return [ctx.last_success.isoformat(), ctx.last_result]\n"
    one = await family(
        f"@task\ndef sync(ctx):\n{ask}@task\nasync def asynchronous(ctx):\n{ask}@task\ndef bare(): ...\n"
    )
    assert [one.children.catalogue[f"own.{name}"].wants_context for name in (*KINDS, "bare")] == [True, True, False]
    moment = datetime(2026, 1, 2, 3, tzinfo=UTC)
    for kind in KINDS:
        call = one.submit_with(f"own.{kind}", {}, last_success=moment, last_result={"cursor": 7})
        assert (await one.outcome(call)).result == [moment.isoformat(), {"cursor": 7}]


async def test_progress_is_heard_while_a_task_runs_masked_and_seldom(family: Start, tmp_path: Path) -> None:
    tell = """
    for n in range(100_000): ctx.progress(n / 200_000, f"row {n}")
    ctx.progress(0.5, f"half way,\\n{secret}")
"""
    one = await family(f"""{TASKS}
@task
def sync(ctx: TaskContext, path, secret):{tell}    until_gone(path)
@task
async def asynchronous(ctx: TaskContext, path, secret):{tell}    await once_gone(path)
""")
    for kind in KINDS:
        gate = tmp_path / kind
        call = one.submit(f"own.{kind}", path=str(gate), secret={"from_env": "TOKEN"})
        await one.until(lambda call=call: (call, 0.5, "half way, ***") in one.progress)
        assert len([heard for heard in one.progress if heard[0] == call]) < 10
        gate.unlink()
        assert (await one.outcome(call)).is_success


async def test_a_progress_that_is_none_is_a_mistake_of_the_task_where_it_is_made(family: Start) -> None:
    one = await family("@task\ndef sync(ctx): ctx.progress(7)\n@task\nasync def asynchronous(ctx): ctx.progress(7)\n")
    for kind in KINDS:
        outcome = await one.run(f"own.{kind}")
        assert outcome.error.startswith("ValueError: progress: 7 is not from 0 to 1")
        assert "ctx.progress(7)" in outcome.traceback


HEEDS = {
    "own.sync": "@task\ndef sync(ctx: TaskContext, path):\n    open(path, 'w').write('x')\n"
    "    while not ctx.cancelled: time.sleep(0.01)\n    print('cleaned up')\n    return 'stopped'\n",
    "own.asynchronous": "@task\nasync def asynchronous(ctx: TaskContext, path):\n    open(path, 'w').write('x')\n"
    "    try: await asyncio.sleep(60)\n    except asyncio.CancelledError:\n        assert ctx.cancelled\n"
    "        print('cleaned up')\n    return 'stopped'\n",
}


@pytest.mark.parametrize("name", HEEDS)
async def test_who_is_cancelled_may_clean_up_and_has_failed_with_the_reason(
    family: Start, tmp_path: Path, name: str
) -> None:
    one = await family(HEEDS[name])
    for limit in (None, 2**30):
        path = tmp_path / f"{limit}"
        call = one.submit_with(name, {"path": str(path)}, memory_limit=limit)
        await one.until_said(path)
        one.children.cancel(call, "cancelled by anna")
        outcome = await one.outcome(call)
        assert (outcome.is_success, outcome.error, outcome.result) == (False, "cancelled by anna", None)
        assert (outcome.log, outcome.kinds) == ("cleaned up\n", ())


async def test_who_takes_a_context_and_does_not_look_is_killed_after_the_grace(family: Start, tmp_path: Path) -> None:
    one = await family(
        "@task\ndef deaf(ctx: TaskContext, path):\n    open(path, 'w').write('x')\n    time.sleep(60)\n"
        "@task\ndef late(ctx: TaskContext, path):\n    open(path, 'w').write('x')\n    time.sleep(0.2)\n"
        "    return 'done'\n"
    )
    for name, result in (("own.deaf", None), ("own.late", "done")):
        call = one.submit(name, path=str(tmp_path / name))
        await one.until_said(tmp_path / name)
        one.children.cancel(call, "cancelled by anna")
        outcome = await one.outcome(call)
        assert outcome.result == result
        if not result:
            assert outcome.error == "cancelled by anna; it did not stop and its process was killed"


async def test_a_thread_of_an_async_task_learns_that_its_time_is_over(family: Start, tmp_path: Path) -> None:
    one = await family("""
def work(ctx, path):
    while not ctx.cancelled: time.sleep(0.01)
    open(path, "w").write("noticed")
@task
async def threaded(ctx: TaskContext, path): await asyncio.to_thread(work, ctx, path)
""")
    path = tmp_path / "noticed"
    assert (await one.run("own.threaded", timeout=0.2, path=str(path))).error == "timed out after 200ms"
    assert await one.until_said(path) == "noticed"


async def test_who_goes_on_in_a_thread_after_it_was_stopped_keeps_its_process_to_itself(
    family: Start, caplog: pytest.LogCaptureFixture
) -> None:
    one = await family("""
@task
async def threaded(): await asyncio.to_thread(time.sleep, 60)
@task
async def fine(): return await asyncio.to_thread(os.getpid)
@task
async def nap(seconds): await asyncio.sleep(seconds); return os.getpid()
""")
    before = (await one.run("own.fine")).result
    beside = one.submit("own.nap", seconds=4)
    late = [one.submit("own.threaded", timeout=0.2) for _ in range(40)]
    assert {(await one.outcome(call)).error for call in late} == {"timed out after 200ms"}
    await one.until(lambda: "own.threaded was stopped and goes on in a thread" in caplog.text)
    assert caplog.text.count("was stopped and goes on") == 1
    async with asyncio.timeout(30):
        while (await one.run("own.fine")).result == before:
            await asyncio.sleep(0.05)
    assert (await one.outcome(beside)).result == before


def told(one: Any, call: str) -> str:
    """The pieces, put together; each begins where the one before ended, or later."""
    whole, end = "", 0
    for offset, text in one.pieces.get(call, []):
        assert offset >= end
        whole, end = whole + text, offset + len(text)
    return whole


FOLLOWED = f"""{TASKS}
@task
def sync(path, secret=""):
    print("begun", secret, flush=True)
    until_gone(path)
    print("ended")
@task
async def asynchronous(path, secret=""):
    print("begun", secret)
    await once_gone(path)
    print("ended")
"""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_followed_call_is_read_as_it_prints_to_its_last_word(family: Start, tmp_path: Path, kind: str) -> None:
    one = await family(FOLLOWED)
    params = {"path": str(tmp_path / "gate"), "secret": {"from_env": "TOKEN"}}
    call = one.submit_with(f"own.{kind}", params, follow=True)
    await one.until(lambda: told(one, call) == "begun ***\n")
    (tmp_path / "gate").unlink()
    outcome = await one.outcome(call)
    assert told(one, call) == outcome.log == "begun ***\nended\n"


@pytest.mark.parametrize("kind", KINDS)
async def test_who_begins_to_follow_later_first_reads_what_was_printed(
    family: Start, tmp_path: Path, kind: str
) -> None:
    one = await family(FOLLOWED)
    call = one.submit(f"own.{kind}", path=str(tmp_path / "gate"))
    await one.until_said(tmp_path / "gate")
    assert told(one, call) == ""
    one.children.follow(call, True)
    await one.until(lambda: told(one, call) == "begun \n")
    one.children.follow(call, True)
    (tmp_path / "gate").unlink()
    assert told(one, call) == "begun \n"
    assert (await one.outcome(call)).log == "begun \nended\n" == told(one, call)


@pytest.mark.parametrize("kind", KINDS)
async def test_who_no_longer_follows_hears_nothing(family: Start, tmp_path: Path, kind: str) -> None:
    one = await family(FOLLOWED)
    call = one.submit_with(f"own.{kind}", {"path": str(tmp_path / "gate")}, follow=True)
    await one.until(lambda: told(one, call))
    await one.until_said(tmp_path / "gate")
    one.children.follow(call, False)
    (tmp_path / "gate").unlink()
    await one.outcome(call)
    assert "ended" not in told(one, call)


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_flood_that_is_followed_is_bounded_and_says_what_is_left_out(family: Start, kind: str) -> None:
    one = await family(f"""
@task
{kind} flood():
    for _ in range(50): sys.stdout.write(("x" * 99 + "\\n") * 10_000)
    print("the end")
""")
    call = one.submit_with("own.flood", {}, follow=True)
    assert (await one.outcome(call)).is_success
    text = told(one, call)
    assert "characters left out" in text
    assert text.endswith("the end\n")
    assert all(len(piece) <= LIMIT for _, piece in one.pieces[call])
    assert len(text) < 10_000_000
    offset, last = one.pieces[call][-1]
    assert offset + len(last) == 50 * 1_000_000 + len("the end\n")


async def test_a_loop_that_is_blocked_still_tells(family: Start) -> None:
    one = await family("@task\nasync def blocks(ctx):\n    print('here')\n    ctx.progress(0.1)\n    time.sleep(3)\n")
    call = one.submit_with("own.blocks", {}, follow=True)
    await one.until(lambda: told(one, call) == "here\n" and one.progress)
    assert call not in one.outcomes
    assert (await one.outcome(call)).is_success


FILL = "\n    kept = []\n    print('filling')\n    while True: kept.append(bytearray(1 << 20))\n"


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_who_takes_more_memory_than_it_may_has_failed_saying_so(family: Start, kind: str) -> None:
    one = await family(f"@task\n{kind} fills(): {FILL}\n@task\n{kind} fine(): return os.getpid()\n")
    call = one.submit_with("own.fills", {}, memory_limit=256 * 2**20)
    outcome = await one.outcome(call)
    assert (outcome.is_success, outcome.error) == (False, "went beyond memory_limit 256M")
    assert outcome.log == "filling\n"
    assert outcome.kinds[0] == "builtins.MemoryError"
    assert "bytearray" in outcome.traceback
    assert (await one.run("own.fine")).is_success


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            "import ctypes; os.write(2, b'terminate called after throwing std::bad_alloc'); os.abort()",
            "went beyond memory_limit 256M: its process was killed by signal 6 (SIGABRT)",
        ),
        (
            "import ctypes; ctypes.memset(ctypes.CDLL(None).malloc(1 << 30), 1, 1)",
            "its process was killed by signal 11 (SIGSEGV); perhaps it went beyond memory_limit 256M",
        ),
    ],
)
async def test_who_dies_for_want_of_memory_is_told_of_its_limit(family: Start, body: str, error: str) -> None:
    one = await family(f"@task\ndef dies():\n    {body}\n@task\ndef fine(): return 1\n")
    call = one.submit_with("own.dies", {}, memory_limit=256 * 2**20)
    assert (await one.outcome(call)).error == error
    assert (await one.run("own.fine")).result == 1


async def test_a_limit_is_for_its_call_alone_and_a_swollen_process_is_not_given_one(family: Start) -> None:
    one = await family("""
kept = []
@task
def takes(size): bytearray(size); return os.getpid()
@task
def swells(size): kept.append(bytearray(size)); return os.getpid()
""")
    size = 400 * 2**20
    for limit, is_success in ((None, True), (256 * 2**20, False), (None, True), (800 * 2**20, True)):
        call = one.submit_with("own.takes", {"size": size}, memory_limit=limit)
        assert (await one.outcome(call)).is_success == is_success
    swollen = [(await one.run("own.swells", size=size)).result for _ in range(2)]
    call = one.submit_with("own.takes", {"size": size}, memory_limit=600 * 2**20)
    outcome = await one.outcome(call)
    assert outcome.is_success
    assert outcome.result not in swollen


async def test_an_async_task_with_a_limit_has_its_own_process_and_its_time(family: Start) -> None:
    one = await family(
        "@task\nasync def nap(seconds):\n    print('napping')\n    await asyncio.sleep(seconds)\n"
        "    return os.getpid()\n"
    )
    shared = (await one.run("own.nap", seconds=0)).result
    alone = await one.outcome(one.submit_with("own.nap", {"seconds": 0}, memory_limit=2**30))
    assert alone.result not in (shared, os.getpid())
    late = await one.outcome(one.submit_with("own.nap", {"seconds": 60}, timeout=0.2, memory_limit=2**30))
    assert (late.error, late.log) == ("timed out after 200ms", "napping\n")


async def test_an_exit_in_a_task_of_an_async_task_with_a_limit_costs_it_alone(family: Start) -> None:
    one = await family("""
async def inner(): sys.exit(4)
@task
async def leaves(): print("begun"); await asyncio.create_task(inner())
@task
def fine(): return 1
""")
    outcome = await one.outcome(one.submit_with("own.leaves", {}, memory_limit=2**30))
    assert outcome.error == "SystemExit: the task called exit(4); a task ends by returning"
    assert outcome.log == "begun\n"
    assert (await one.run("own.fine")).result == 1


async def test_kinds_and_a_wish_for_a_later_attempt_come_with_the_outcome(family: Start) -> None:
    raises = "    from reconciler import RetryAfter\n    raise RetryAfter(90, 'the bank is closed')\n"
    one = await family(
        f"@task\ndef sync():\n{raises}@task\nasync def asynchronous():\n{raises}"
        "@task\ndef sleeps(): time.sleep(60)\n@task\nasync def naps(): await asyncio.sleep(60)\n"
        "@task\nasync def blocks(): time.sleep(60)\n@task\ndef leaves(): os._exit(3)\n"
    )
    for kind in KINDS:
        outcome = await one.run(f"own.{kind}")
        assert (outcome.error, outcome.retry_after) == ("RetryAfter: the bank is closed", 90.0)
        assert outcome.kinds == ("reconciler.registry.context.RetryAfter", "builtins.Exception")
    for name in ("own.sleeps", "own.naps", "own.blocks"):
        assert (await one.run(name, timeout=0.1)).kinds[0] == "builtins.TimeoutError"
    assert (await one.run("own.leaves")).kinds == ()


def test_what_is_heard_while_calls_run_need_not_be_asked_for(tmp_path: Path) -> None:
    Children(
        directory=tmp_path, modules=[], worker_processes=1, environ={}, on_done=lambda outcomes: None, cancel_grace=1
    )
