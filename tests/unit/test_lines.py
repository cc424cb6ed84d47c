"""What of a text fits into a line, and how a line names a command."""

from __future__ import annotations

import pytest

from reconciler.lines import bare, first_line, of_source


@pytest.mark.parametrize(
    ("text", "line"),
    [(None, ""), ("", ""), ("\n\n  boom \nmore", "boom"), ("x" * 90, "x" * 79 + "…")],
)
def test_of_an_error_the_first_line_that_says_something_is_shown(text: str | None, line: str) -> None:
    assert first_line(text) == line


def test_a_command_names_the_source_that_it_is_for_unless_it_is_the_usual_one() -> None:
    assert of_source("reconciler apply", "default") == "reconciler apply"
    assert of_source("reconciler apply", "team") == "reconciler apply --source team"


def test_beside_the_name_of_a_source_its_error_does_not_say_it_again() -> None:
    assert bare("source 'far': no route", "far") == "no route"
    assert bare("source 'far': no route", "near") == "source 'far': no route"
