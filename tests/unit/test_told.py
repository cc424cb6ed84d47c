"""What a task says of its run and asks about it, and how what it prints is handed on: values in, values out."""

from __future__ import annotations

import asyncio
import io
import logging
import math
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import reconciler
from reconciler.children import board
from reconciler.children.board import Progress
from reconciler.children.frames import call_from, call_row, outcome_from, outcome_row
from reconciler.execute import Call, Outcome, execute, failed, stopped
from reconciler.execute.memory import went_beyond
from reconciler.execute.output import Recording
from reconciler.execute.pieces import LIMIT, Pieces, safe_length
from reconciler.registry import TASKS, RetryAfter, TaskContext, task
from reconciler.registry.context import Signs
from reconciler.registry.references import Mask

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("own_registry")


def a_call(**fields: Any) -> Call:
    return Call("id", "nightly", "under_test", {}, NOW, 1, "manual", "k", None, fields.pop("timeout", None), **fields)


def run(function: Callable[..., Any], record: Recording | None = None, **fields: Any) -> Outcome:
    TASKS.pop("under_test", None)
    task("under_test")(function)
    return execute(TASKS["under_test"], a_call(**fields), record=record)


def a_context() -> TaskContext:
    return TaskContext("n", NOW, NOW, 1, "manual", "k", None, logging.getLogger("task.n"))


def test_what_a_task_module_needs_comes_from_the_package_and_only_when_asked_for() -> None:
    assert (reconciler.RetryAfter, reconciler.TaskContext, reconciler.task) == (RetryAfter, TaskContext, task)
    with pytest.raises(AttributeError, match="no attribute 'tusk'"):
        reconciler.tusk  # noqa: B018
    code = "import sys, reconciler; print([name for name in sys.modules if name.startswith('reconciler.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (0, 0.0),
        (90, 90.0),
        (0.5, 0.5),
        (timedelta(minutes=2), 120.0),
        (NOW + timedelta(hours=1), 3600.0),
        (NOW - timedelta(hours=1), 0.0),
        (NOW + timedelta(days=4000), 366 * 86400.0),
    ],
)
def test_a_later_attempt_is_asked_for_in_seconds_a_length_or_a_moment(delay: Any, seconds: float) -> None:
    assert RetryAfter(delay).seconds(NOW) == seconds


