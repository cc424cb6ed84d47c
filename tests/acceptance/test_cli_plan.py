"""What a person sees of plans that are saved, carried out later, or made without any store."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.failpoints import EXIT_CODE

Cli = Callable[..., subprocess.CompletedProcess[str]]
OFFLINE = {
    "RECONCILER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "RECONCILER_REDIS_URL": "redis://127.0.0.1:1",
}
# The command, which ends at the step that is named first as `kill -9` would end it.
KILLED = """
import os, sys
from reconciler import failpoints
failpoints.failpoint = lambda name: os._exit(failpoints.EXIT_CODE) if name == sys.argv[1] else None
from reconciler.cli import code_of
code_of(sys.argv[2:])
"""
SPEC = 'task: tick\nschedule: "{} 2 * * *"\n'


def git(directory: Path, *line: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *line],
        cwd=directory,
        env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def commit(directory: Path, message: str) -> str:
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(directory, "rev-parse", "HEAD")


def write(project: Path, **minutes: int) -> None:
    """`write(project, a=5)`: the spec a, at five past two."""
    for name, minute in minutes.items():
        (project / "specs" / f"{name}.yaml").write_text(SPEC.format(minute))


@pytest.fixture
def repository(project: Path) -> Path:
    """The project as a working tree, with the specs a, b and c, committed and not applied."""
    (project / "tasks" / "__init__.py").write_text(
        "from reconciler.registry import task\n\n\n@task\ndef tick() -> None:\n    pass\n"
    )
    (project / ".gitignore").write_text(".reconciler/\n__pycache__/\n*.json\n")
    write(project, a=1, b=2, c=3)
    git(project, "init", "--quiet", "--initial-branch", "main")
    commit(project, "three specs")
    return project


def saved(project: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project / "plan.json").read_text())
    return found


def test_a_saved_plan_is_applied_as_it_stands(repository: Path, run_cli: Cli) -> None:
    done = run_cli("plan", "--out", "plan.json")
    assert done.returncode == 0, done.stderr
    assert "plan written to plan.json: reconciler apply plan.json" in done.stderr
    assert stat.S_IMODE((repository / "plan.json").stat().st_mode) == 0o600
    plan = saved(repository)
    assert (plan["kind"], plan["format_version"], plan["source"]) == ("reconciler.plan", 1, "default")
    assert [(change["verb"], change["name"]) for change in plan["changes"]] == [
        ("create", "a"),
        ("create", "b"),
        ("create", "c"),
    ]
    # What is edited and not in the plan waits for the next one.
    write(repository, a=59, d=4)
    done = run_cli("apply", "plan.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "applied: 3 created" in done.stdout
    done = run_cli("plan", "-o", "json")
    assert [(change["verb"], change["name"]) for change in json.loads(done.stdout)["changes"]] == [
        ("create", "d"),
        ("update", "a"),
    ]


def test_a_plan_that_was_applied_before_has_nothing_left_to_do(repository: Path, run_cli: Cli) -> None:
    run_cli("plan", "--out", "plan.json")
    assert run_cli("apply", "plan.json").returncode == 0
    done = run_cli("apply", "plan.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing to change; 3 unchanged\n", "")
    assert len(json.loads(run_cli("syncs", "-o", "json").stdout)["syncs"]) == 1


def test_what_it_touches_has_moved_and_it_is_refused_by_name(repository: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    write(repository, a=11, b=12)
    (repository / "specs" / "c.yaml").unlink()
    commit(repository, "edits")
    assert run_cli("plan", "--out", "plan.json").returncode == 0
    write(repository, a=21)
    edit = commit(repository, "another edit of a")
    assert run_cli("apply", "specs/a.yaml").returncode == 0
    done = run_cli("apply", "plan.json")
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert f"a was edited ({edit[:7]})" in done.stderr
    assert "b was" not in done.stderr
    assert "make another: reconciler plan --out FILE" in done.stderr
    assert run_cli("apply", "plan.json", "--dry-run").returncode == 3
    status = {row["name"] for row in json.loads(run_cli("status", "-o", "json").stdout)["tasks"]}
    assert "c" in status


def test_what_it_does_not_touch_may_move(repository: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    write(repository, a=11)
    assert run_cli("plan", "--out", "plan.json").returncode == 0
    write(repository, a=1, b=22)
    assert run_cli("apply").returncode == 0
    done = run_cli("apply", "plan.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '~ a  schedule: ["1 2 * * *"] -> ["11 2 * * *"]\napplied: 1 updated; 2 unchanged\n'


def test_a_plan_of_an_older_commit_is_refused_though_its_names_have_not_moved(repository: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    write(repository, a=11)
    old = commit(repository, "edit a")
    assert run_cli("plan", "--out", "plan.json").returncode == 0
    write(repository, b=12)
    new = commit(repository, "edit b")
    assert run_cli("apply", "specs/b.yaml").returncode == 0
    done = run_cli("apply", "plan.json")
    assert done.returncode == 3
    assert f"{old[:7]} does not descend from {new[:7]}" in done.stderr
    assert run_cli("apply", "plan.json", "--allow-rewind", "--reason", "b was reverted").returncode == 0


def test_a_plan_deletes_what_it_says_and_a_protected_task_stays(repository: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    (repository / "specs" / "c.yaml").unlink()
    commit(repository, "drop c")
    assert run_cli("plan", "--out", "plan.json").returncode == 0
    assert "drop c" in saved(repository)["changes"][0]["reason"]
    assert run_cli("apply", "plan.json").returncode == 0
    assert "c" not in {row["name"] for row in json.loads(run_cli("status", "-o", "json").stdout)["tasks"]}


def test_nothing_is_written_where_nothing_may_be_applied(repository: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    git(repository, "checkout", "--quiet", "--orphan", "other")
    write(repository, a=11)
    commit(repository, "a beginning of its own")
    done = run_cli("plan", "--out", "plan.json")
    assert done.returncode == 3
    assert "does not descend from" in done.stdout + done.stderr
    assert "plan.json is not written" in done.stderr
    assert not (repository / "plan.json").exists()


def test_a_place_that_cannot_be_written_is_one_line(repository: Path, run_cli: Cli) -> None:
    for line in (["plan", "--out", "no/plan.json"], ["export", "--state", "no/state.json"]):
        done = run_cli(*line)
        assert done.returncode == 1
        assert done.stderr.endswith(": cannot be written: No such file or directory: name another place\n")
        assert len(done.stderr.splitlines()) == 1


def test_refusals_are_kept_in_the_plan_and_said_again(repository: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    for name in "abc":
        (repository / "specs" / f"{name}.yaml").unlink()
    write(repository, d=4)
    commit(repository, "all anew")
    assert run_cli("plan", "--out", "plan.json").returncode == 0
    done = run_cli("apply", "plan.json")
    assert done.returncode == 3
    assert "applied: 1 created" in done.stdout
    assert "prune refused: 3 of 3 configs would be deleted" in done.stderr


EDITS: list[tuple[Callable[[str], str], str]] = [
    (lambda text: text[: len(text) // 2], "it is no JSON, or only a part of it"),
    (lambda text: "", "is no JSON"),
    (lambda text: "[1, 2]", "is no saved plan"),
    (lambda text: "[" * 100_000, "is no JSON"),
    (lambda text: text.replace('"format_version": 1', '"format_version": 2'), "has format_version 2"),
    (lambda text: text.replace('"source": "default"', '"source": "other"'), "is a plan for source 'other'"),
    (lambda text: text.replace('"verb": "create"', '"verb": "destroy"'), "changes.0.verb"),
    (lambda text: text.replace("1 2 * * *", "9 2 * * *"), "is not the one that was planned"),
    (lambda text: text.replace('"name": "a"', '"name": "b"'), "names a task twice"),
    (lambda text: text.replace('"made_by"', '"sudo": 1, "made_by"'), "sudo"),
]


def test_a_file_that_is_no_such_plan_is_one_line(repository: Path, run_cli: Cli) -> None:
    run_cli("plan", "--out", "plan.json")
    path = repository / "plan.json"
    text = path.read_text()
    for edit, said in EDITS:
        path.write_text(edit(text))
        done = run_cli("apply", "plan.json")
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), said
        assert done.stderr.startswith("reconciler: plan.json: ")
        assert said in done.stderr


def test_a_saved_plan_takes_no_options_that_would_make_it_another(repository: Path, run_cli: Cli) -> None:
    run_cli("plan", "--out", "plan.json")
    for more in (["--prune"], ["--max-prune", "9"], ["--adopt"], ["--source", "other"]):
        done = run_cli("apply", "plan.json", *more)
        assert done.returncode == 64
        assert more[0] in done.stderr


def test_two_that_apply_the_same_plan_at_once_apply_it_once(
    repository: Path, run_cli: Cli, command_environment: dict[str, str]
) -> None:
    run_cli("plan", "--out", "plan.json")
    line = [sys.executable, "-m", "reconciler", "apply", "plan.json"]
    both = [subprocess.Popen(line, cwd=repository, env=command_environment, stdout=subprocess.PIPE) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0].decode().splitlines()[-1] for process in both)
    assert said == ["applied: 3 created; 0 unchanged", "nothing to change; 3 unchanged"]
    assert [process.returncode for process in both] == [0, 0]
    assert len(json.loads(run_cli("syncs", "-o", "json").stdout)["syncs"]) == 1


@pytest.mark.parametrize("step", ["after-lock", "after-apply", "after-commit", "after-align"])
def test_killed_at_any_step_the_same_line_again_ends_what_it_began(
    step: str, repository: Path, run_cli: Cli, command_environment: dict[str, str]
) -> None:
    run_cli("plan", "--out", "plan.json")
    line = [sys.executable, "-c", KILLED, step, "apply", "plan.json"]
    killed = subprocess.run(line, cwd=repository, env=command_environment, timeout=60, check=False)
    assert killed.returncode == EXIT_CODE
    done = run_cli("apply", "plan.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(run_cli("syncs", "-o", "json").stdout)["syncs"]) == 1
    done = run_cli("drift", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["drifts"]) == (0, [])


def test_while_the_source_is_pinned_a_saved_plan_is_refused(repository: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    write(repository, a=11)
    commit(repository, "edit a")
    assert run_cli("apply").returncode == 0
    write(repository, b=12)
    assert run_cli("plan", "--out", "plan.json").returncode == 0
    assert run_cli("rollback", "previous", "--reason", "a was wrong").returncode == 0
    done = run_cli("apply", "plan.json")
    assert done.returncode == 3
    assert "saved plan refused: source 'default' is pinned at" in done.stderr
    assert "a was wrong: reconciler rollback --release" in done.stderr
    (repository / "plan.json").unlink()
    done = run_cli("plan", "--out", "plan.json")
    assert done.returncode == 3
    assert not (repository / "plan.json").exists()


def test_a_rewind_needs_a_reason(repository: Path, run_cli: Cli) -> None:
    done = run_cli("apply", "--allow-rewind")
    assert done.returncode == 64
    assert "--reason" in done.stderr


def test_a_plan_is_made_without_any_store(repository: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    done = run_cli("export", "--state", "state.json")
    assert (done.returncode, done.stderr) == (0, "written to state.json: 3 configs\n")
    state = json.loads((repository / "state.json").read_text())
    assert (state["kind"], [config["name"] for config in state["configs"]]) == ("reconciler.state", ["a", "b", "c"])
    write(repository, a=11, d=4)
    (repository / "specs" / "c.yaml").unlink()
    commit(repository, "edits")
    stored = json.loads(run_cli("plan", "-o", "json").stdout)
    done = run_cli("plan", "--against", "state.json", "-o", "json", "--detailed-exitcode", env=OFFLINE)
    assert done.returncode == 2
    assert "no store was asked" in done.stderr
    alone = json.loads(done.stdout)
    assert alone["changes"] == stored["changes"]
    assert alone["impact"]["fires_per_day"] == stored["impact"]["fires_per_day"]
    assert run_cli("diff", "--against", "state.json", env=OFFLINE).returncode == 1


def test_a_plan_against_a_state_that_is_newer_than_the_commit_is_refused(repository: Path, run_cli: Cli) -> None:
    old = git(repository, "rev-parse", "HEAD")
    write(repository, a=11)
    commit(repository, "edit a")
    assert run_cli("apply").returncode == 0
    run_cli("export", "--state", "state.json")
    git(repository, "checkout", "--quiet", old)
    done = run_cli("plan", "--against", "state.json", "-o", "json", env=OFFLINE)
    answer = json.loads(done.stdout)
    assert [refusal["what"] for refusal in answer["refusals"]] == ["rewind"]
    assert not answer["has_changes"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON"),
        ('{"kind": "reconciler.plan"}', "is no exported state"),
        ('{"kind": "reconciler.state", "format_version": 7}', "has format_version 7"),
        (
            '{"kind": "reconciler.state", "format_version": 1, "made_at": "2026-01-01T00:00:00Z", "configs": 3}',
            "configs",
        ),
    ],
)
def test_a_file_that_is_no_state_is_one_line(text: str, said: str, repository: Path, run_cli: Cli) -> None:
    (repository / "state.json").write_text(text)
    done = run_cli("plan", "--against", "state.json", env=OFFLINE)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("reconciler: state.json: ") and said in line]
    assert "Traceback" not in done.stderr
