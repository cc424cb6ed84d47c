"""What a person has after `init`, and that the lines it prints work."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

Cli = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]
FILES = [
    ".gitignore",
    ".pre-commit-config.yaml",
    ".reconciler/task.schema.json",
    "reconciler.toml",
    "specs/heartbeat.yaml",
    "tasks/__init__.py",
    "tasks/example.py",
]


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    return directory


def there(directory: Path) -> list[str]:
    found = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if ".git" not in path.parts[:1] and "cache" not in str(path))


@pytest.mark.parametrize(
    ("ci", "workflow", "model"),
    [
        ("github", ".github/workflows/reconciler.yml", "github.yml"),
        ("gitlab", ".gitlab-ci.yml", "gitlab.yml"),
        ("none", None, None),
    ],
)
def test_a_new_repository_has_all_it_needs(
    ci: str, workflow: str | None, model: str | None, empty: Path, run_cli: Cli
) -> None:
    done = run_cli("init", "jobs", "--ci", ci, cwd=empty)
    assert (done.returncode, done.stderr) == (0, "")
    assert there(empty / "jobs") == sorted([*FILES, *([workflow] if workflow else [])])
    if workflow and model:
        assert (empty / "jobs" / workflow).read_bytes() == (ROOT / "docs" / "ci" / model).read_bytes()
    first = (empty / "jobs" / "specs" / "heartbeat.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../.reconciler/task.schema.json"
    assert '"example.heartbeat"' in (empty / "jobs" / ".reconciler" / "task.schema.json").read_text()


def printed(text: str) -> Iterator[list[str]]:
    """The lines to type, and the directory that they leave the reader in is theirs."""
    for line in text.partition("\nnext:\n")[2].splitlines():
        yield from (shlex.split(part) for part in line.strip().split(" && "))


def test_the_lines_to_type_next_work(empty: Path, run_cli: Cli, command_environment: dict[str, str]) -> None:
    done = run_cli("init", "jobs", cwd=empty)
    directory, typed = empty, list(printed(done.stdout))
    assert [words[:2] for words in typed] == [
        ["cd", "jobs"],
        ["git", "init"],
        ["git", "add"],
        ["git", "commit"],
        ["reconciler", "validate"],
        ["reconciler", "plan"],
        ["reconciler", "serve"],
    ]
    identity = {f"GIT_{who}_{what}": "ada@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for words in typed[:-1]:
        if words[0] == "cd":
            directory = directory / words[1]
        elif words[0] == "git":
            subprocess.run(words, cwd=directory, env=os.environ | identity, check=True, capture_output=True)
        else:
            done = run_cli(*words[1:], cwd=directory)
            assert done.returncode == 0, done.stderr
    assert "+ heartbeat" in done.stdout
    assert ".reconciler/" not in subprocess.check_output(["git", "ls-files"], cwd=directory, text=True)
    served = subprocess.Popen(
        [sys.executable, "-m", *typed[-1]],
        cwd=directory,
        env=command_environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert served.stdout is not None
    try:
        assert any("1 created (heartbeat)" in line for line in served.stdout)
    finally:
        served.terminate()
        served.communicate(timeout=30)
    assert served.returncode == 0


def test_what_is_there_is_left_alone_and_named(empty: Path, run_cli: Cli) -> None:
    (empty / "specs").mkdir()
    (empty / "specs" / "own.yaml").write_text("task: examples.heartbeat\n")
    (empty / "reconciler.toml").write_text('environment = "prod"\n')
    (empty / ".gitignore").symlink_to(empty / "nowhere")
    done = run_cli("init", "--ci", "none", cwd=empty)
    assert done.returncode == 0
    assert (empty / "reconciler.toml").read_text() == 'environment = "prod"\n'
    assert "left alone  reconciler.toml, which exists" in done.stdout
    assert "left alone  specs/, which has specs of its own" in done.stdout
    assert not (empty / "nowhere").exists()
    assert there(empty) == [
        ".pre-commit-config.yaml",
        ".reconciler/task.schema.json",
        "reconciler.toml",
        "specs/own.yaml",
    ]


def test_again_it_writes_nothing(empty: Path, run_cli: Cli) -> None:
    run_cli("init", cwd=empty)
    done = run_cli("init", cwd=empty)
    assert done.returncode == 0
    assert "written" not in done.stdout
    assert done.stdout.count("says so already") == 5  # and the specs, which are somebody's by now


@pytest.mark.parametrize(
    ("remote", "workflow"),
    [
        ("https://gitlab.example.com/team/jobs.git", ".gitlab-ci.yml"),
        ("git@github.com:team/jobs.git", ".github/workflows/reconciler.yml"),
    ],
)
def test_the_workflow_fits_the_remote(remote: str, workflow: str, empty: Path, run_cli: Cli) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=empty, check=True)
    subprocess.run(["git", "remote", "add", "origin", remote], cwd=empty, check=True)
    run_cli("init", cwd=empty)
    assert (empty / workflow).is_file()


def test_below_the_top_of_a_repository_no_workflow_is_written(empty: Path, run_cli: Cli) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=empty, check=True)
    done = run_cli("init", "jobs", cwd=empty)
    assert there(empty) == [f"jobs/{name}" for name in FILES]
    assert "no workflow is written" in done.stderr


def test_the_pre_commit_hooks_run_what_they_say(empty: Path, run_cli: Cli) -> None:
    run_cli("init", cwd=empty)
    [ours] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    [own] = yaml.safe_load((empty / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    for hook in (ours, own):
        program, *words = shlex.split(hook["entry"])
        assert program == "reconciler"
        assert run_cli(*words, cwd=empty).returncode == 0
        assert all(re.search(hook["files"], path) for path in ("specs/heartbeat.yaml", "tasks/example.py"))
    (empty / "specs" / "heartbeat.yaml").write_text("task: example.hartbeat\n")
    done = run_cli(*words, cwd=empty)
    assert done.returncode == 1
    assert "specs/heartbeat.yaml:1:7: task: no task named 'example.hartbeat'" in done.stdout
