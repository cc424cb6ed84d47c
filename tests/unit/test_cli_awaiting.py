"""What is shown of a run that somebody waits for: as it comes, nothing twice, and the rest at the end."""

from __future__ import annotations

import pytest

from reconciler.cli.awaiting import Shown, rest_of


@pytest.mark.parametrize(
    ("pieces", "log", "shown"),
    [
        ([], "all of it\n", "all of it\n"),
        ([(0, "a\n"), (2, "b\n")], "a\nb\nc\n", "a\nb\nc\n"),
        ([(0, "a\n"), (2, "b\n")], "a\nb\n", "a\nb\n"),
        ([(0, "a\n"), (0, "a\n")], "a\n", "a\na\n"),  # a second attempt says the same again
        ([(2, "b\n"), (2, "b\n")], "a\nb\nc\n", "b\nc\n"),  # the first piece was lost, the second came twice
        ([(0, "ended by another\n")], "a log of its own\n", "ended by another\na log of its own\n"),
        ([(0, "first\n"), (90_000, "last\n")], "[earlier output was dropped]\nlast\nmore\n", "first\nlast\nmore\n"),
        ([(0, "no end of line")], "no end of line", "no end of line\n"),
    ],
)
def test_a_log_is_shown_once(
    pieces: list[tuple[int, str]], log: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Shown()
    for offset, text in pieces:
        screen.hear(offset, text)
    screen.finish(log)
    assert capsys.readouterr().err == shown


def test_where_pieces_were_lost_what_comes_after_the_last_one_is_shown() -> None:
    lines = [f"line {number}\n" for number in range(1000)]
    assert rest_of("".join(lines), "".join(lines[:300]) + "".join(lines[400:500])) == "".join(lines[500:])
