"""What of a text fits into a line."""

from __future__ import annotations

import pytest

from reconciler.lines import first_line


@pytest.mark.parametrize(
    ("text", "line"),
    [(None, ""), ("", ""), ("\n\n  boom \nmore", "boom"), ("x" * 90, "x" * 79 + "…")],
)
def test_of_an_error_the_first_line_that_says_something_is_shown(text: str | None, line: str) -> None:
    assert first_line(text) == line
