"""One call, one honest outcome: whatever the function returns, raises, prints or is given."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from reconciler.execute import Call, Outcome, create_execution_record, execute, with_execution_tracking
from reconciler.execute.output import LOG_LIMIT, Recording, captured
from reconciler.execute.results import ERROR_LIMIT, RESULT_LIMIT, TRACEBACK_LIMIT
from reconciler.registry import TASKS, Task, TaskContext, task

DUE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


pytestmark = pytest.mark.usefixtures("own_registry")


def known(function: Callable[..., Any]) -> Task:
    TASKS.pop("under_test", None)
    task("under_test")(function)
    return TASKS["under_test"]


def a_call(params: dict[str, Any] | None = None, timeout: float | None = None) -> Call:
    return Call("id", "nightly", "under_test", params or {}, DUE, 2, "manual", "nightly@x", "abc", timeout)


def run(function: Callable[..., Any], params: dict[str, Any] | None = None, timeout: float | None = None) -> Outcome:
    with captured():
        return execute(known(function), a_call(params, timeout))


def test_a_sync_and_an_async_function_run_alike() -> None:
    def sync(n: int) -> int:
        print("working")
        return n + 1

    async def asynchronous(n: int) -> int:
        await asyncio.sleep(0)
        print("working")
        return n + 1

    for function in (sync, asynchronous):
        outcome = run(function, {"n": "4"})
        assert (outcome.is_success, outcome.result, outcome.log, outcome.error) == (True, 5, "working\n", None)
        assert outcome.started_at <= outcome.finished_at


def test_the_context_tells_a_task_about_its_run() -> None:
    def ask(run: TaskContext, region: str) -> dict[str, object]:
        run.logger.info("asked")
        return {**vars(run), "logger": None, "signs": None}

    outcome = run(ask, {"region": "eu"})
    assert outcome.result.pop("started_at")
    assert outcome.result == {
        "name": "nightly",
        "scheduled_for": DUE.isoformat(),
        "attempt": 2,
        "trigger": "manual",
        "idempotency_key": "nightly@x",
        "token": "id",
        "revision": "abc",
        "logger": None,
        "params": {"region": "eu"},
        "last_success": None,
        "last_result": None,
        "signs": None,
    }
    assert outcome.log == "INFO task.nightly: asked\n"


def test_a_sync_function_may_start_its_own_event_loop() -> None:
    async def inner() -> str:
        return "from inside"

    assert run(lambda: asyncio.run(inner())).result == "from inside"
    assert run(lambda: inner()).result == "from inside"


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("too  big,\nby far"), "ValueError: too big, by far"),
        (ValueError(), "ValueError"),
        (SystemExit(0), "SystemExit: the task called exit(0); a task ends by returning"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (asyncio.CancelledError(), "CancelledError"),
        (Unprintable(), "Unprintable: (its text cannot be shown)"),
        (ValueError("a\0b\ud800c"), "ValueError: a\ufffdb\ufffdc"),
        (
            ExceptionGroup("two", [ValueError("a"), KeyError("b")]),
            "ExceptionGroup: two (2 sub-exceptions): ValueError: a",
        ),
    ],
)
def test_what_is_raised_becomes_one_line(error: BaseException, text: str) -> None:
    async def fail() -> None:
        raise error

    for function in (raising(error), fail):
        outcome = run(function)
        assert (outcome.is_success, outcome.error) == (False, text)


def test_a_traceback_begins_where_the_task_does() -> None:
    outcome = run(raising(ValueError("x")))
    assert outcome.traceback is not None
    lines = outcome.traceback.splitlines()
    assert "test_execute.py" in lines[1]
    assert lines[-1] == "ValueError: x"
    assert "execute.py" not in outcome.traceback.replace("test_execute.py", "")


def test_error_and_traceback_are_bounded() -> None:
    def fail(depth: int = 0) -> None:
        if depth == 300:
            raise ValueError("é" * 100_000)
        [fail, fail][depth % 2](depth + 1)

    outcome = run(fail)
    assert len((outcome.error or "").encode()) <= ERROR_LIMIT
    assert len((outcome.traceback or "").encode()) <= TRACEBACK_LIMIT


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    at: date


class Model(BaseModel):
    when: datetime


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        ({"a": [1, 2.5, True, None, "x"]}, {"a": [1, 2.5, True, None, "x"]}),
        ((1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (Point(1, date(2026, 1, 2)), {"x": 1, "at": "2026-01-02"}),
        (Model(when=DUE), {"when": "2026-01-02T03:04:00Z"}),
        (
            [DUE, Path("/a"), Decimal("1.10"), UUID(int=0)],
            ["2026-01-02T03:04:00+00:00", "/a", "1.10", str(UUID(int=0))],
        ),
        (timedelta(minutes=90), "1h30m"),
        (Colour.RED, "red"),
        ({1: "a"}, {"1": "a"}),
        ("a\0b\udc80", "a\ufffdb\ufffd"),
        ({"k\0": ["\0"]}, {"k\ufffd": ["\ufffd"]}),
    ],
)
def test_a_result_is_stored_as_plain_json(value: object, stored: object) -> None:
    outcome = run(lambda: value)
    assert (outcome.error, outcome.result) == (None, stored)
    json.dumps(outcome.result, allow_nan=False).encode()


def endless() -> list[object]:
    inside: list[object] = []
    inside.append(inside)
    return inside


def deep(levels: int) -> list[object]:
    inside: list[object] = []
    for _ in range(levels):
        inside = [inside]
    return inside


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "returned object, which is not JSON; a task returns what JSON can hold, or nothing"),
        (math.nan, "returned float, which contains NaN or infinity"),
        ({"a": [math.inf]}, "returned dict, which contains NaN or infinity"),
        ([b"bytes"], "returned list, which holds bytes; "),
        (endless(), "returned list, which contains itself"),
        (deep(200), "returned list, which is nested more than 100 levels deep"),
        (deep(100_000), "returned list, which is nested more than 100 levels deep"),
        ({(1, 2): 3}, "returned dict, which cannot be written as JSON"),
        ((n for n in range(3)), "returned generator, which is not JSON"),
    ],
)
def test_a_result_that_is_not_json_is_a_failure_that_says_so(value: object, said: str) -> None:
    outcome = run(lambda: value)
    assert not outcome.is_success
    assert (outcome.error or "").startswith(said)
    assert outcome.result is None


def test_a_result_that_is_too_large_is_dropped_and_the_success_kept() -> None:
    outcome = run(lambda: "x" * (RESULT_LIMIT + 1))
    assert outcome.is_success
    assert outcome.result is None
    assert "so it was dropped" in outcome.log


def test_the_log_is_a_tail_of_bounded_size() -> None:
    def chatter() -> None:
        for n in range(50_000):
            print("line", n, "ä")

    log = run(chatter).log
    assert len(log.encode()) <= LOG_LIMIT
    assert log.startswith("[earlier output was dropped]\n")
    assert log.endswith("line 49999 ä\n")


def test_everything_that_a_task_says_is_in_its_log() -> None:
    def speak() -> None:
        import sys

        print("out", end=" ")
        print("err", file=sys.stderr)
        sys.stdout.buffer.write(b"bytes \xff\n")
        logging.getLogger("some.library").warning("logged %d", 1)
        logging.getLogger("some.library").debug("not this")
        print("nul \0 and \ud800")

    assert run(speak).log == ("out err\nbytes \ufffd\nWARNING some.library: logged 1\nnul \ufffd and \ufffd\n")


async def test_the_logs_of_calls_that_take_turns_stay_apart() -> None:
    async def speak(word: str) -> None:
        for _ in range(3):
            print(word)
            await asyncio.sleep(0)

    known_task = known(speak)
    with captured():
        outcomes = await asyncio.gather(
            *(with_execution_tracking(known_task, a_call({"word": word})) for word in ("a", "b"))
        )
    assert [outcome.log for outcome in outcomes] == ["a\na\na\n", "b\nb\nb\n"]


def test_what_is_echoed_is_masked_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setenv("TOKEN", "hunter22")
    record = Recording(echo=sys.stdout)
    with captured():
        execute(known(lambda token: print("it is", token)), a_call({"token": {"from_env": "TOKEN"}}), record=record)
    assert capsys.readouterr().out == "it is ***\n"


def test_a_secret_is_resolved_for_the_function_and_masked_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSN", "p@ss/word")
    (tmp_path / "key").write_text("first-line\nsecond-line\n")

    def leak(dsn: str, more: dict[str, list[str]]) -> None:
        from urllib.parse import quote

        assert dsn == "p@ss/word"
        print(dsn, quote(dsn, safe=""), repr(dsn))
        for line in more["keys"][0].splitlines():
            print("key:", line)
        raise ValueError(dsn)

    params = {"dsn": {"from_env": "DSN"}, "more": {"keys": [{"from_file": str(tmp_path / "key")}]}}
    outcome = run(leak, params)
    assert outcome.error == "ValueError: ***"
    assert outcome.log == "*** *** '***'\nkey: ***\nkey: ***\n"
    assert "p@ss" not in str(outcome)
    assert run(lambda **given: given, params).result == {"dsn": "***", "more": {"keys": ["***"]}}


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ({"from_env": "NO_SUCH"}, "from_env: the environment variable NO_SUCH is not set where the task runs"),
        ({"from_file": "/no/such"}, "from_file: /no/such cannot be read: No such file or directory"),
        ({"from_file": "/dev/zero"}, "from_file: /dev/zero is not a file"),
        ({"from_file": "/"}, "from_file: / is not a file"),
    ],
)
def test_a_secret_that_is_not_there_is_one_line(reference: dict[str, str], said: str) -> None:
    outcome = run(lambda secret: secret, {"secret": reference})
    assert (outcome.error, outcome.traceback) == (f"params: {said}", None)


def test_a_secret_of_the_wrong_type_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(n: int) -> None: ...

    monkeypatch.setenv("COUNT", "long-secret-" * 20)
    outcome = run(count, {"n": {"from_env": "COUNT"}})
    assert (outcome.error or "").startswith("params: n: '***' is not a whole number")


def test_an_async_function_is_cancelled_at_its_timeout_and_may_clean_up() -> None:
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            print("cleaned up")

    outcome = run(slow, timeout=0.01)
    assert (outcome.is_success, outcome.error, outcome.log) == (False, "timed out after 10ms", "cleaned up\n")
    assert "asyncio.sleep(60)" in (outcome.traceback or "")


def test_an_own_timeout_error_is_not_taken_for_ours() -> None:
    async def slow() -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(60)

    assert run(slow, timeout=60).error == "TimeoutError"


def test_a_function_that_returns_after_its_timeout_has_failed_still() -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "done"

    assert run(stubborn, timeout=0.01).error == "timed out after 10ms"


def test_a_record_holds_one_row() -> None:
    outcome = Outcome(False, 1.0, 2.5, "ValueError: x", "trace", None, "said")
    record = create_execution_record(
        a_call(),
        outcome,
        at=lambda moment: DUE + timedelta(seconds=moment),
        digest="d",
        attempts=[{"attempt": 1}],
        runner="host:1",
    )
    assert record == {
        "name": "nightly",
        "scheduled_for": DUE,
        "task": "under_test",
        "started_at": DUE + timedelta(seconds=1),
        "finished_at": DUE + timedelta(seconds=2.5),
        "is_success": False,
        "error": "ValueError: x",
        "traceback": "trace",
        "result": None,
        "log": "said",
        "attempts": [{"attempt": 1}],
        "trigger": "manual",
        "replays": None,
        "runner": "host:1",
        "token": None,
        "digest": "d",
        "revision": "abc",
    }