@pytest.mark.parametrize(
    ("delay", "kind"),
    [
        (-1, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        (timedelta(days=-1), ValueError),
        (datetime(2026, 1, 2), ValueError),
        ("1h", TypeError),
        (True, TypeError),
        (None, TypeError),
    ],
)
def test_a_delay_that_is_none_is_an_error_where_it_is_written(delay: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="RetryAfter: "):
        RetryAfter(delay)


def test_its_reason_is_the_error_of_the_attempt() -> None:
    assert str(RetryAfter(5, "the bank is closed")) == "the bank is closed"
    assert str(RetryAfter(90)) == "again in 90 s"
    assert str(RetryAfter(timedelta(minutes=5))) == "again in 0:05:00"
    assert str(RetryAfter(NOW)) == "again at 2026-01-02 03:04:00 UTC"


def test_it_comes_out_of_another_process_as_it_was_raised() -> None:
    copy = pickle.loads(pickle.dumps(RetryAfter(90, "the bank is closed")))
    assert (copy.delay, copy.why, str(copy)) == (90.0, "the bank is closed", "the bank is closed")


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


class Unreachable(ConnectionError):
    pass


UNREACHABLE = (f"{__name__}.Unreachable", "builtins.ConnectionError", "builtins.OSError", "builtins.Exception")


@pytest.mark.parametrize(
    ("error", "kinds", "retry_after"),
    [
        (Unreachable(), UNREACHABLE, None),
        (ExceptionGroup("one", [Unreachable()]), UNREACHABLE, None),
        (
            ExceptionGroup("two", [Unreachable(), KeyError()]),
            ("builtins.ExceptionGroup", "builtins.BaseExceptionGroup", "builtins.Exception"),
            None,
        ),
        (SystemExit(1), ("builtins.SystemExit",), None),
        (RetryAfter(7), ("reconciler.registry.context.RetryAfter", "builtins.Exception"), 7.0),
        (ExceptionGroup("one", [RetryAfter(7)]), ("reconciler.registry.context.RetryAfter", "builtins.Exception"), 7.0),
    ],
)
def test_an_outcome_names_what_was_raised(
    error: BaseException, kinds: tuple[str, ...], retry_after: float | None
) -> None:
    outcome = run(raising(error))
    assert (outcome.kinds, outcome.retry_after) == (kinds, retry_after)


def test_a_time_out_is_a_timeout_error_and_a_success_is_nothing() -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    assert run(slow, timeout=0.01).kinds == ("builtins.TimeoutError", "builtins.OSError", "builtins.Exception")
    assert run(lambda: 1).kinds == ()
    assert run(lambda: object()).kinds[1] == "builtins.ValueError"


def test_memory_beyond_the_limit_is_named_and_the_limit_is_gone_afterwards() -> None:
    size = 4 * 2**30
    outcome = run(lambda: bytearray(size) and None, memory_limit=2 * 2**30)
    assert (outcome.error, outcome.kinds[0]) == ("went beyond memory_limit 2G", "builtins.MemoryError")
    assert run(raising(OSError(12, "no memory")), memory_limit=2**30).error == "went beyond memory_limit 1G"
    assert run(raising(MemoryError())).error == "MemoryError"
    assert run(raising(OSError(2, "no file")), memory_limit=2**30).error.startswith("FileNotFoundError")


@pytest.mark.parametrize(("size", "text"), [(512 * 2**20, "512M"), (2**31, "2G"), (1000, "1000"), (3 * 2**10, "3K")])
def test_a_limit_is_written_as_in_a_spec(size: int, text: str) -> None:
    assert went_beyond(size) == f"went beyond memory_limit {text}"


@pytest.mark.parametrize(
    ("fraction", "text", "kind"),
    [
        (7, "", ValueError),
        (-0.1, "", ValueError),
        (math.nan, "", ValueError),
        (math.inf, "", ValueError),
        ("half", "", TypeError),
        (None, "", TypeError),
        (True, "", TypeError),
        (0.5, 3, TypeError),
    ],
)
def test_a_progress_that_is_none_is_an_error_where_it_is_said(fraction: Any, text: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="progress: "):
        a_context().progress(fraction, text)


def test_only_the_newest_progress_is_kept() -> None:
    context = a_context()
    for n in range(11):
        context.progress(n / 10, f"row {n}")
    assert context.signs.progress == (1.0, "row 10")


def test_cancelled_is_true_once_it_was_asked_for_or_the_time_is_over() -> None:
    context = a_context()
    assert not context.cancelled
    assert not context.signs.was_told
    context.signs.ask_to_stop()
    assert context.cancelled
    assert context.signs.was_told
    assert Signs(ends_at=time.monotonic()).should_stop()
    assert not Signs(ends_at=time.monotonic() + 60).should_stop()


def test_a_call_that_was_stopped_has_failed_whatever_it_returned() -> None:
    outcome = stopped(Outcome(True, 1.0, 2.0, None, None, 5, "said"), "cancelled by anna")
    assert outcome == Outcome(False, 1.0, 2.0, "cancelled by anna", None, None, "said")


@pytest.mark.parametrize(
    "call",
    [
        a_call(),
        a_call(memory_limit=5),
        a_call(last_success=NOW),
        a_call(last_result={"a": 1}, follow=True),
        a_call(timeout=3.0, memory_limit=5, last_success=NOW, last_result=0, follow=True),
    ],
)
def test_a_call_arrives_as_it_was_sent(call: Call) -> None:
    assert call_from(call_row(7, call)) == call


def test_what_few_calls_have_costs_the_others_nothing() -> None:
    assert len(call_row(7, a_call())) == 11
    assert len(outcome_row(7, Outcome(True, 1.0, 2.0))) == 3


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(True, 1.0, 2.0, None, None, 5),
        Outcome(False, 1.0, 2.0, "x", kinds=("a.B",), retry_after=7.0),
        failed("gone", since=1.0),
    ],
)
def test_an_outcome_arrives_as_it_was_sent(outcome: Outcome) -> None:
    assert outcome_from([*outcome_row(7, outcome)]) == outcome


