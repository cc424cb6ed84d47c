"""What an operator asks for by hand, with a real service that does it: trigger, rerun, backfill, cancel, pause."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
DEADLINE = 60.0

TASKS = """
import time
from pathlib import Path

from reconciler.registry import TaskContext, task


@task
def chat(words: int = 3, pause: float = 0.2) -> int:
    for number in range(words):
        print(f"word {number}", flush=True)
        time.sleep(pause)
    return words


@task
def hold(ctx: TaskContext, until: str = "go") -> None:
    Path("held").write_text(str(ctx.scheduled_for))
    while not Path(until).exists():
        time.sleep(0.02)


@task
def steps(ctx: TaskContext) -> None:
    ctx.progress(0.4, "loading")
    while not Path("go").exists():
        time.sleep(0.02)


@task
def mend(ctx: TaskContext) -> str:
    if not Path("mended").exists():
        raise RuntimeError("not mended yet")
    return ctx.scheduled_for.isoformat()
"""

SPECS = {
    "chat.yaml": "task: more.chat\nlabels: {team: data}\n",
    "hold.yaml": "task: more.hold\nlabels: {team: data, tier: gold}\n",
    "steps.yaml": "task: more.steps\n",
    "mend.yaml": 'task: more.mend\nschedule: "0 3 * * *"\ntimezone: Europe/Berlin\nmissed: skip\n',
}


@pytest.fixture
def applied(stocked: Path, run_cli: Cli) -> Path:
    """Three tasks more, which do as they are told."""
    (stocked / "specs" / "often.yaml").unlink()
    (stocked / "tasks" / "more.py").write_text(TASKS)
    for name, text in SPECS.items():
        (stocked / "specs" / name).write_text(text)
    assert run_cli("apply").returncode == 0
    return stocked


@pytest.fixture
def spawn(applied: Path, command_environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`spawn("serve")`: a command that goes on; whatever still runs in the end is killed."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*line: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        begun.append(
            subprocess.Popen(
                [sys.executable, "-m", "reconciler", *line],
                cwd=applied,
                env=command_environment | {"RECONCILER_API_PORT": "0"} | dict(env or {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def served(applied: Path, spawn: Callable[..., subprocess.Popen[str]], run_cli: Cli) -> Path:
    """The project with a runner that serves it."""
    with (applied / ".said").open("w"):
        spawn("runner", "--log-level", "error")
    until(lambda: json.loads(run_cli("status", "-o", "json").stdout)["runners"], "a runner")
    return applied


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {DEADLINE:.0f} s")


def standing(run_cli: Cli, name: str) -> dict[str, Any]:
    return json.loads(run_cli("status", name, "-o", "json").stdout)["tasks"][0]  # type: ignore[no-any-return]


def rows(run_cli: Cli, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run_cli("history", name, "-o", "json").stdout)["executions"]
    return found


# ── trigger ──


def test_a_trigger_that_waits_shows_the_log_once_and_ends_as_the_task_does(served: Path, run_cli: Cli) -> None:
    good = run_cli("trigger", "chat", "-p", "words=4", "--wait")
    assert good.returncode == 0, good.stderr
    said = [line for line in good.stderr.splitlines() if line.startswith("word")]
    assert said == ["word 0", "word 1", "word 2", "word 3"]
    assert good.stdout.startswith("✓ chat succeeded in ")
    bad = run_cli("trigger", "broken", "--wait")
    assert (bad.returncode, bad.stderr.count("about to fail")) == (1, 1)
    assert "✗ broken failed after " in bad.stdout
    document = json.loads(run_cli("trigger", "chat", "-p", "words=1", "--wait", "-o", "json").stdout)
    assert (document["is_success"], document["result"]) == (True, 1)


def test_what_runs_is_not_run_beside_itself_unless_somebody_says_so(served: Path, run_cli: Cli) -> None:
    assert run_cli("trigger", "hold").returncode == 0
    until(lambda: (served / "held").exists(), "run of 'hold'")
    refused = run_cli("trigger", "hold")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (3, 1)
    for text in ("it runs since 2", " on ", "--overlap", "--queue", "reconciler cancel hold"):
        assert text in refused.stderr
    late = run_cli("trigger", "hold", "--queue", "--wait", "--timeout", "300ms")
    assert (late.returncode, "no result after 300 ms: it stays queued" in late.stderr) == (1, True)
    assert standing(run_cli, "hold")["waits"].startswith("behind the run of ")
    (served / "held").unlink()
    assert run_cli("trigger", "hold", "--overlap").returncode == 0
    until(lambda: (served / "held").exists(), "run beside it")
    (served / "go").touch()
    until(lambda: len(rows(run_cli, "hold")) == 3, "three rows")
    assert {row["is_success"] for row in rows(run_cli, "hold")} == {True}


def test_without_redis_the_log_is_shown_at_the_end(served: Path, run_cli: Cli) -> None:
    away = {"RECONCILER_REDIS_URL": f"unix://{served}/none.sock"}
    done = run_cli("trigger", "chat", "-p", "words=2", "-p", "pause=0", "--wait", env=away)
    assert done.returncode == 0
    assert "the log is shown at the end" in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("word")] == ["word 0", "word 1"]


def test_the_log_comes_as_it_is_printed(
    served: Path, run_cli: Cli, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    waiting = spawn("trigger", "chat", "-p", "words=1000", "-p", "pause=0.05", "--wait")
    assert waiting.stderr is not None
    until(lambda: waiting.stderr.readline().startswith("word"), "a word while it runs")  # type: ignore[union-attr]
    assert standing(run_cli, "chat")["running"]
    assert run_cli("cancel", "chat").returncode == 0
    assert waiting.wait(DEADLINE) == 1


def test_progress_is_shown_by_status_and_to_whoever_waits(
    served: Path, run_cli: Cli, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    waiting = spawn("trigger", "steps", "--wait")
    until(lambda: (standing(run_cli, "steps")["running"] or {}).get("progress"), "its progress")
    assert '40 % "loading"' in run_cli("status").stdout
    assert '40 % "loading"' in run_cli("status", "steps").stdout
    (served / "go").touch()
    _, said = waiting.communicate(timeout=DEADLINE)
    assert (waiting.returncode, '40 % "loading"' in said) == (0, True)


def test_a_trigger_runs_through_a_pause_and_says_so(served: Path, run_cli: Cli) -> None:
    assert run_cli("pause", "chat", "--reason", "moving").returncode == 0
    done = run_cli("trigger", "chat", "-p", "words=1", "--wait")
    assert done.returncode == 0
    assert "moving; a trigger runs all the same" in done.stderr


def test_interrupted_waiting_leaves_the_run_alone(
    served: Path, run_cli: Cli, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    waiting = spawn("trigger", "hold", "--wait")
    until(lambda: (served / "held").exists(), "run of 'hold'")
    until(lambda: standing(run_cli, "hold")["running"], "its claim")
    time.sleep(0.5)  # for the command to have looked once more
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=DEADLINE)
    assert waiting.returncode == 130
    assert "hold: it goes on running; end it: reconciler cancel hold 2" in said
    (served / "go").touch()
    until(lambda: rows(run_cli, "hold"), "its row")


def test_parameters_are_checked_as_runners_know_them_where_the_function_is_not_here(served: Path, run_cli: Cli) -> None:
    elsewhere = {"RECONCILER_TASK_MODULES": "json"}
    done = run_cli("trigger", "greet", "-p", "tims=3", env=elsewhere)
    assert done.returncode == 1
    assert "tims: greet has no such parameter; did you mean 'times'?" in done.stderr


# ── rerun and backfill ──


DAYS = ("2026-03-01", "2026-03-02", "2026-03-03")
THREE = ["2026-03-01T02:00:00Z", "2026-03-02T02:00:00Z", "2026-03-03T02:00:00Z"]
BETWEEN = ("--from", "2026-03-01", "--to", "2026-03-04")  # on the clocks of Berlin


def test_a_backfill_runs_what_is_missing_and_says_how_it_goes(served: Path, run_cli: Cli) -> None:
    listed = run_cli("backfill", "mend", *BETWEEN, "--dry-run")
    assert (listed.returncode, [line.split()[0] for line in listed.stdout.splitlines()]) == (0, THREE)
    assert rows(run_cli, "mend") == []
    bad = run_cli("backfill", "mend", *BETWEEN)
    assert (bad.returncode, bad.stdout.splitlines()[-1]) == (1, "mend: 0 of 3 succeeded, 3 failed")
    assert bad.stdout.splitlines()[0].startswith("1/3  2026-03-01T02:00:00Z  ✗ in ")
    assert run_cli("backfill", "mend", *BETWEEN).stderr.startswith("mend: nothing is missing from 2026-03-01")
    (served / "mended").touch()
    again = run_cli("backfill", "mend", *BETWEEN, "--failed", "--parallel", "2", "-o", "json")
    assert again.returncode == 0, again.stderr
    runs = json.loads(again.stdout)["runs"]
    assert sorted(run["nominal"] for run in runs) == THREE
    assert all(run["is_success"] and run["scheduled_for"] not in THREE for run in runs)
    kept = rows(run_cli, "mend")
    reruns = {row["replays"]: row for row in kept if row["trigger"] == "rerun"}
    assert sorted(reruns) == THREE
    for nominal, row in reruns.items():
        assert row["result"] == nominal.replace("Z", "+00:00")
    assert {row["trigger"] for row in kept if not row["is_success"]} == {"backfill"}
    assert "nothing failed and was not made good" in run_cli("backfill", "mend", *BETWEEN, "--failed").stderr


def test_an_interrupted_backfill_goes_on_where_it_was(
    served: Path, run_cli: Cli, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    spec = 'task: more.hold\nschedule: "0 3 * * *"\nmissed: skip\n'
    (served / "specs" / "hold.yaml").write_text(spec)
    assert run_cli("apply").returncode == 0
    running = spawn("backfill", "hold", *BETWEEN)
    until(lambda: (served / "held").exists(), "first run")
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=DEADLINE)
    assert running.returncode == 130
    assert "interrupted: 0 of 3 ended; 1 go on by themselves" in said
    (served / "go").touch()
    until(lambda: rows(run_cli, "hold"), "its row")
    rest = run_cli("backfill", "hold", *BETWEEN)
    assert (rest.returncode, rest.stdout.splitlines()[-1]) == (0, "hold: 2 of 2 succeeded, 0 failed")
    assert sorted(row["scheduled_for"] for row in rows(run_cli, "hold")) == [f"{day}T03:00:00Z" for day in DAYS]


CANNOT_BE = (
    (["backfill", "chat"], 64, "chat has no schedule"),
    (["backfill", "mend", "--from", "2026-03-02", "--to", "2026-03-01"], 64, "is after --to"),
    (["backfill", "tight", "--from", "2024-01-01", "--to", "2026-01-01"], 3, "more than 100,000 instants"),
    (["rerun", "mend", "last"], 1, "nothing ran yet"),
    (["rerun", "mend", "2026-03-01T02:00:00Z"], 1, "nothing ran yet"),
    (["rerun", "mend", "yesterday"], 64, "'yesterday' is not an instant"),
    (["cancel", "mend"], 1, "nothing of it runs or waits"),
    (["cancel", "mendd"], 1, "did you mean 'mend'?"),
    (["trigger", "mend", "--timeout", "3s"], 64, "--wait"),
    (["trigger", "mend", "--queue", "--overlap"], 64, "one of the two"),
    (["pause"], 64, "missing argument 'NAME', or -l KEY=VALUE"),
    (["pause", "mend", "-l", "team=data"], 64, "one of the two"),
    (["pause", "mend", "--for", "2h", "--until", "2099-01-01"], 64, "one of the two"),
    (["pause", "mend", "--until", "2020-01-01"], 64, "has passed"),
    (["pause", "mend", "--for", "0s"], 64, "--for: has to be longer than nothing"),
    (["pause", "-l", "team=dat"], 3, "did you mean 'team=data'?"),
)


def test_what_cannot_be_is_one_line(applied: Path, run_cli: Cli) -> None:
    (applied / "specs" / "tight.yaml").write_text('task: tick\nschedule: "@every 1s"\n')
    assert run_cli("apply").returncode == 0
    for line, code, said in CANNOT_BE:
        done = run_cli(*line)
        assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), (line, done.stderr)
        assert said in done.stderr, line


def test_a_rerun_is_of_what_has_a_result(served: Path, run_cli: Cli) -> None:
    assert run_cli("backfill", "mend", *BETWEEN).returncode == 1
    wrong = run_cli("rerun", "mend", "2026-03-02T02:00:01Z")
    assert wrong.returncode == 1
    assert "the nearest that have: 2026-03-01T02:00:00Z, 2026-03-02T02:00:00Z, 2026-03-03T02:00:00Z" in wrong.stderr
    again = run_cli("rerun", "mend", "2026-03-02 02:00:00", "--wait")  # as history prints it
    assert again.returncode == 1
    assert "replays 2026-03-02T02:00:00Z" in again.stderr
    (served / "mended").touch()
    good = run_cli("rerun", "mend", "last-failed", "--wait", "-o", "json")
    answer = json.loads(good.stdout)
    assert (good.returncode, answer["replays"]) == (0, "2026-03-02T02:00:00Z")
    assert [row["replays"] for row in rows(run_cli, "mend")][:2] == ["2026-03-02T02:00:00Z"] * 2


# ── cancel ──


def test_what_runs_is_cancelled_and_not_tried_again(served: Path, run_cli: Cli) -> None:
    (served / "specs" / "hold.yaml").write_text(SPECS["hold.yaml"] + "retries: {attempts: 3, backoff: 1s}\n")
    assert run_cli("apply").returncode == 0
    assert run_cli("trigger", "hold").returncode == 0
    until(lambda: (served / "held").exists(), "run of 'hold'")
    assert run_cli("trigger", "hold", "--queue").returncode == 0
    done = run_cli("cancel", "hold", "--reason", "the wrong region")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert ": cancelled after " in first
    assert second.endswith(": dropped, it had not begun")
    (row,) = rows(run_cli, "hold")
    assert row["is_success"] is False
    assert row["error"].startswith("cancelled by ")
    assert ": the wrong region" in row["error"]
    assert standing(run_cli, "hold")["waiting"] == 0
    with psycopg.connect(run_cli("db", "url", "--reveal").stdout.strip()) as connection:
        found = connection.execute("select reason, detail from task_skips where name = 'hold'").fetchall()
    assert [(reason, detail.endswith(": the wrong region")) for reason, detail in found] == [("cancelled", True)]


def test_a_retry_in_back_off_is_cancelled_at_once(served: Path, run_cli: Cli) -> None:
    (served / "specs" / "mend.yaml").write_text("task: more.mend\nretries: {attempts: 3, backoff: 9m}\n")
    assert run_cli("apply").returncode == 0
    assert run_cli("trigger", "mend").returncode == 0
    until(lambda: "retry in " in (standing(run_cli, "mend")["waits"] or ""), "a retry")
    refused = run_cli("trigger", "mend")
    assert (refused.returncode, "attempt 1 failed (RuntimeError: not mended yet)" in refused.stderr) == (3, True)
    done = run_cli("cancel", "mend", "-o", "json")
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["cancelled"]
    assert (one["is_success"], one["is_dropped"]) == (False, False)
    (row,) = rows(run_cli, "mend")
    assert "cancelled by " in row["error"]
    assert len(row["attempts"]) == 1


# ── pauses ──


def test_a_pause_by_label_covers_what_has_the_label_and_what_comes_later(applied: Path, run_cli: Cli) -> None:
    for name in ("one", "two"):
        (applied / "specs" / f"{name}.yaml").write_text('task: tick\nschedule: "@hourly"\nlabels: {team: web}\n')
    assert run_cli("apply").returncode == 0
    done = run_cli("pause", "-l", "team=web", "--for", "2h", "--reason", "the lift is out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("paused team=web until 2")
    assert done.stderr == "these are covered now: one, two\n"
    (applied / "specs" / "three.yaml").write_text('task: tick\nschedule: "@hourly"\nlabels: {team: web, a: b}\n')
    plan = run_cli("plan")
    assert "+ three  new (three.yaml)\n" in plan.stdout
    assert "\n    paused with team=web by " in plan.stdout
    assert "the lift is out" in plan.stdout
    (paused,) = json.loads(run_cli("plan", "-o", "json").stdout)["paused"]
    assert (paused["name"], paused["selector"]) == ("three", {"team": "web"})
    assert run_cli("apply").returncode == 0
    status = run_cli("status").stdout
    assert "(3 tasks)" in status.splitlines()[2]
    assert status.count("paused with team=web by ") == 3
    assert standing(run_cli, "three")["paused"]["selector"] == {"team": "web"}
    told = run_cli("resume", "three")
    assert (told.returncode, len(told.stderr.splitlines())) == (1, 1)
    assert "paused with team=web" in told.stderr
    assert told.stderr.endswith(": reconciler resume -l team=web\n")
    assert "those in force: 'reconciler resume -l team=web'" in run_cli("resume", "-l", "a=b").stdout
    assert run_cli("pause", "one").returncode == 0
    ended = run_cli("resume", "-l", "team=web")
    assert (ended.returncode, ended.stdout) == (0, "resumed team=web\n")
    assert "one: still paused by " in ended.stderr
    assert {name: standing(run_cli, name)["state"] for name in ("one", "two", "three")} == {
        "one": "paused",
        "two": "active",
        "three": "active",
    }


def test_what_a_label_holds_does_not_run_and_is_written_down_as_paused(served: Path, run_cli: Cli) -> None:
    assert run_cli("pause", "-l", "team=web", "--allow-empty", "--reason", "the lift is out").returncode == 0
    text = 'task: tick\nschedule: "@every 1s"\nlabels: {team: %s}\n'
    for name, team in (("one", "web"), ("two", "data")):
        (served / "specs" / f"{name}.yaml").write_text(text % team)
    assert run_cli("apply").returncode == 0
    until(lambda: len(rows(run_cli, "two")) >= 2, "runs of what has another label")
    assert rows(run_cli, "one") == []
    assert run_cli("resume", "-l", "team=web").returncode == 0
    until(lambda: rows(run_cli, "one"), "runs after the pause")
    with psycopg.connect(run_cli("db", "url", "--reveal").stdout.strip()) as connection:
        skips = connection.execute("select reason, detail from task_skips where name = 'one' order by first").fetchall()
    assert skips[0][0] == "paused"
    assert "the lift is out" in skips[0][1]


def test_a_label_that_nobody_has_yet_is_paused_where_that_is_meant(applied: Path, run_cli: Cli) -> None:
    refused = run_cli("pause", "-l", "team=new")
    assert refused.returncode == 3
    assert "reconciler pause -l team=new --allow-empty" in refused.stderr
    assert run_cli("pause", "-l", "team=new", "--allow-empty", "--until", "2099-01-01").returncode == 0
    (applied / "specs" / "new.yaml").write_text('task: tick\nschedule: "@hourly"\nlabels: {team: new}\n')
    assert run_cli("apply").returncode == 0
    assert standing(run_cli, "new")["paused"]["until"] == "2099-01-01T00:00:00Z"


def test_a_pause_until_a_time_is_read_on_the_clock_of_the_task(applied: Path, run_cli: Cli) -> None:
    done = run_cli("pause", "mend", "--until", "2099-07-01 02:00")
    assert done.stdout.startswith("paused mend until 2099-07-01 00:00:00 UTC")
