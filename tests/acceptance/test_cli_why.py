"""`why` and `history --ledger`: what became of an instant, whether or not anything ran. No runner runs here."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
HOUR = timedelta(hours=1)

RUN = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, error, trigger, replays,
                             runner, digest, actor)
values ('hourly', %s, 'tick', %s, %s, %s, %s, %s, %s, 'alpha:41', 'x', %s)
"""
SKIP = "insert into task_skips (name, first, last, count, reason, detail) values ('hourly', %s, %s, %s, %s, %s)"
PAUSE = """
insert into task_overrides (name, kind, actor, reason, created_at, ended_at)
values ('hourly', 'pause', 'ada', 'db maintenance', %s, %s)
"""
RUNNER = """
insert into runners (id, host, pid, queues, tasks, started_at, seen_at, ended_at, ending)
values (gen_random_uuid(), 'alpha', %s, '["default"]', '{"tick": {}}', %s, %s, %s, %s)
"""


@pytest.fixture
def lived(stocked: Path, run_cli: Cli, database_url: str) -> datetime:
    """`hourly` came ten hours ago: it ran, failed and was run again, was missed, paused. Returns the last instant."""
    (stocked / "specs" / "hourly.yaml").write_text('task: tick\nschedule: "0 * * * *"\n')
    assert run_cli("apply").returncode == 0
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    second = timedelta(seconds=1)

    def ago(hours: int) -> datetime:
        return last - hours * HOUR

    with psycopg.connect(database_url) as connection:
        connection.execute("update task_revisions set applied_at = %s", [ago(10)])
        connection.execute("update task_cursors set through = %s", [last])
        for hours, late, error in ((9, 0, None), (8, 0, "ValueError: no\nmore"), (3, 12, None), (0, 0, None)):
            at = ago(hours)
            start = at + late * second
            connection.execute(RUN, [at, start, start + 3 * second, error is None, error, "schedule", None, None])
        again = ago(8) + timedelta(minutes=20, milliseconds=5)
        connection.execute(RUN, [again, again, again + second, True, None, "rerun", ago(8), "ada"])
        connection.execute(SKIP, [ago(7), ago(4), 4, "missed", "only the latest is made up for"])
        connection.execute(PAUSE, [ago(2) - timedelta(minutes=10), ago(1) + timedelta(minutes=10)])
        connection.execute(SKIP, [ago(2), ago(1), 2, "paused", "paused by ada: db maintenance"])
        went, came = ago(8) + timedelta(minutes=30), ago(3) + 11 * second
        connection.execute(RUNNER, [40, ago(20), went, went, "stopped"])
        connection.execute(RUNNER, [41, came, datetime.now(UTC), None, None])
    return last


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# How many hours before the last instant, and what has to be in the sentence.
SENTENCES: tuple[tuple[int, list[str]], ...] = (
    (9, ["ran on time; it succeeded in 3 s on alpha:41"]),
    (8, ["it failed after 3 s on alpha:41: ValueError: no; run again at ", "(succeeded)"]),
    (7, ["did not run: missed: the runner was down from ", "(only the latest is made up for)"]),
    (3, ["ran 12 s late: the runner was down from ", "it succeeded in 3 s"]),
    (1, ["did not run: paused by ada from ", "'db maintenance'"]),
    (11, ["was not due: the spec came with the apply by ", "; the next is "]),
    (-1, ["is due in "]),
)


def test_why_says_in_a_sentence_what_became_of_an_instant(lived: datetime, run_cli: Cli) -> None:
    for hours, said in SENTENCES:
        done = run_cli("why", "hourly", text(lived - hours * HOUR))
        assert (done.returncode, done.stderr) == (0, "")
        sentence = done.stdout.splitlines()[0]
        assert sentence.startswith(f"hourly at {lived - hours * HOUR:%Y-%m-%d %H:%M:%S} UTC ")
        for part in said:
            assert part in sentence


def test_a_time_of_day_is_the_last_one_on_the_clock_of_the_task(lived: datetime, run_cli: Cli) -> None:
    done = run_cli("why", "hourly", f"{lived:%H:%M}")
    assert done.stdout.startswith(f"hourly at {lived:%Y-%m-%d %H:%M:%S} UTC ran on time")
    done = run_cli("why", "hourly", "24:61")
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)


def test_a_moment_that_no_schedule_names_has_the_nearest_beside_it(lived: datetime, run_cli: Cli) -> None:
    done = run_cli("why", "hourly", text(lived - timedelta(minutes=30)))
    assert "was not due: the schedule is every hour; the one before is " in done.stdout
    assert ", the next is " in done.stdout


def test_a_rerun_names_what_it_replays(lived: datetime, run_cli: Cli) -> None:
    nominal = lived - 8 * HOUR
    again = nominal + timedelta(minutes=20, milliseconds=5)
    done = run_cli("why", "hourly", again.isoformat())
    assert f"is a rerun of {nominal:%H:%M}" in done.stdout.replace(f"{nominal:%Y-%m-%d} ", "")
    assert "asked for by ada, and ran; it succeeded in 1 s" in done.stdout


