"""`simulate`: a project's next days, read as a person and as a program would."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]

TASKS = """
from reconciler.registry import task

@task("demo.slow")
def slow() -> None: ...

@task("demo.quick")
async def quick() -> None: ...
"""
SPECS = {
    "slow": 'task: demo.slow\nschedule: "0 * * * *"\n',
    "quick": 'task: demo.quick\nschedule: "*/10 * * * *"\n',
    "nightly": 'task: demo.quick\nschedule: "30 2 * * *"\ntimezone: Europe/Berlin\n',
    "asked": "task: demo.quick\n",
}
MARCH = ("--from", "2026-03-28", "--to", "2026-03-30")


@pytest.fixture
def project(project: Path) -> Path:
    (project / "tasks" / "demo.py").write_text(TASKS)
    for name, text in SPECS.items():
        (project / "specs" / f"{name}.yaml").write_text(text)
    return project


@pytest.mark.usefixtures("project")
def test_a_person_sees_fires_load_and_clock_changes(run_cli: RunCli) -> None:
    done = run_cli("simulate", *MARCH)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2026-03-28 00:00 to 2026-03-30 00:00 UTC\n  tasks       4 (1 only when triggered)\n")
    assert "  fires       338\n" in done.stdout
    assert "  runs take   1 s as assumed (4 tasks)\n" in done.stdout
    assert (
        "  nightly: 2026-03-29 Europe/Berlin: clocks go forward from 02:00 to 03:00: 02:30 runs once, at 01:00 UTC\n"
    ) in done.stdout
    assert "  Sat 03-28  " in done.stdout


@pytest.mark.usefixtures("project")
def test_a_program_gets_all_of_it(run_cli: RunCli) -> None:
    done = run_cli("simulate", *MARCH, "--assume", "90m", "--fires", "-o", "json")
    answer = json.loads(done.stdout)
    assert answer["format_version"] == 1
    assert (answer["from"], answer["to"]) == ("2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z")
    rows = {row["name"]: row for row in answer["tasks"]}
    assert (rows["slow"]["fires"], rows["slow"]["skipped"]) == (24, {"overlap": 24})
    assert (rows["slow"]["takes_seconds"], rows["slow"]["takes_from"]) == (5400, "assumed")
    assert answer["totals"]["fires"] == len(answer["fires"]) == sum(hour["fires"] for hour in answer["load"])
    assert answer["fires"][0] == {
        "name": "quick",
        "scheduled_for": "2026-03-28T00:00:00Z",
        "trigger": "schedule",
        "due_at": "2026-03-28T00:00:00Z",
        "started_at": "2026-03-28T00:00:00Z",
        "ended_at": "2026-03-28T01:30:00Z",
        "is_async": True,
        "cause": None,
        "ending": "succeeded",
        "waited_seconds": 0.0,
    }
    assert [change["effect"] for change in answer["clock_changes"]] == ["moved"]


def test_past_runs_say_how_long_the_next_ones_take(run_cli: RunCli, project: Path, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            """
            insert into task_executions
                (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest)
            select 'slow', s, 'demo.slow', s, s + interval '7 minutes', true, 'schedule', 'd'
            from generate_series(now() - interval '9 hours', now(), interval '1 hour') s
            """
        )
    for options, seconds in (((), 420), (("--no-history",), 1)):
        answer = json.loads(run_cli("simulate", *MARCH, *options, "-o", "json").stdout)
        rows = {row["name"]: row for row in answer["tasks"]}
        assert rows["slow"]["takes_seconds"] == seconds
        assert rows["quick"]["takes_seconds"] == 1
    (project / "reconciler.toml").write_text("[runner]\nworker_processes = 1\n")
    text = run_cli("simulate", *MARCH).stdout
    assert "as past ones did, the median (1 task), 1 s as assumed (3 tasks)" in text


def test_a_database_that_does_not_answer_costs_a_warning_only(run_cli: RunCli, project: Path) -> None:
    nowhere = f"postgresql://nobody@/nothing?host={project}"
    done = run_cli("simulate", *MARCH, env={"RECONCILER_DATABASE_URL": nowhere})
    assert done.returncode == 0
    assert done.stderr.startswith("reconciler: warning: no past durations: postgresql: ")
    assert "as assumed (4 tasks)" in done.stdout


@pytest.mark.usefixtures("project")
def test_each_fire_and_skip_is_listed_and_an_outage_is_made_up_for(run_cli: RunCli) -> None:
    outage = "2026-03-28T00:30..2026-03-28T03:10"
    done = run_cli("simulate", *MARCH, "--for", "1h", "--outage", outage)
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
    window = ("--from", "2026-03-28", "--for", "5h")
    lines = run_cli("simulate", *window, "--fires", "--outage", outage).stdout.splitlines()
    slow = [" ".join(text.split()) for text in lines if " slow " in text]
    assert slow == [
        "2026-03-28 00:00 slow 2026-03-28 00:00 1 s on time",
        "2026-03-28 01:00 slow - - skipped and until 2026-03-28 02:00: missed: only the latest is made up for",
        "2026-03-28 03:00 slow 2026-03-28 03:10 1 s catch up, after waiting 10 min (down)",
        "2026-03-28 04:00 slow 2026-03-28 04:00 1 s on time",
    ]


def test_with_a_faulty_spec_nothing_is_simulated(run_cli: RunCli, project: Path) -> None:
    (project / "specs" / "slow.yaml").write_text('task: demo.slow\nschedule: "61 * * * *"\n')
    done = run_cli("simulate", *MARCH)
    assert (done.returncode, done.stdout) == (1, "")
    assert "specs/slow.yaml:2:" in done.stderr
    assert done.stderr.endswith("nothing was simulated: see reconciler validate\n")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "2026-03-27"), "--to: has to be after --from, and at most ten years"),
        (("--for", "0s"), "--for: has to be longer than nothing"),
        (("--outage", "02:00..03:00"), "--outage: '02:00..03:00' is not two instants, one after the other"),
        (("--timezone", "Europe/Berln"), "did you mean 'Europe/Berlin'?"),
    ],
)
def test_a_mistake_on_the_line_is_said_in_one(run_cli: RunCli, options: tuple[str, ...], said: str) -> None:
    done = run_cli("simulate", "--from", "2026-03-28", *options)
    assert done.returncode == 64
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