def test_progress_is_read_once_and_only_of_the_call_that_is_meant() -> None:
    numbers = board.view(board.create())
    child, parent = Progress(numbers), Progress(numbers)
    assert parent.read(1) is None
    child.write(1, 0.25, "ä" * 2000)
    fraction, text = parent.read(1) or (0, "")
    assert (fraction, set(text)) == (0.25, {"ä"})
    assert parent.read(1) is None
    child.write(1, 0.5, "")
    assert parent.read(2) is None
    assert parent.read(1) == (0.5, "")
    numbers[board.CHANGES] += 1
    assert parent.read(1) is None


MASK = Mask(("hunter22", "abcab"))


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("nothing here", ""),
        ("the word is hunt", "hunt"),
        ("the word is hunter22", ""),
        ("hunter22h", "h"),
        ("x hunter2", "hunter2"),
        ("xabcab", "abcab"),
        ("xabc", "abc"),
        ("", ""),
    ],
)
def test_what_may_become_a_secret_waits_for_its_rest(text: str, rest: str) -> None:
    assert text[safe_length(text, MASK.needles) :] == rest


@pytest.mark.parametrize("size", range(1, 12))
def test_a_secret_is_masked_however_it_is_cut_into_pieces(size: int) -> None:
    whole = "the word is hunter22, abcabcab and hunter2hunter22 hunt"
    pieces, told = Pieces(), ""
    for at in range(0, len(whole), size):
        pieces.feed(whole[at : at + size])
        told += "".join(text for _, text in pieces.take(MASK))
    told += "".join(text for _, text in pieces.take(MASK, is_last=True))
    assert told == MASK(whole)


def test_each_piece_begins_where_the_one_before_ended() -> None:
    pieces = Pieces(100, "so far ")
    assert pieces.take(Mask()) == [(100, "so far ")]
    assert pieces.take(Mask()) == []
    pieces.feed("and ")
    pieces.feed("on\0")
    assert pieces.take(Mask()) == [(107, "and on\ufffd")]


def test_more_than_can_be_followed_is_a_line_and_the_newest() -> None:
    pieces = Pieces()
    for _ in range(100):
        pieces.feed("x" * 10_000)
    pieces.feed("the end\n")
    (first, line), (second, text) = pieces.take(Mask())
    assert (first, line) == (0, f"[{second} characters left out: more than can be followed]\n")
    assert text.endswith("the end\n")
    assert len(text) <= LIMIT
    assert second + len(text) == 1_000_008
    pieces.feed("more")
    assert pieces.take(Mask()) == [(1_000_008, "more")]


def test_a_secret_that_a_cut_has_torn_is_not_told() -> None:
    torn = Pieces(50, "ter22 and the rest")
    assert "ter22" not in "".join(text for _, text in torn.take(MASK))


def test_who_follows_later_is_given_what_is_kept_once() -> None:
    own = Recording()
    own.write("before ")
    own.follow(Pieces)
    own.write("after")
    own.follow(Pieces)
    assert own.pieces is not None
    assert own.pieces.take(Mask()) == [(0, "before after")]


def test_a_terminal_shows_how_far_a_run_is_below_what_it_prints() -> None:
    from reconciler.cli.screen import CLEARED, EVERY, Screen, Shown

    stream = io.StringIO()
    screen = Screen(stream)
    own = Recording(mask=MASK)
    shown = Shown(screen, own)
    shown.report(0.4, "row hunter22")
    shown.report(0.41, "too soon")
    assert EVERY > 0
    screen.write("half a line")
    shown.report(1.0, "not behind it")
    screen.write("\n")
    shown.report(1.0, "done")
    screen.clear()
    assert stream.getvalue() == f"{CLEARED} 40% row ***{CLEARED}half a line\n{CLEARED}100% done{CLEARED}"
