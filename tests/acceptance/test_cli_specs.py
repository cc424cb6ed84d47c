"""What a person sees who works on specs: validate, next, run, schema, plan, diff, apply."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

Cli = Callable[..., subprocess.CompletedProcess[str]]
OFFLINE = {
    "RECONCILER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "RECONCILER_REDIS_URL": "redis://127.0.0.1:1",
}
BAD = "task: gret\n---\nname: late\ntask: greet\nparams: {name: x}\nschedule: '60 * * * *'\n"


def test_validate_needs_no_store_and_counts_what_is_good(stocked: Path, run_cli: Cli) -> None:
    done = run_cli("validate", env=OFFLINE)
    assert (done.returncode, done.stdout) == (0, "3 specs in 3 files are good\n")
    assert done.stderr.startswith("checked against the task modules, ")


def test_validate_reads_a_directory_once_though_several_sources_have_it(stocked: Path, run_cli: Cli) -> None:
    before = run_cli("validate", env=OFFLINE).stdout
    sources = '[[sources]]\nname = "here"\n\n[[sources]]\nname = "there"\nrepo = "https://git.example/jobs.git"\n'
    with (stocked / "reconciler.toml").open("a") as settings:
        settings.write(f"\n{sources}")
    assert run_cli("validate", env=OFFLINE).stdout == before


def test_validate_shows_every_fault_of_every_file_at_once(stocked: Path, run_cli: Cli) -> None:
    (stocked / "specs" / "bad.yaml").write_text(BAD)
    (stocked / "specs" / "worse.yaml").write_text("task: greet\nparams: {nam: x}\ntimeouts: 3s\n")
    done = run_cli("validate", env=OFFLINE)
    assert done.returncode == 1
    assert "specs/bad.yaml:1:7: task: no task named 'gret'; did you mean 'greet'?" in done.stdout
    assert "specs/bad.yaml:6:11: schedule" in done.stdout
    assert "specs/worse.yaml:" in done.stdout
    assert "timeouts" in done.stdout
    assert "in 2 files" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_broken_task_module_is_one_line_and_the_others_stay(stocked: Path, run_cli: Cli) -> None:
    (stocked / "tasks" / "halves.py").write_text("print('noise')\nimport no_such_thing\n")
    done = run_cli("validate", "--format", "json", env=OFFLINE)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert len(answer["module_faults"]) == 1
    assert "tasks/halves.py:2" in answer["module_faults"][0]
    assert len(answer["specs"]) == 3


@pytest.mark.parametrize("form", ["json", "github", "junit", "sarif"])
def test_faults_come_in_the_forms_that_other_programs_read(form: str, stocked: Path, run_cli: Cli) -> None:
    (stocked / "specs" / "bad.yaml").write_text(BAD)
    done = run_cli("validate", "--format", form, env=OFFLINE)
    assert done.returncode == 1
    if form == "github":
        assert "::error file=specs/bad.yaml,line=1,col=7::task: no task named 'gret'" in done.stdout
    elif form == "junit":
        suite = ElementTree.fromstring(done.stdout)
        assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
    elif form == "sarif":
        results = json.loads(done.stdout)["runs"][0]["results"]
        places = [result["locations"][0]["physicalLocation"] for result in results]
        assert {place["artifactLocation"]["uri"] for place in places} == {"specs/bad.yaml"}
        assert {result["ruleId"] for result in results} == {"task", "schedule"}
    else:
        answer = json.loads(done.stdout)
        assert answer["format_version"] == 1
        assert [(fault["line"], fault["field"].split("[")[0]) for fault in answer["faults"]] == [
            (1, "task"),
            (6, "schedule"),
        ]


def test_validate_reads_one_file_with_the_defaults_around_it(stocked: Path, run_cli: Cli) -> None:
    (stocked / "specs" / "_defaults.yaml").write_text("timezone: Europe/Berlin\n")
    done = run_cli("validate", "specs/greet.yaml", env=OFFLINE)
    assert done.returncode == 0
    assert done.stdout.startswith("1 spec in ")


def test_next_lists_the_instants_of_an_expression_without_any_store(project: Path, run_cli: Cli) -> None:
    line = ["next", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2026-03-28", "-n", "3", "-o", "json"]
    done = run_cli(*line, env=OFFLINE)
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["format_version"] == 1
    assert answer["occurrences"] == [
        {"scheduled_for": "2026-03-28T01:30:00Z", "local": "2026-03-28T02:30:00+01:00"},
        {"scheduled_for": "2026-03-29T01:00:00Z", "local": "2026-03-29T03:00:00+02:00"},
        {"scheduled_for": "2026-03-30T00:30:00Z", "local": "2026-03-30T02:30:00+02:00"},
    ]


def test_next_of_a_name_comes_from_its_spec_and_says_so(stocked: Path, run_cli: Cli) -> None:
    done = run_cli("next", "greet", "--from", "2026-01-02T00:00:00Z", "-n", "1", env=OFFLINE)
    assert done.returncode == 0
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("greet (from greet.yaml): ")
    assert "02:00" in first
    assert last.startswith("2026-01-02 02:00:00 Europe/Berlin  2026-01-02T01:00:00Z")


def test_next_of_a_name_that_only_the_database_has(stocked: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    (stocked / "specs" / "greet.yaml").unlink()
    done = run_cli("next", "greet", "-n", "1", "-o", "json")
    assert json.loads(done.stdout)["found_in"] == "database"
    missing = run_cli("next", "gret")
    assert missing.returncode == 1
    assert "did you mean 'greet'?" in missing.stderr


def test_a_warning_about_a_schedule_goes_beside_the_answer(project: Path, run_cli: Cli) -> None:
    done = run_cli("next", "0 2 1 * 1", "-n", "1", "-o", "json", env=OFFLINE)
    assert "warning: '0 2 1 * 1'" in done.stderr
    assert len(json.loads(done.stdout)["occurrences"]) == 1


def test_a_bad_expression_is_one_line(project: Path, run_cli: Cli) -> None:
    done = run_cli("next", "60 2 * * *", env=OFFLINE)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "reconciler: next: '60 2 * * *' has minute 60; minutes run 0-59\n"


def test_run_calls_a_function_here_with_the_params_of_the_spec_and_yours_over_them(stocked: Path, run_cli: Cli) -> None:
    done = run_cli("run", "greet", "-p", "times=2", env=OFFLINE)
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"greeted": "ana"}
    assert done.stderr.splitlines()[:2] == ["hello ana", "hello ana"]


def test_run_of_a_failing_function_exits_1_with_its_traceback(stocked: Path, run_cli: Cli) -> None:
    done = run_cli("run", "fail", "-p", "why=because", env=OFFLINE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "about to fail" in done.stderr
    assert "ValueError: because" in done.stderr
    assert "tasks/__init__.py" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["run", "gret"], "did you mean 'greet'?"),
        (["run", "fail", "-p", "wy=x"], "wy"),
        (["run", "fail"], "why"),
    ],
)
def test_what_cannot_be_run_is_one_line(line: list[str], said: str, stocked: Path, run_cli: Cli) -> None:
    done = run_cli(*line, env=OFFLINE)
    assert done.returncode == 1
    assert done.stderr.startswith("reconciler: run: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_secret_is_masked_in_what_run_shows(stocked: Path, run_cli: Cli) -> None:
    line = ["run", "greet", "-p", 'name={"from_env": "GREETED"}']
    done = run_cli(*line, env=OFFLINE | {"GREETED": "hunter2-and-more"})
    assert done.returncode == 0
    assert "hunter2" not in done.stdout + done.stderr
    assert "hello ***" in done.stderr


def test_the_schema_knows_the_tasks_of_the_project(stocked: Path, run_cli: Cli) -> None:
    printed = run_cli("schema", env=OFFLINE)
    assert printed.returncode == 0
    assert '"greet"' in printed.stdout
    written = run_cli("schema", "--write", ".reconciler/task.schema.json", env=OFFLINE)
    assert written.returncode == 0
    assert json.loads((stocked / ".reconciler" / "task.schema.json").read_text()) == json.loads(printed.stdout)


def test_plan_and_diff_and_apply_agree_and_have_their_exit_codes(stocked: Path, run_cli: Cli) -> None:
    assert [run_cli(*line).returncode for line in (["plan"], ["plan", "--detailed-exitcode"], ["diff"])] == [0, 2, 1]
    dry = run_cli("apply", "--dry-run")
    assert dry.returncode == 0
    assert "3 to create" in dry.stdout
    applied = run_cli("apply", "--format", "json")
    assert applied.returncode == 0
    answer = json.loads(applied.stdout)
    assert [change["name"] for change in answer["changes"]] == ["broken", "greet", "often"]
    again = run_cli("apply")
    assert (again.returncode, again.stdout) == (0, "nothing to change; 3 unchanged\n")
    assert [run_cli(*line).returncode for line in (["plan"], ["plan", "--detailed-exitcode"], ["diff"])] == [0, 0, 0]


def test_a_fault_anywhere_applies_nothing(stocked: Path, run_cli: Cli) -> None:
    (stocked / "specs" / "bad.yaml").write_text(BAD)
    codes = [run_cli(*line).returncode for line in (["plan"], ["plan", "--detailed-exitcode"], ["diff"], ["apply"])]
    assert codes == [1, 1, 2, 1]
    done = run_cli("apply")
    assert "specs/bad.yaml:1:7: task: " in done.stderr
    assert "nothing was applied" in done.stderr
    assert json.loads(run_cli("status", "-o", "json").stdout)["tasks"] == []


def test_a_refused_prune_exits_3_says_what_to_type_and_applies_the_rest(stocked: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    for name in ("greet.yaml", "often.yaml", "broken.yaml"):
        (stocked / "specs" / name).unlink()
    (stocked / "specs" / "new.yaml").write_text("task: tick\n")
    done = run_cli("apply")
    assert done.returncode == 3
    assert "+ new" in done.stdout
    assert "3 of 3 configs would be deleted (budget 2)" in done.stderr
    assert "reconciler apply --max-prune 3" in done.stderr
    meant = run_cli("apply", "--max-prune", "3")
    assert meant.returncode == 0
    assert meant.stdout.count("\n- ") + meant.stdout.startswith("- ") == 3


def test_a_path_that_is_not_the_sources_own_deletes_nothing_unless_told(stocked: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    other = stocked / "other"
    other.mkdir()
    (other / "extra.yaml").write_text("task: tick\n")
    done = run_cli("apply", "other")
    assert done.returncode == 0
    assert "nothing is deleted" in done.stderr
    names = [row["name"] for row in json.loads(run_cli("status", "-o", "json").stdout)["tasks"]]
    assert names == ["broken", "extra", "greet", "often"]
    assert run_cli("apply", "specs").returncode == 0
    names = [row["name"] for row in json.loads(run_cli("status", "-o", "json").stdout)["tasks"]]
    assert names == ["broken", "greet", "often"]


def test_an_environment_picks_its_values(stocked: Path, run_cli: Cli) -> None:
    spec = {"task": "tick", "schedule": "@hourly", "environments": {"prod": {"schedule": "@daily"}}}
    (stocked / "specs" / "env.yaml").write_text(yaml.safe_dump(spec))
    assert run_cli("apply", "--environment", "prod").returncode == 0
    rows = {row["name"]: row for row in json.loads(run_cli("status", "-o", "json").stdout)["tasks"]}
    assert rows["env"]["schedule"] == ["@daily"]


def test_syncs_tell_what_was_applied_and_by_whom(stocked: Path, run_cli: Cli) -> None:
    assert run_cli("apply").returncode == 0
    (row,) = json.loads(run_cli("syncs", "-o", "json").stdout)["syncs"]
    assert (row["source"], row["created"], row["is_success"]) == ("default", 3, True)
    assert "@" in row["actor"]
    assert "3 created" in run_cli("syncs").stdout


@pytest.mark.parametrize("verb", ["validate", "plan", "apply"])
def test_an_environment_that_no_spec_declares_is_told_with_the_nearest(verb: str, stocked: Path, run_cli: Cli) -> None:
    spec = stocked / "specs" / "broken.yaml"
    spec.write_text(spec.read_text() + "environments: {prod: {description: live}}\n")
    for _ in range(2):  # the second reads what the first has kept
        done = run_cli(verb, "--environment", "prdo")
        assert done.returncode == 0
        assert "environment: no spec declares 'prdo'; did you mean 'prod'?" in done.stdout + done.stderr
    right = run_cli(verb, "--environment", "prod")
    assert "environment:" not in right.stdout + right.stderr


def test_a_refused_prune_is_not_called_nothing_to_change(stocked: Path, run_cli: Cli) -> None:
    run_cli("apply")
    (stocked / "specs" / "broken.yaml").unlink()
    assert "nothing else to change; 2 unchanged" in run_cli("plan", "--max-prune", "0").stdout
    assert "nothing else to change; 2 unchanged" in run_cli("apply", "--max-prune", "0").stdout


@pytest.mark.parametrize("verb", ["plan", "diff", "apply"])
def test_a_plan_in_yaml_is_the_one_in_json(verb: str, stocked: Path, run_cli: Cli) -> None:
    more = ["--dry-run"] if verb == "apply" else []
    as_json = json.loads(run_cli(verb, "-o", "json", *more).stdout)
    as_yaml = yaml.safe_load(run_cli(verb, "-o", "yaml", *more).stdout)
    # What runs next is another second by then.
    assert as_yaml.pop("impact").keys() == as_json.pop("impact").keys()
    assert as_yaml == as_json
    assert len(as_json["changes"]) == 3


@pytest.mark.parametrize("kind", ["", "async "])
def test_a_run_that_is_interrupted_says_so_in_one_line(
    kind: str, project: Path, command_environment: dict[str, str]
) -> None:
    wait = "await asyncio.sleep(60)" if kind else "time.sleep(60)"
    (project / "tasks" / "__init__.py").write_text(
        "import asyncio, time\nfrom reconciler.registry import task\n\n\n"
        f"@task\n{kind}def doze() -> None:\n    print('dozing', flush=True)\n    {wait}\n"
    )
    words = [sys.executable, "-m", "reconciler", "run", "doze"]
    with subprocess.Popen(words, cwd=project, env=command_environment, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        assert "dozing" in child.stderr.readline()
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
    assert child.returncode == 130
    assert rest.startswith("✗ interrupted")
    assert len(rest.splitlines()) == 1


def test_the_name_of_a_function_is_completed_for_run(stocked: Path, run_cli: Cli) -> None:
    line = {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": "reconciler run d", "COMP_CWORD": "2"}
    assert "plain,doze" in run_cli(env=line).stdout.splitlines()
