"""What became of an instant, said in a sentence: one table for each kind of evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.ledger import (
    Book,
    Claimed,
    Evidence,
    Outage,
    Override,
    Presence,
    Revision,
    Run,
    Skipped,
    coming,
    ledger,
    verdict,
)
from reconciler.ledger.evidence import Removal
from reconciler.spec import TaskSpec

DAY = datetime(2026, 3, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def at(text: str) -> datetime:
    """`03:00`, or with the day of the month: `09 03:00`."""
    day, _, clock = text.rpartition(" ")
    return datetime.fromisoformat(f"2026-03-{day or '10'}T{clock}").replace(tzinfo=UTC)


def spec(**fields: Any) -> TaskSpec:
    return TaskSpec.from_document({"name": "a", "task": "t", "schedule": ["0 * * * *"], **fields})


def revision(since: str = "01 00:00", until: str | None = None, **fields: Any) -> Revision:
    parts = {"commit": "1a2b3c4d5e6f", "author": "Ada <ada@example.org>", "subject": "hourly"}
    parts |= {key: fields.pop(key) for key in ("commit", "is_removed", "removal", "subject") if key in fields}
    written = spec(**fields)
    return Revision(written, written.digest, at(since), at(until) if until else None, **parts)


def ran(due: str, start: str, end: str | None = None, **fields: Any) -> Run:
    started = at(start)
    return Run(
        at(due),
        started,
        at(end) if end else started + 3 * SECOND,
        **{"is_success": True, "trigger": "schedule"} | fields,
    )


THERE = Presence("alpha:41", at("01 00:00"), None)


def known(*rows: Any, now: str = "12:30", through: str = "12:00", **fields: Any) -> Evidence:
    """Evidence with these rows, each where it belongs; an hourly spec unless another is among them."""

    def of(kind: type) -> tuple[Any, ...]:
        return tuple(row for row in rows if isinstance(row, kind))

    return Evidence(
        name="a",
        now=at(now),
        through=at(through),
        revisions=of(Revision) or (revision(),),
        runs=of(Run),
        claims=of(Claimed),
        skips=of(Skipped),
        pauses=of(Override),
        presences=of(Presence),
        outages=of(Outage),
        **fields,
    )


def claimed(due: str = "12:00", **fields: Any) -> Claimed:
    return Claimed(at(due), **{"trigger": "schedule", "queue": "default", "not_before": at(due)} | fields)


SAID: list[tuple[str, tuple[Any, ...], str, str, str]] = [
    ("on time", (ran("03:00", "03:00:00"),), "03:00", "ran", "ran on time; it succeeded in 3 s"),
    (
        "late because nobody was there",
        (
            ran("03:00", "03:00:12", runner="alpha:42"),
            Presence("alpha:41", at("01:00"), at("02:59:50"), "stopped"),
            Presence("alpha:42", at("03:00:11"), None),
        ),
        "03:00",
        "ran",
        "ran 12 s late: the runner was down from 02:59:50 to 03:00:11; it succeeded in 3 s on alpha:42",
    ),
    (
        "late because a store was away",
        (
            ran("03:00", "03:02:00"), THERE,
            Outage("alpha:41", "postgresql: cannot connect", at("02:59"), at("03:01:59")),
        ),
        "03:00",
        "ran",
        "ran 2 min late: alpha:41 was cut off from 02:59 to 03:01:59 (postgresql: cannot connect); it succeeded in 3 s",
    ),
    (
        "late because it waited for the one before",
        (revision(overlap="queue"), ran("02:00", "02:00:00", "03:05:00"), ran("03:00", "03:05:00"), THERE),
        "03:00",
        "ran",
        "ran 5 min late: it waited for the run of 02:00, which took 65 min; it succeeded in 3 s",
    ),
    (
        "late, and only a guess is left",
        (ran("03:00", "03:05:00"), THERE),
        "03:00",
        "ran",
        "ran 5 min late: runners were there, so most likely none had a free slot; it succeeded in 3 s",
    ),
    (
        "asked for by hand, and late by the same guess",
        (ran("05:00:07.123", "05:00:17.2", trigger="manual"), THERE),
        "05:00:07.123",
        "ran",
        "was asked for by hand and ran 10 s later: runners were there, so most likely none had a free slot; "
        "it succeeded in 3 s",
    ),
    (
        "filled in, and why it did not run at first",
        (
            ran("03:00", "09:00", trigger="backfill", actor="ada"),
            Skipped(at("02:00"), at("03:00"), 2, "paused", "paused by ada: db maintenance"),
        ),
        "03:00",
        "ran",
        "was filled in by hand by ada and ran; it succeeded in 3 s; when it was due it did not run: "
        "paused by ada: db maintenance",
    ),
    (
        "a run that somebody asked for is no neighbour of an instant",
        (ran("03:10:00.5", "03:10:01", trigger="manual"),),
        "03:20",
        "not due",
        "was not due: the schedule is every hour; the one before is 03:00, the next is 04:00",
    ),
    (
        "made up for",
        (ran("03:00", "09:00:10", trigger="catch_up"), Presence("b:1", at("09:00:09"), None)),
        "03:00",
        "ran",
        "ran 6 h late, to make up for it: no runner that could run it was there until 09:00:09; it succeeded in 3 s",
    ),
    (
        "each attempt and where it was",
        (
            ran(
                "03:00", "03:01:00", is_success=False, error="ValueError: no\nmore", runner="b:2",
                attempts=({"attempt": 1, "started_at": "2026-03-10T03:00:00Z", "finished_at": "2026-03-10T03:00:05Z",
                           "error": "the runner died", "runner": "a:1"},),
            ),
        ),
        "03:00",
        "failed",
        "ran on time; it failed after 3 s on b:2: ValueError: no; that was its 2nd attempt: "
        "attempt 1 failed at 03:00:05 on a:1: the runner died",
    ),
    (
        "a rerun names what it replays",
        (ran("05:00:07.123", "05:00:08", trigger="rerun", replays=at("03:00"), actor="ada"),),
        "05:00:07.123",
        "ran",
        "is a rerun of 03:00, asked for by ada, and ran; it succeeded in 3 s",
    ),
    (
        "what was replayed lists its reruns",
        (
            ran("03:00", "03:00:00", is_success=False, error="no"),
            ran("05:00:07.123", "05:00:08", trigger="rerun", replays=at("03:00")),
            claimed("06:00:00.5", trigger="rerun", replays=at("03:00")),
        ),
        "03:00",
        "failed",
        "ran on time; it failed after 3 s: no; run again at 05:00:07.123 (succeeded), 06:00:00.500 (not over yet)",
    ),
    (
        "asked for by hand",
        (ran("05:00:07.123", "05:00:07.2", trigger="manual", actor="ada@host"),),
        "05:00:07.123",
        "ran",
        "was asked for by hand by ada@host and ran; it succeeded in 3 s",
    ),
    (
        "after others",
        (revision(schedule=[], after=["load"]), ran("05:00", "05:00:00", trigger="after")),
        "05:00",
        "ran",
        "followed the success of load and ran; it succeeded in 3 s",
    ),
    (
        "running",
        (
            claimed(started_at=at("12:00:00.2"), runner="alpha:41", progress={"fraction": 0.4, "text": "loading"}),
            THERE,
        ),
        "12:00",
        "running",
        "ran on time; it is running since 12:00 on alpha:41, 40 % done ('loading')",
    ),
    (
        "running, asked for by hand",
        (claimed(started_at=at("12:00"), runner="alpha:41", trigger="manual", actor="ada"),),
        "12:00",
        "running",
        "was asked for by hand by ada; it is running since 12:00 on alpha:41",
    ),
    (
        "waiting for another attempt",
        (
            claimed(
                not_before=at("12:40"),
                attempts=({"attempt": 1, "finished_at": "2026-03-10T12:20:00Z", "error": "OSError", "runner": "a:1"},),
            ),
        ),
        "12:00",
        "waiting",
        "waits for its 2nd attempt at 12:40 or later: attempt 1 failed at 12:20 on a:1: OSError",
    ),
    (
        "waiting for the run before",
        (claimed("11:00", started_at=at("11:00")), claimed(), THERE),
        "12:00",
        "waiting",
        "waits for the run of 11:00, running since 11:00",
    ),
    (
        "waiting for a runner",
        (claimed(queue="slow", start_by=at("12:45")),),
        "12:00",
        "waiting",
        "waits for a runner: none is there that has its task and serves queue 'slow'; it starts by 12:45 or not at all",
    ),
    ("waiting for a slot", (claimed(), THERE), "12:00", "waiting", "waits for a free slot in queue 'default'"),
    (
        "paused",
        (
            Skipped(at("02:00"), at("03:00"), 2, "paused", "paused by ada: db maintenance"),
            Override(at("01:50"), at("04:00"), "ada", "db maintenance"),
        ),
        "03:00",
        "paused",
        "did not run: paused by ada from 01:50 to 04:00, 'db maintenance'",
    ),
    (
        "paused by label",
        (
            Skipped(at("02:00"), at("03:00"), 2, "paused"),
            Override(at("01:50"), at("04:00"), "ada", None, {"team": "x"}),
        ),
        "03:00",
        "paused",
        "did not run: paused with everything labelled team=x by ada from 01:50 to 04:00",
    ),
    (
        "a pause that is forgotten is told by its skip",
        (Skipped(at("02:00"), at("03:00"), 2, "paused", "paused by ada: db maintenance"),),
        "03:00",
        "paused",
        "did not run: paused by ada: db maintenance",
    ),
    (
        "missed",
        (
            Skipped(at("02:00"), at("06:00"), 5, "missed", "only the latest is made up for"),
            ran("07:00", "07:10:01", trigger="catch_up"),
            Presence("alpha:41", at("01:00"), at("01:40"), "died"),
            Presence("alpha:42", at("07:10"), None),
        ),
        "03:00",
        "missed",
        "did not run: missed: the runner had died, and none was there from 01:40 to 07:10 "
        "(only the latest is made up for)",
    ),
    (
        "missed though runners were there",
        (Skipped(at("02:00"), at("06:00"), 5, "missed", "only the latest is made up for"), THERE),
        "03:00",
        "missed",
        "did not run: missed: runners were there, so most likely none had a free slot (only the latest is made up for)",
    ),
    (
        "overlap names the run and how long it took",
        (
            Skipped(at("03:00"), at("03:00"), 1, "overlap", "the run of 2026-03-10T02:00:00Z was still going"),
            ran("02:00", "02:00:00", "03:05:00"),
        ),
        "03:00",
        "skipped",
        "did not run: overlap: the run of 02:00 was still going (it took 65 min, from 02:00 to 03:05)",
    ),
    (
        "deadline",
        (Skipped(at("03:00"), at("03:00"), 1, "deadline", "not started within 10m"),),
        "03:00",
        "skipped",
        "did not run: deadline: not started within 10m",
    ),
    (
        "deadline, and what kept it from starting",
        (
            revision(deadline={"start": "10m"}),
            Skipped(at("03:00"), at("04:00"), 2, "deadline", "not started within 10m"),
            Presence("alpha:41", at("01:00"), at("02:50"), "stopped"),
            Presence("alpha:42", at("04:30"), None),
        ),
        "03:00",
        "skipped",
        "did not run: deadline: not started within 10m: the runner was down from 02:50 to 04:30",
    ),
    (
        "deadline, though runners were there",
        (
            revision(deadline={"start": "10m"}),
            Skipped(at("03:00"), at("03:00"), 1, "deadline", "not started within 10m"),
            THERE,
        ),
        "03:00",
        "skipped",
        "did not run: deadline: not started within 10m: runners were there, so most likely none had a free slot",
    ),
    (
        "cancelled",
        (Skipped(at("03:00"), at("03:00"), 1, "cancelled", "cancelled by ada: not today"),),
        "03:00",
        "skipped",
        "did not run: cancelled by ada: not today",
    ),
    (
        "edited away before it was decided",
        (
            revision(until="03:10"),
            revision("03:10", commit="ffff3c4d", subject="later", schedule=["30 * * * *"]),
            Skipped(at("02:00"), at("03:00"), 2, "edited", "edited, its instants count from now on"),
        ),
        "03:00",
        "skipped",
        "did not run: before it was decided, commit ffff3c4 (Ada: 'later') changed the spec",
    ),
    (
        "suspended before it was decided leaves no row",
        (revision(until="03:10"), revision("03:10", commit="ffff3c4d", subject="off", suspend=True)),
        "03:00",
        "skipped",
        "did not run: before it was decided, commit ffff3c4 (Ada: 'off') suspended it",
    ),
    (
        "the schedule said so until it was edited",
        (revision(until="03:10", schedule=["0 3 * * *"]), revision("03:10", commit="ffff3c4d", subject="later",
                                                                   schedule=["0 5 * * *"])),
        "11 03:00",
        "not due",
        "is not due: the schedule said 'at 03:00, UTC' until commit ffff3c4 (Ada: 'later'); "
        "the one before is 2026-03-10 05:00, the next is 05:00",
    ),
    (
        "it says so only since",
        (revision(until="03:10", schedule=["0 5 * * *"]), revision("03:10", commit="ffff3c4d", subject="earlier",
                                                                   schedule=["0 3 * * *"])),
        "03:00",
        "not due",
        "was not due: the schedule says 'at 03:00, UTC' only since commit ffff3c4 (Ada: 'earlier'); "
        "it said 'at 05:00, UTC'; the one before is 2026-03-09 05:00, the next is 2026-03-11 03:00",
    ),
    (
        "before there was a spec",
        (revision("03:10"),),
        "03:00",
        "not due",
        "was not due: the spec came with commit 1a2b3c4 (Ada: 'hourly'), at 03:10; the next is 04:00",
    ),
    (
        "after it was removed",
        (revision(until="02:10", is_removed=True, removal=Removal("ffff3c4d", "Bob", "tidy")),),
        "03:00",
        "not due",
        "was not due: there was no spec: commit ffff3c4 (Bob: 'tidy') had removed it; the one before is 02:00",
    ),
    (
        "on a day without a run",
        (revision(skip_on=["2026-03-10"]),),
        "03:00",
        "not due",
        "was not due: 2026-03-10 is among the days in skip_on; "
        "the one before is 2026-03-09 23:00, the next is 2026-03-11 00:00",
    ),
    (
        "suspended",
        (revision(suspend=True),),
        "03:00",
        "not due",
        "was not due: the spec is suspended since commit 1a2b3c4 (Ada: 'hourly')",
    ),
    (
        "without a schedule",
        (revision(schedule=[]),),
        "03:00",
        "not due",
        "was not due: it has no schedule, only when it is asked for",
    ),
    ("planned", (), "14:00", "planned", "is due in 90 min"),
    (
        "planned under a pause",
        (Override(at("12:00"), at("16:00"), "ada", "freeze"),),
        "14:00",
        "paused",
        "will not run: paused by ada from 12:00 to 16:00, 'freeze'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "instant", "kind", "sentence"), [one[1:] for one in SAID], ids=[one[0] for one in SAID]
)
def test_a_verdict_is_a_sentence(rows: tuple[Any, ...], instant: str, kind: str, sentence: str) -> None:
    found = verdict(known(*rows), at(instant))
    assert (found.kind, found.sentence) == (kind, sentence)


BERLIN = {"schedule": ["30 2 * * *"], "timezone": "Europe/Berlin"}
CLOCKS: list[tuple[dict[str, Any], str, str, str]] = [
    (
        {"dst": {"gap": "skip"}}, "29 01:00", "not due",
        "is not due: the schedule is at 02:30, Europe/Berlin; clocks go forward from 02:00 to 03:00 that day: "
        "02:30 does not run; the one before is 2026-03-28 02:30, the next is 2026-03-30 02:30",
    ),
    (
        {}, "29 01:00", "planned",
        "is due in 18 d 12 h; clocks go forward from 02:00 to 03:00 that day: 02:30 runs once, at 01:00 UTC",
    ),
    ({}, "28 01:30", "planned", "is due in 17 d 13 h"),
    (
        {}, "28 02:30", "not due",
        "is not due: the schedule is at 02:30, Europe/Berlin; the one before is 02:30, the next is 2026-03-29 03:00",
    ),
    (
        {"schedule": ["0 4 * * *"]}, "29 01:00", "not due",
        "is not due: the schedule is at 04:00, Europe/Berlin; the one before is 2026-03-28 04:00, the next is 04:00",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "instant", "kind", "sentence"), CLOCKS)
def test_what_the_clocks_do_that_day_is_said(fields: dict[str, Any], instant: str, kind: str, sentence: str) -> None:
    found = verdict(known(revision(**{**BERLIN, **fields}), through="03:00", zone="Europe/Berlin"), at(instant))
    assert (found.kind, found.sentence) == (kind, sentence)


def test_what_nobody_has_decided_yet_though_a_runner_is_there_lacks_a_slot() -> None:
    found = verdict(known(THERE, through="11:00"), at("12:00"))
    assert found.sentence.endswith("not decided yet: runners were there, so most likely none had a free slot")
    soon = verdict(known(THERE, through="11:00", now="12:00:01"), at("12:00"))
    assert soon.sentence.endswith("is not decided yet: a runner may do so at any moment")


def test_what_nobody_has_decided_yet_is_due_and_says_who_is_missing() -> None:
    gone = Presence("alpha:41", at("01:00"), at("11:30"), "died")
    found = verdict(known(gone, through="11:00"), at("12:00"))
    assert found.kind == "due"
    assert found.sentence == (
        "was due 30 min ago and is not decided yet: the runner had died, and none was there since 11:30"
    )
    assert gone in found.rows


def test_what_was_due_before_a_pause_and_is_not_decided_waits_for_its_end() -> None:
    pause = Override(at("12:10"), at("16:00"), "ada", "freeze")
    found = verdict(known(THERE, pause, through="11:00"), at("12:00"))
    assert found.kind == "due"
    assert found.sentence.endswith(
        "is not decided yet: it is paused by ada from 12:10 to 16:00, 'freeze', and decided after that"
    )


def test_what_is_older_than_the_history_kept_has_expired() -> None:
    evidence = known(revision(history={"keep": "2d"}), through="12:00")
    assert verdict(evidence, at("07 03:00")).kind == "expired"
    assert "(2d)" in verdict(evidence, at("07 03:00")).sentence
    assert verdict(evidence, at("09 03:00")).kind == "missed"


def test_what_is_beyond_the_last_runs_kept_has_expired() -> None:
    evidence = known(revision(history={"keep_last": 1}), ran("12:00", "12:00:00"), oldest=at("12:00"), through="12:00")
    gone = verdict(evidence, at("11:00"))
    assert gone.kind == "expired"
    assert gone.sentence.startswith("came before the newest run, and no others are kept, so nothing says what")
    assert verdict(evidence, at("12:00")).kind == "ran"
    old = at("01 00:00") - timedelta(days=40)
    since = replace(revision(history={"keep_last": 1, "keep": "9d"}), applied_at=old)
    found = ledger(replace(evidence, revisions=(since,)), old, at("12:30"))
    assert [(one.kind, "(9d)" in one.sentence, one.last) for one in found] == [
        ("expired", True, at("01 12:00")),
        ("expired", False, at("11:00")),
        ("ran", False, at("12:00")),
    ]


def test_ten_days_of_downtime_are_one_line() -> None:
    missed = Skipped(at("01 01:00"), at("10 11:00"), 227, "missed")
    found = ledger(known(missed, ran("12:00", "12:00:00")), at("01 00:00"), at("12:30"))
    assert [(one.kind, one.count) for one in found] == [("missed", 227), ("ran", 1)]


def test_an_instant_filled_in_later_stands_out_of_its_range() -> None:
    missed = Skipped(at("01:00"), at("05:00"), 5, "missed")
    filled = ran("03:00", "09:00:00", trigger="backfill", actor="ada")
    found = ledger(known(missed, filled), at("00:00"), at("05:30"))
    assert [(one.kind, one.first, one.last, one.count) for one in found] == [
        ("missed", at("01:00"), at("02:00"), 2),
        ("ran", at("03:00"), at("03:00"), 1),
        ("missed", at("04:00"), at("05:00"), 2),
    ]
    assert found[1].sentence.startswith(
        "was filled in by hand by ada and ran; it succeeded in 3 s; when it was due it did"
    )


@pytest.mark.parametrize(
    ("why", "rows", "through", "since", "expected"),
    [
        (
            "a range begins where it does, whatever is gone before it",
            [revision("00:30", history={"keep": "6h"}), Skipped(at("03:00"), at("08:00"), 6, "missed")],
            "08:00",
            "00:00",
            [("expired", "01:00", "02:00", 2), ("missed", "03:00", "08:00", 6), ("due", "09:00", "12:00", 4)],
        ),
        (
            "and ends where it does",
            [revision("02:30"), Skipped(at("03:00"), at("05:00"), 3, "edited"), ran("12:00", "12:00")],
            "12:00",
            "00:00",
            [("skipped", "03:00", "05:00", 3), ("missed", "06:00", "11:00", 6), ("ran", "12:00", "12:00", 1)],
        ),
        (
            "of a range that began before it the rest is there",
            [revision("00:30"), Skipped(at("01:00"), at("12:00"), 12, "missed")],
            "12:00",
            "09:00",
            [("missed", "10:00", "12:00", 3)],
        ),
        (
            "a range that no known spec explains is where it begins, and nowhere else",
            [revision("11:30"), Skipped(at("03:00"), at("05:00"), 3, "missed")],
            "12:00",
            "03:00",
            [("missed", "12:00", "12:00", 1)],
        ),
        (
            "from a moment before it, it is there",
            [revision("11:30"), Skipped(at("03:00"), at("05:00"), 3, "missed")],
            "12:00",
            "02:59:59.999999",
            [("missed", "03:00", "05:00", 3), ("missed", "12:00", "12:00", 1)],
        ),
        (
            "what is decided is told apart from what is not",
            [revision("08:30")],
            "10:00",
            "00:00",
            [("missed", "09:00", "10:00", 2), ("due", "11:00", "12:00", 2)],
        ),
        (
            "a pause has the instant at which it begins, and none before",
            [revision("08:30"), Override(at("11:00"), None, "ada")],
            "08:30",
            "00:00",
            [("due", "09:00", "10:00", 2), ("paused", "11:00", "12:00", 2)],
        ),
        (
            "and not the one at which it ends",
            [revision("08:30"), Override(at("08:30"), at("11:00"), "ada")],
            "08:30",
            "00:00",
            [("paused", "09:00", "10:00", 2), ("due", "11:00", "12:00", 2)],
        ),
        (
            "an instant at an edit is its predecessor's",
            [revision("08:30", "11:00"), revision("11:00", schedule=["0 11,12 * * *"])],
            "08:30",
            "10:30",
            [("skipped", "11:00", "11:00", 1), ("due", "12:00", "12:00", 1)],
        ),
        (
            "and just after it the new one's",
            [revision("10:59:59.999999")],
            "10:30",
            "00:00",
            [("due", "11:00", "12:00", 2)],
        ),
    ],
)
def test_a_ledger_is_cut_where_the_answer_changes(
    why: str, rows: list[Any], through: str, since: str, expected: list[tuple[str, str, str, int]]
) -> None:
    found = ledger(known(*rows, through=through), at(since), at("12:30"))
    said = [(one.kind, one.first, one.last, one.count) for one in found]
    assert said == [(kind, at(first), at(last), count) for kind, first, last, count in expected], why


def test_what_a_ledger_costs_does_not_grow_with_the_instants(monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.schedule import Schedule

    calls: list[str] = []
    for name in ("next_after", "last_until", "count"):
        real = getattr(Schedule, name)
        monkeypatch.setattr(
            Schedule, name, lambda self, *args, real=real, name=name: (calls.append(name), real(self, *args))[1]
        )

    def cost(days: int) -> int:
        calls.clear()
        since = DAY - timedelta(days=days)
        first = replace(revision(schedule=["@every 1s"]), applied_at=since)
        missed = Skipped(since + SECOND, DAY, days * 86_400, "missed")
        found = ledger(known(first, missed, through="00:00", now="00:00"), since, DAY)
        assert [one.kind for one in found] == ["missed"]
        return len(calls)

    assert cost(40) == cost(3_000)


def test_where_rows_are_incomplete_the_ledger_begins_later() -> None:
    evidence = known(*(ran(f"{hour:02}:00", f"{hour:02}:00:00") for hour in range(6, 13)), floor=at("06:00"))
    found = ledger(evidence, at("01 00:00"), at("12:30"))
    assert [one.first for one in found] == [at(f"{hour:02}:00") for hour in range(7, 13)]


def test_clock_times_are_said_in_the_zone_of_the_spec() -> None:
    berlin = revision(timezone="Europe/Berlin")
    pause = Override(at("01:50"), at("04:00"), "ada")
    found = verdict(
        known(berlin, Skipped(at("02:00"), at("03:00"), 2, "paused"), pause, zone="Europe/Berlin"), at("03:00")
    )
    assert found.sentence == "did not run: paused by ada from 02:50 to 05:00"


GONE = Removal("9f8e7d6c5b4a", "Bob <bob@example.org>", "stop", "bob@host")
NONE_AHEAD: list[tuple[str, Revision, str]] = [
    ("suspended", revision(suspend=True), "the spec is suspended since commit 1a2b3c4 (Ada: 'hourly')"),
    (
        "removed",
        revision(until="10:00", is_removed=True, removal=GONE),
        "there is no spec: commit 9f8e7d6 (Bob: 'stop')",
    ),
    ("no schedule", revision(schedule=[]), "it has no schedule, only when it is asked for"),
    ("ended", revision(ends_at="2026-03-10T11:00:00Z"), "the schedule ended at 2026-03-10"),
]


@pytest.mark.parametrize(("held", "why"), [case[1:] for case in NONE_AHEAD], ids=[case[0] for case in NONE_AHEAD])
def test_where_no_instant_is_to_come_it_is_said_why(held: Revision, why: str) -> None:
    found = coming(Book(known(held)))
    assert found.kind == "not due"
    assert found.sentence.startswith(f"has no next instant: {why}")
    assert found.rows == (held,)


@pytest.mark.parametrize(
    "rows, instant, moment",
    [
        ((), "03:00", "12:30"),
        ((ran("02:00", "02:00:01"),), "03:00", "12:30"),
        ((ran("04:00", "04:00:07"), ran("05:00", "05:00:01")), "03:00", "04:00:07"),
        ((ran("04:00", "09:00", trigger="backfill"), ran("05:00", "05:00:01")), "03:00", "05:00:01"),
        ((ran("02:00", "03:30", trigger="backfill"), ran("04:00", "04:00:01")), "03:00", "04:00:01"),
        ((ran("05:00", "05:00:01"), claimed("02:00", started_at=at("04:00"))), "03:00", "04:00"),
        ((ran("05:00", "05:00:01"), claimed("02:00", started_at=at("02:59")), claimed("06:00")), "03:00", "05:00:01"),
    ],
)
def test_what_was_missed_was_decided_when_something_later_started(
    rows: tuple[Any, ...], instant: str, moment: str
) -> None:
    assert Book(known(*rows)).decided_by(at(instant)) == at(moment)
