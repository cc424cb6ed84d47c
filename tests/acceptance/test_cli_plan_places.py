"""Plans of sources of every kind, and faults at the very place where they are."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
OFFLINE = {
    "RECONCILER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "RECONCILER_REDIS_URL": "redis://127.0.0.1:1",
}
GOOD = 'task: tick\nschedule: "1 2 * * *"\n'


def git(directory: Path, *line: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"]
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return subprocess.check_output(["git", *identity, *line], cwd=directory, env=environment, text=True).strip()


@pytest.fixture
def from_repository(stocked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, whose one source is a repository elsewhere with the specs a and b."""
    work = tmp_path_factory.mktemp("work")
    (work / "jobs").mkdir()
    for name in "ab":
        (work / "jobs" / f"{name}.yaml").write_text(GOOD)
    git(work, "init", "--quiet", "--initial-branch", "main")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "two")
    with (stocked / "reconciler.toml").open("a") as file:
        file.write(f'\n[[sources]]\nname = "jobs"\nrepo = "file://{work}"\nallow_file = true\npath = "jobs"\n')
    return stocked


def test_a_source_that_is_a_repository_is_planned_from_there(from_repository: Path, run_cli: Cli) -> None:
    done = run_cli("plan", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert [change["name"] for change in json.loads(done.stdout)["changes"]] == ["a", "b"]
    assert run_cli("plan", "--out", "plan.json").returncode == 0
    assert run_cli("apply", "plan.json").returncode == 0
    assert run_cli("plan", "--detailed-exitcode").returncode == 0


def test_a_path_stands_in_for_the_repository_and_deletes_nothing(from_repository: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    (from_repository / "jobs").mkdir()
    (from_repository / "jobs" / "a.yaml").write_text(GOOD.replace("1 2", "5 2"))
    done = run_cli("plan", "jobs", "-o", "json", "--allow-rewind", "--reason", "a look")
    answer = json.loads(done.stdout)
    assert [(change["verb"], change["name"]) for change in answer["changes"]] == [("update", "a")]
    assert answer["kept"] == ["b"]
    assert "jobs is not the path of source 'jobs': nothing is deleted; --prune if meant" in done.stderr


def test_what_is_elsewhere_is_not_validated_offline(from_repository: Path, run_cli: Cli) -> None:
    done = run_cli("validate")
    assert done.returncode == 64
    assert done.stderr == "reconciler: validate: every source is a repository elsewhere: name a PATH\n"


def test_a_faulty_file_holds_its_own_tasks_where_that_is_asked_for(stocked: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    (stocked / "specs" / "greet.yaml").write_text("task: gret\n")
    (stocked / "specs" / "new.yaml").write_text(GOOD)
    assert run_cli("plan").returncode == 1
    done = run_cli("plan", "--on-fault", "hold_file", "-o", "json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert ([change["name"] for change in answer["changes"]], answer["held"]) == (["new"], ["greet"])
    done = run_cli("apply", "--on-fault", "hold_file")
    assert done.returncode == 1
    assert "applied: 1 created" in done.stdout
    assert "the tasks of those files stay as they are" in done.stderr
    assert "greet" in {row["name"] for row in json.loads(run_cli("status", "-o", "json").stdout)["tasks"]}


def test_a_plan_needs_no_right_to_write(stocked: Path, run_cli: Cli, command_environment: dict[str, str]) -> None:
    url = command_environment["RECONCILER_DATABASE_URL"]
    more = f"{url}{'&' if '?' in url else '?'}options=-c%20default_transaction_read_only%3Don"
    done = run_cli("plan", "--detailed-exitcode", env={"RECONCILER_DATABASE_URL": more})
    assert (done.returncode, done.stderr) == (2, "")
    done = run_cli("apply", env={"RECONCILER_DATABASE_URL": more})
    assert done.returncode == 1


def test_a_workflow_reads_whether_there_is_anything_to_apply(stocked: Path, run_cli: Cli, tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    done = run_cli("plan", "--format", "github", env=files)
    assert done.returncode == 0, done.stderr
    outputs = (tmp_path / "GITHUB_OUTPUT").read_text().splitlines()
    assert {"has_changes=true", "created=3", "faults=0"} <= set(outputs)
    assert "3 to create" in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    (stocked / "specs" / "greet.yaml").write_text("task: gret\n")
    done = run_cli("plan", "--format", "github", env=files)
    assert done.returncode == 1
    assert "::error file=specs/greet.yaml,line=1,col=7::task: no task named 'gret'" in done.stdout
    assert "has_changes=false" in (tmp_path / "GITHUB_OUTPUT").read_text().splitlines()[len(outputs) :]


FAULTS = {
    "a mistyped key": ("task: greet\nparams: {name: x}\nschedul: '* * * * *'\n", 3, 1),
    "a wrong value": ("task: greet\nparams: {name: x}\ntimeout: soon\n", 3, 10),
    "a value in a list": ("task: greet\nparams: {name: x}\nschedule:\n  - '0 2 * * *'\n  - '60 * * * *'\n", 5, 5),
    "a value in a mapping": ("task: greet\nparams: {name: x}\nretries:\n  attempts: 2\n  backoff: -1s\n", 5, 12),
    "a parameter too many": ("task: greet\nparams:\n  name: x\n  nam: y\n", 4, 3),
    "a parameter of the wrong type": ("task: greet\nparams:\n  name: x\n  times: many\n", 4, 10),
    "a second document": ("name: one\ntask: tick\n---\nname: two\ntask: tock\n", 5, 7),
    "no YAML": ("task: greet\nparams: {name: [x}\n", 2, 18),
    "a key twice": ("task: tick\nqueue: a\nqueue: b\n", 3, 1),
    "lines as Windows ends them": ("task: tick\r\nqueue: default\r\ntimezone: Berlin\r\n", 3, 11),
    "letters outside ASCII": ("description: é漢😀\ntask: tick\ntimezone: Berlin\n", 3, 11),
    "behind a mark of the byte order": ("\ufefftask: tock\n", 1, 7),
}


def test_a_fault_is_shown_at_its_line_and_column_everywhere(stocked: Path, run_cli: Cli) -> None:
    files = {f"specs/bad{number}.yaml": fault for number, fault in enumerate(FAULTS)}
    for path, fault in files.items():
        (stocked / path).write_bytes(FAULTS[fault][0].encode())
    expected = {(path, *FAULTS[fault][1:]) for path, fault in files.items()}
    outputs = {form: run_cli("validate", "--format", form, env=OFFLINE).stdout for form in ("github", "sarif", "junit")}
    annotated = re.findall(r"^::error file=(.*),line=(\d+),col=(\d+)::", outputs["github"], re.MULTILINE)
    assert {(path, int(line), int(column)) for path, line, column in annotated} == expected
    places = [one["locations"][0]["physicalLocation"] for one in json.loads(outputs["sarif"])["runs"][0]["results"]]
    regions = [(place["artifactLocation"]["uri"], place["region"]) for place in places]
    assert {(path, region["startLine"], region["startColumn"]) for path, region in regions} == expected
    failures = [str(one.get("message")) for one in ElementTree.fromstring(outputs["junit"]).iter("failure")]
    assert {tuple(text.split(": ")[0].split(":")) for text in failures} == {
        tuple(map(str, place)) for place in expected
    }
