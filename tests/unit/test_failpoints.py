"""Where a test may end a process: nowhere, unless it was asked to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler import failpoints
from reconciler.failpoints import EXIT_CODE, failpoint

PACKAGE = Path(failpoints.__file__).parent


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes of this process, had it ended each time that it would have."""
    found: list[int] = []
    monkeypatch.setattr(failpoints, "_end", found.append)
    return found


def test_nothing_ends_unless_it_is_asked_for(ends: list[int]) -> None:
    failpoint("after-take")
    assert ends == []


def test_the_step_that_is_named_ends_the_process_and_no_other(ends: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_step", "after-claim")
    failpoint("after-take")
    assert ends == []
    failpoint("after-claim")
    assert ends == [EXIT_CODE]


def test_it_may_be_a_later_time(ends: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_step", "after-claim")
    monkeypatch.setattr(failpoints, "_left", 3)
    for _ in range(2):
        failpoint("after-claim")
    assert ends == []
    failpoint("after-claim")
    assert ends == [EXIT_CODE]


def test_every_step_is_named_where_it_is_said_what_there_is() -> None:
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "failpoints.py")
    steps = set(re.findall(r'\bfailpoint\("([a-z-]+)"\)', text))
    assert steps
    assert {step for step in steps if step not in (failpoints.__doc__ or "")} == set()