def test_without_an_instant_the_last_and_the_next_are_explained(lived: datetime, run_cli: Cli) -> None:
    done = run_cli("why", "hourly")
    first, second = (part.splitlines()[0] for part in done.stdout.split("\n\n"))
    assert first.startswith(f"hourly at {lived:%Y-%m-%d %H:%M:%S} UTC ran on time")
    assert "is due in " in second
    assert "ran on time" in run_cli("why", "hourly", "last").stdout


def test_what_was_not_due_yet_says_when_it_is_or_after_what_it_runs(stocked: Path, run_cli: Cli) -> None:
    (stocked / "specs" / "far.yaml").write_text("task: tick\nschedule: '0 0 1 1 *'\nstarts_at: 2090-01-01T00:00:00Z\n")
    (stocked / "specs" / "last.yaml").write_text("task: tick\nafter: [far]\n")
    assert run_cli("apply").returncode == 0
    assert run_cli("why", "far", "last").stdout == (
        "far was not due yet and nothing ran: it is due at 2090-01-01 00:00:00 UTC\n"
    )
    assert run_cli("why", "last", "last").stdout == "last has not run: it runs after far\n"


def test_the_answer_for_a_program_has_its_evidence(lived: datetime, run_cli: Cli) -> None:
    answer = json.loads(run_cli("why", "hourly", text(lived - HOUR), "-o", "json").stdout)
    assert answer["format_version"] == 1
    [verdict] = answer["verdicts"]
    assert (verdict["verdict"], verdict["is_scheduled"]) == ("paused", True)
    assert [row["row"] for row in verdict["evidence"]] == ["skip", "pause"]
    assert verdict["evidence"][1]["actor"] == "ada"


def test_the_ledger_lists_what_ran_and_what_did_not(lived: datetime, run_cli: Cli) -> None:
    answer = json.loads(run_cli("history", "hourly", "--ledger", "-o", "json").stdout)
    found = [(one["verdict"], one["count"]) for one in answer["verdicts"]]
    assert found == [("ran", 1), ("paused", 2), ("ran", 1), ("missed", 4), ("ran", 1), ("failed", 1), ("ran", 1)]
    assert [one["is_scheduled"] for one in answer["verdicts"]] == [True] * 4 + [False] + [True] * 2
    table = run_cli("history", "hourly", "--ledger", "--limit", "3").stdout.splitlines()
    assert table[0].split() == ["due", "(UTC)", "instants", "verdict", "trigger", "why"]
    assert [line.split("  ")[0] for line in table[1:]] == [
        f"{lived:%Y-%m-%d %H:%M:%S}",
        f"{lived - 2 * HOUR:%Y-%m-%d %H:%M:%S} to {lived - HOUR:%Y-%m-%d %H:%M:%S}",
        f"{lived - 3 * HOUR:%Y-%m-%d %H:%M:%S}",
    ]


def test_the_ledger_of_a_range_has_that_range(lived: datetime, run_cli: Cli) -> None:
    for since, until, listed in (
        (6, 2, [("paused", 1), ("ran", 1), ("missed", 3)]),
        (3, 3, [("ran", 1)]),
    ):
        ends = ("--since", text(lived - since * HOUR), "--until", text(lived - until * HOUR))
        done = run_cli("history", "hourly", "--ledger", *ends, "-o", "json")
        assert [(one["verdict"], one["count"]) for one in json.loads(done.stdout)["verdicts"]] == listed


def test_of_a_time_without_an_offset_it_is_said_how_it_was_read(lived: datetime, run_cli: Cli) -> None:
    naive = f"{lived:%Y-%m-%dT%H:%M}"
    told = f"{lived:%Y-%m-%d %H:%M:%S} has no offset: read as {lived:%Y-%m-%d %H:%M:%S} UTC\n"
    for words in (("why", "hourly", naive), ("logs", "hourly", naive), ("history", "--since", naive)):
        done = run_cli(*words)
        assert done.returncode == 0
        assert done.stderr.startswith(told)
        assert done.stderr.count(told) == 1


def test_the_past_of_a_name_that_is_gone_is_explained(lived: datetime, stocked: Path, run_cli: Cli) -> None:
    (stocked / "specs" / "hourly.yaml").unlink()
    assert run_cli("apply").returncode == 0
    assert "ran 12 s late" in run_cli("why", "hourly", text(lived - 3 * HOUR)).stdout
    later = run_cli("why", "hourly", text(lived + 5 * HOUR)).stdout
    assert "is not due: there is no spec: the apply by " in later
    assert " removed it" in later
    assert "hourly has no next instant: there is no spec: the apply by " in run_cli("why", "hourly").stdout


def test_an_unknown_name_is_an_error_with_the_nearest_one(lived: datetime, run_cli: Cli) -> None:
    for words in (("why", "hourli"), ("history", "hourli", "--ledger")):
        done = run_cli(*words)
        assert done.returncode == 1
        assert "no task named 'hourli'" in done.stderr
        assert "did you mean 'hourly'?" in done.stderr


def test_a_ledger_is_of_one_name(lived: datetime, run_cli: Cli) -> None:
    done = run_cli("history", "--ledger")
    assert done.returncode == 64
    assert "needs a NAME" in done.stderr
    done = run_cli("history", "hourly", "--ledger", "--since", text(lived), "--until", text(lived - HOUR))
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
    assert " is after --until " in done.stderr
