"""What is said about passes, and what is not said again."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from reconciler.db.sources import Pin
from reconciler.gitrepo import NO_REVISION, Revision
from reconciler.plan import Change, Plan
from reconciler.plan.guards import Refusal
from reconciler.spec.specset import Fault
from reconciler.sync.notices import Notices, applied
from reconciler.sync.reconcile import Pass

REVISION = Revision("a1b2c3d4" * 5)
NOTHING = Pass(Plan((), 3), aligned=0)
FAULT = Fault("specs/bad.yaml", 4, 12, "schedule", "'60 * * * *' has minute 60; minutes run 0-59")
OTHER = Fault("specs/worse.yaml", 1, 1, "task", "is missing")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="reconciler.loop")
    return caplog


def lines(said: pytest.LogCaptureFixture) -> list[str]:
    """What was said since the last time."""
    found = said.messages
    said.clear()
    return found


def test_a_pass_that_changed_nothing_is_not_mentioned(said: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    for outcome in (NOTHING, Pass(is_busy=True), NOTHING):
        notices.passed(outcome, REVISION)
    assert lines(said) == []


def test_what_was_applied_is_one_line() -> None:
    names = ["nightly-sales", "report", "disk-space"]
    changes = [Change("create", names[0], "", ""), *(Change("update", name, "", "") for name in names[1:])]
    plan = Plan(tuple(changes), 0)
    assert applied(plan, REVISION) == "applied a1b2c3d: 1 created, 2 updated (nightly-sales, report, disk-space)"
    assert applied(plan, NO_REVISION).startswith("applied: 1 created")
    many = Plan(tuple(Change("delete", f"c{n}", "", "") for n in range(1234)), 0)
    assert applied(many, REVISION) == "applied a1b2c3d: 1,234 deleted (c0, c1, c2, c3, c4, …)"


def test_a_fault_is_said_once_until_it_is_gone(said: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    for _ in range(3):
        notices.passed(Pass(faults=(FAULT,)), REVISION)
    assert lines(said) == [str(FAULT)]
    notices.passed(Pass(faults=(FAULT, OTHER)), REVISION)
    assert lines(said) == [str(OTHER)]
    notices.passed(NOTHING, REVISION)
    assert lines(said) == ["specs are good again"]
    notices.passed(Pass(faults=(FAULT,)), REVISION)
    assert lines(said) == [str(FAULT)]


def test_a_pass_left_to_another_service_says_nothing_about_faults(said: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    notices.passed(Pass(faults=(FAULT,)), REVISION)
    lines(said)
    notices.passed(Pass(is_busy=True), REVISION)
    assert lines(said) == []


def test_a_store_is_one_line_when_it_goes_and_one_when_it_is_back(said: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    for reason in ("postgresql: x: refused", "postgresql: x: timed out"):
        notices.postgresql_away(reason)
    assert lines(said) == ["postgresql: x: refused"]
    notices.passed(NOTHING, REVISION)
    assert lines(said) == ["postgresql: back"]
    for reason in ("redis: y: refused", "redis: y: timed out"):
        notices.passed(Pass(Plan((), 3), trouble=reason), REVISION)
    assert lines(said) == ["redis: y: refused"]
    notices.passed(NOTHING, REVISION)
    notices.passed(NOTHING, REVISION)
    assert lines(said) == ["redis: back, and in step with postgresql"]


def test_a_refusal_is_said_once(said: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    refused = Pass(Plan((), 3, (Refusal("prune", "prune refused: 14 of 20", ("a",)),)), aligned=0)
    for _ in range(2):
        notices.passed(refused, REVISION)
    assert lines(said) == ["prune refused: 14 of 20"]


def test_what_nobody_foresaw_is_said_once_with_its_traceback(said: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    for _ in range(2):
        notices.failed(KeyError("x"))
    [record] = said.records
    assert record.exc_info
    lines(said)
    notices.passed(NOTHING, REVISION)
    assert lines(said) == ["specs are good again"]


def test_with_several_sources_each_line_names_its_own(said: pytest.LogCaptureFixture) -> None:
    Notices("team-a").passed(Pass(faults=(FAULT,)), REVISION)
    assert lines(said) == [f"team-a: {FAULT}"]
    Notices("team-a").source(["source 'team-a': no route"])
    assert lines(said) == ["source 'team-a': no route"]


def test_a_source_that_is_away_is_said_once_and_when_it_is_back(said: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    for _ in range(3):
        notices.source(["source 'default': https://git.example/x: no route"])
    assert lines(said) == ["source 'default': https://git.example/x: no route"]
    notices.source(["source 'default': the commit is not signed"])
    assert lines(said) == ["source 'default': the commit is not signed"]
    for _ in range(2):
        notices.source([])
    assert lines(said) == ["the source can be read again"]


def test_a_source_that_is_away_takes_back_no_fault_of_its_specs(said: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    notices.passed(Pass(faults=(FAULT,)), REVISION)
    notices.source(["away"])
    notices.source([])
    lines(said)
    notices.passed(Pass(faults=(FAULT,)), REVISION)
    assert lines(said) == []


def test_a_pin_is_said_once_and_when_it_ends(said: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    pin = Pin("9f8e7d6c" * 5, "ada", datetime(2026, 11, 24, 12, tzinfo=UTC), "wrong totals", "a1b2c3d4" * 5)
    for _ in range(3):
        notices.passed(Pass(Plan((), 3), aligned=0, pin=pin), REVISION)
    assert lines(said) == ["pinned at 9f8e7d6 by ada since 2026-11-24 12:00 UTC: wrong totals"]
    for _ in range(2):
        notices.passed(NOTHING, REVISION)
    assert lines(said) == ["no longer pinned"]


def test_what_is_held_or_drifts_is_said_once(said: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    drifted = (Change("update", "nightly", "", "was changed in PostgreSQL by hand", is_drift=True),)
    for _ in range(2):
        notices.passed(Pass(Plan((), 1, held=("b", "a"), drifted=drifted), faults=(FAULT,), aligned=0), REVISION)
    assert lines(said) == [
        str(FAULT),
        "held: a, b: the last good state stays",
        "drift: nightly: was changed in PostgreSQL by hand: left, and reported only",
    ]
    put_right = Plan(drifted, 1)
    for _ in range(2):  # it happened twice
        notices.passed(Pass(put_right, aligned=0), REVISION)
    assert lines(said) == [
        "specs are good again",
        *["applied a1b2c3d: 1 updated (nightly)", "drift: changed by hand and put right: nightly"] * 2,
    ]
