"""What a person at a terminal sees of work that takes long: something within a second, then a line each second."""

from __future__ import annotations

import io

import pytest

from reconciler.cli.progress import Progress, progress


def shown(moments: list[tuple[float, int]]) -> list[str]:
    """What was written at each moment."""
    clock = iter([0.0, *(moment for moment, _ in moments)])
    stream = io.StringIO()
    one = Progress("reading specs", stream, lambda: next(clock))
    written = []
    for _, done in moments:
        stream.truncate(0)
        stream.seek(0)
        one(done, 10_000)
        written.append(stream.getvalue())
    return written


def test_quick_work_shows_nothing() -> None:
    assert shown([(0.0, 1), (0.2, 5_000), (0.4, 10_000)]) == ["", "", ""]


def test_long_work_is_on_the_screen_within_a_second_and_anew_each_second() -> None:
    moments = [(0.4, 100), (0.7, 2_000), (0.9, 2_500), (1.5, 4_000), (1.8, 5_000), (2.6, 9_000)]
    assert shown(moments) == [
        "",
        "\r\x1b[Kreading specs: 2,000 of 10,000",
        "",
        "",
        "\r\x1b[Kreading specs: 5,000 of 10,000",
        "",
    ]


def test_nothing_of_it_is_left() -> None:
    now = 0.0
    stream = io.StringIO()
    one = Progress("applying", stream, lambda: now)
    one.clear()
    assert stream.getvalue() == ""
    now = 3.0
    one.passed()
    one.clear()
    assert stream.getvalue() == "\r\x1b[Kapplying: 3 s\r\x1b[K"


def test_through_a_pipe_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with progress("reading specs") as report:
        assert report is None
