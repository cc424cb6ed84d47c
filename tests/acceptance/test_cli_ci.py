"""The workflows of docs/ci, run: their very commands, in clones of a bare repository, as a service would run them."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

Cli = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]
SPEC = 'task: tick\nschedule: "{} 2 * * *"\n'
TASKS = "from reconciler.registry import task\n\n\n@task\ndef tick() -> None:\n    pass\n"

# Stand-ins for what is on a service's machine. Each notes how it was called; the first `gh` finds no comment to edit.
PROGRAMS = {
    "reconciler": '#!/bin/sh\nexec "{python}" -m reconciler "$@"\n',
    "pip": '#!/bin/sh\necho "pip $*" >> "$CALLS"\n',
    "gh": (
        '#!/bin/sh\necho "gh $*" >> "$CALLS"\n'
        'case "$*" in *--edit-last*) [ -e "$CALLS.comment" ] || exit 1 ;; esac\n'
        'for last; do :; done\ncp "$last" "$CALLS.comment"\n'
    ),
    "curl": '#!/bin/sh\necho "curl $*" >> "$CALLS"\n',
}


@dataclass
class Service:
    """GitHub or GitLab, as far as a job sees it: a bare repository, and a machine with programs on it."""

    work: Path
    bare: Path
    home: Path
    environment: dict[str, str]
    clones: int = 0

    @property
    def calls(self) -> list[str]:
        path = self.home / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def comment(self) -> str:
        return (self.home / "calls.comment").read_text()

    def git(self, *line: str, cwd: Path | None = None) -> str:
        return subprocess.check_output(
            ["git", *line], cwd=cwd or self.work, env=self.environment, text=True, stderr=subprocess.PIPE
        ).strip()

    def push(self, branch: str, message: str) -> str:
        """What lies in the working tree, as a new commit of that branch."""
        self.git("checkout", "--quiet", "-B", branch)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        self.git("push", "--quiet", "--force", "origin", branch)
        return self.git("rev-parse", "HEAD")

    def checkout(self, ref: str, *, depth: int = 0) -> Path:
        """A clone as a job begins with one: detached, of the whole history (`fetch-depth: 0`) or of a part."""
        self.clones += 1
        clone = self.home / f"clone{self.clones}"
        self.git("init", "--quiet", str(clone))
        self.git("remote", "add", "origin", f"file://{self.bare}", cwd=clone)
        limit = [f"--depth={depth}"] if depth else []
        self.git("fetch", "--quiet", *limit, "origin", "+refs/heads/*:refs/remotes/origin/*", cwd=clone)
        self.git("checkout", "--quiet", "--detach", ref, cwd=clone)
        return clone

    def run(self, script: str, clone: Path, shell: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*shell, "-c", script],
            cwd=clone,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def service(tmp_path: Path, redis_prefix: str, command_environment: dict[str, str]) -> Service:
    work, bare, home = tmp_path / "work", tmp_path / "jobs.git", tmp_path / "home"
    for directory in (work / "specs", work / "tasks", home / "bin"):
        directory.mkdir(parents=True)
    for name, text in PROGRAMS.items():
        path = home / "bin" / name
        path.write_text(text.replace("{python}", sys.executable))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (work / "tasks" / "__init__.py").write_text(TASKS)
    (work / "reconciler.toml").write_text(f'redis_prefix = "{redis_prefix}"\n')
    (work / ".gitignore").write_text(".reconciler/\n__pycache__/\n")
    identity = {f"GIT_{who}_{what}": "ada@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {
        **command_environment,
        **identity,
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "CALLS": str(home / "calls"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }
    found = Service(work, bare, home, environment)
    found.git("init", "--quiet", "--bare", "--initial-branch", "main", str(bare))
    found.git("init", "--quiet", "--initial-branch", "main")
    found.git("remote", "add", "origin", f"file://{bare}")
    write(found, a=1, b=2)
    found.push("main", "two specs")
    return found


def write(service: Service, **minutes: int) -> None:
    for name, minute in minutes.items():
        (service.work / "specs" / f"{name}.yaml").write_text(SPEC.format(minute))


def github(service: Service, job: str, clone: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The `run:` steps of a job, one after the other as GitHub does it; what the last that ran came to."""
    workflow = yaml.safe_load((ROOT / "docs" / "ci" / "github.yml").read_text())
    files = {name: str(service.home / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    given = {"GITHUB_SHA": service.git("rev-parse", "HEAD", cwd=clone), "GITHUB_ACTIONS": "true", **files, **more}
    failed: subprocess.CompletedProcess[str] | None = None
    done: subprocess.CompletedProcess[str] | None = None
    for step in workflow["jobs"][job]["steps"]:
        if "run" not in step or (failed and "!cancelled()" not in step.get("if", "")):
            continue
        own = dict.fromkeys(step.get("env", {}), "1")
        done = service.run(step["run"], clone, ["bash", "--noprofile", "--norc", "-e"], **{**own, **given})
        failed = failed or (done if done.returncode else None)
    assert done is not None
    return failed or done


def gitlab(service: Service, job: str, clone: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The script of a job, as GitLab's runner does it: all lines in one shell that ends at the first failure."""
    workflow = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab.yml").read_text())
    lines = [*workflow[".reconciler"]["before_script"], *workflow[job]["script"]]
    given = {
        "CI_COMMIT_SHA": service.git("rev-parse", "HEAD", cwd=clone),
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_API_V4_URL": "https://gitlab.example.com/api/v4",
        "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_IID": "3",
        **more,
    }
    return service.run("\n".join(lines), clone, ["bash", "-e", "-o", "pipefail"], **given)


Run = Callable[..., subprocess.CompletedProcess[str]]
both = pytest.mark.parametrize("run", [github, gitlab])


def in_force(service: Service) -> dict[str, Any]:
    done = service.run("reconciler status -o json", service.work, ["bash", "-e"])
    return {row["name"]: row for row in json.loads(done.stdout)["tasks"]}


@both
def test_what_is_merged_is_applied_and_waited_for(run: Run, service: Service) -> None:
    done = run(service, "apply", service.checkout("origin/main"))
    assert done.returncode == 0, done.stderr
    assert set(in_force(service)) == {"a", "b"}
    assert any(call.startswith("pip install reconciler") for call in service.calls)


@both
def test_of_two_jobs_in_the_wrong_order_the_second_is_refused(run: Run, service: Service) -> None:
    assert run(service, "apply", service.checkout("origin/main")).returncode == 0
    write(service, a=11)
    early = service.push("main", "a at eleven past")
    write(service, a=22)
    late = service.push("main", "a at twenty-two past")
    assert run(service, "apply", service.checkout(late)).returncode == 0
    done = run(service, "apply", service.checkout(early))
    assert done.returncode == 3
    assert f"rewind refused: {early[:7]} does not descend from {late[:7]}" in done.stderr
    plan = service.run("reconciler plan --detailed-exitcode", service.checkout(late), ["bash"])
    assert (plan.returncode, plan.stdout) == (0, "nothing to change; 2 unchanged\n")


def test_a_job_with_a_shallow_clone_says_what_to_set(service: Service) -> None:
    assert github(service, "apply", service.checkout("origin/main")).returncode == 0
    write(service, a=11)
    service.push("main", "once")
    write(service, a=12)
    service.push("main", "twice")
    clone = service.checkout("origin/main", depth=1)
    service.git("remote", "remove", "origin", cwd=clone)
    done = github(service, "apply", clone)
    assert done.returncode == 3
    assert "cannot tell whether" in done.stderr
    assert "fetch-depth: 0" in done.stderr


def test_a_pull_request_on_github_has_its_plan_as_one_comment(service: Service) -> None:
    assert github(service, "apply", service.checkout("origin/main")).returncode == 0
    write(service, a=11, c=3)
    head = service.push("feature", "a later, c is new")
    done = github(service, "check", service.checkout(head))
    assert done.returncode == 0, done.stderr
    assert "1 to create, 1 to update; 1 unchanged" in service.comment
    assert "11 2 * * *" in service.comment
    assert service.comment in (service.home / "GITHUB_STEP_SUMMARY").read_text()
    write(service, d=4)
    done = github(service, "check", service.checkout(service.push("feature", "and d")))
    assert "2 to create" in service.comment
    edits = [call for call in service.calls if call.startswith("gh pr comment 1")]
    assert [("--edit-last" in call) for call in edits] == [True, False, True]
    assert set(in_force(service)) == {"a", "b"}


def test_a_merge_request_on_gitlab_is_planned_as_it_would_be_merged(service: Service) -> None:
    assert gitlab(service, "apply", service.checkout("origin/main")).returncode == 0
    write(service, c=3)
    head = service.push("feature", "c is new")
    service.git("checkout", "--quiet", "main")
    service.git("clean", "--quiet", "--force", "specs")
    write(service, b=22)
    assert gitlab(service, "apply", service.checkout(service.push("main", "meanwhile"))).returncode == 0
    clone = service.checkout(head)
    done = gitlab(service, "plan", clone, GITLAB_NOTE_TOKEN="secret")
    assert done.returncode == 0, done.stderr
    assert "1 to create; 2 unchanged" in (clone / "plan.md").read_text()
    [note] = [call for call in service.calls if call.startswith("curl")]
    assert note.endswith("https://gitlab.example.com/api/v4/projects/7/merge_requests/3/notes")


def test_faults_of_a_pull_request_are_at_their_line_and_in_the_comment(service: Service) -> None:
    assert github(service, "apply", service.checkout("origin/main")).returncode == 0
    (service.work / "specs" / "a.yaml").write_text("task: tick\ntimezone: UTC\nschedule: '60 2 * * *'\n")
    clone = service.checkout(service.push("feature", "a mistake"))
    done = github(service, "check", clone)
    assert done.returncode == 1
    assert re.search(r"^::error file=specs/a\.yaml,line=3,col=11::schedule", done.stdout, re.MULTILINE)
    assert "1 fault in the specs" in service.comment
    assert "specs/a.yaml:3:11" in service.comment
    done = gitlab(service, "validate", clone)
    assert done.returncode == 1
    assert "specs/a.yaml:3:11" in (clone / "validate.xml").read_text()


@pytest.mark.parametrize("name", ["github.yml", "gitlab.yml"])
def test_the_workflows_ask_for_the_whole_history(name: str) -> None:
    text = (ROOT / "docs" / "ci" / name).read_text()
    workflow = yaml.safe_load(text)
    if name == "gitlab.yml":
        assert workflow[".reconciler"]["variables"]["GIT_DEPTH"] == "0"
    else:
        checkouts = [step for job in workflow["jobs"].values() for step in job["steps"] if "checkout" in str(step)]
        assert len(checkouts) == 2
        assert all(step["with"]["fetch-depth"] == 0 for step in checkouts)
        # What a pull request may say never stands in a script.
        assert all("${{" not in step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
