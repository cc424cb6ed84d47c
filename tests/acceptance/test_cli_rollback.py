"""`rollback`, `sources` and what the guards say on the command line, in a real repository."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
NAMED = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main")


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *NAMED, *arguments], cwd=directory, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(directory: Path, subject: str) -> str:
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", subject)
    return git(directory, "rev-parse", "--short=7", "HEAD")


@pytest.fixture
def two(stocked: Path, run_cli: RunCli) -> tuple[str, str]:
    """Two commits, both applied: the second drops `broken` and lets `greet` come an hour later."""
    git(stocked, "init", "-q")
    first = commit(stocked, "the first tasks")
    assert run_cli("apply").returncode == 0
    (stocked / "specs" / "broken.yaml").unlink()
    greet = stocked / "specs" / "greet.yaml"
    greet.write_text(greet.read_text().replace("0 2 ", "0 3 "))
    second = commit(stocked, "tidy up")
    done = run_cli("apply")
    assert done.returncode == 0
    assert f"- broken  removed by {second} (Ada: tidy up) (broken.yaml)" in done.stdout
    return first, second


def test_back_and_forward_again(two: tuple[str, str], stocked: Path, run_cli: RunCli) -> None:
    first, second = two
    shown = run_cli("rollback", "previous", "--dry-run")
    assert f"+ broken  was there at {first} (broken.yaml)" in shown.stdout
    assert "1 to create, 1 to update; 1 unchanged" in shown.stdout
    done = run_cli("rollback", first, "--reason", "it was needed")
    assert done.returncode == 0, done.stderr
    assert "applied: 1 created, 1 updated; 1 unchanged" in done.stdout
    assert f"source 'default' is pinned at {first} by " in done.stderr
    assert f"pinned at {first}: it was needed" in run_cli("sources").stdout
    held = run_cli("apply")
    assert held.returncode == 0
    assert f"pinned at {first} by " in held.stdout + held.stderr
    assert "reconciler rollback --release" in held.stderr
    released = run_cli("rollback", "--release")
    assert released.stdout.startswith("released: source 'default' was pinned at ")
    assert "applied: 1 updated, 1 deleted" in run_cli("apply").stdout
    assert json.loads(run_cli("sources", "-o", "json").stdout)["sources"][0]["revision"].startswith(second)


def test_a_late_job_is_refused_with_3_and_told_what_to_type(
    two: tuple[str, str], stocked: Path, run_cli: RunCli
) -> None:
    first, second = two
    git(stocked, "checkout", "-q", first)
    done = run_cli("apply")
    assert done.returncode == 3
    assert f"rewind refused: {first} does not descend from {second}, applied " in done.stderr
    assert run_cli("apply", "--allow-rewind").returncode == 64
    allowed = run_cli("apply", "--allow-rewind", "--reason", "the newer one is broken")
    assert allowed.returncode == 0, allowed.stderr
    assert json.loads(run_cli("syncs", "-o", "json").stdout)["syncs"][0]["reason"] == "the newer one is broken"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 64, "rollback: REV or --release: one of the two"),
        (("previous", "--release"), 64, "rollback: REV or --release: one of the two"),
        (("fedcba98",), 1, "rollback: source 'default': no applied revision 'fedcba98': reconciler syncs lists them"),
        (("previous", "--source", "nobody"), 1, "nothing of it was ever applied"),
        (("--release",), 0, ""),
    ],
)
def test_what_makes_no_sense_is_one_line(
    two: tuple[str, str], run_cli: RunCli, words: tuple[str, ...], code: int, said: str
) -> None:
    done = run_cli("rollback", *words)
    assert (done.returncode, done.stderr.count("\n") <= 1) == (code, True), done.stderr
    assert said in done.stderr


def test_a_source_is_taken_away_with_or_without_its_tasks(stocked: Path, run_cli: RunCli, redis_prefix: str) -> None:
    settings = stocked / "reconciler.toml"
    plain = settings.read_text()
    settings.write_text(plain + '[[sources]]\nname = "old"\n')
    assert run_cli("apply").returncode == 0
    refused = run_cli("sources", "remove", "old")
    assert refused.returncode == 1
    assert "take it out of reconciler.toml first" in refused.stderr
    settings.write_text(plain)
    assert "not configured here" in run_cli("sources").stdout
    asked = run_cli("sources", "remove", "old", "--prune")
    assert asked.returncode == 3
    assert "this deletes 3 tasks (broken, greet, often); if that is meant, add --yes" in asked.stderr
    gone = run_cli("sources", "remove", "old", "--prune", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert gone.stdout == "deleted: 3 tasks (broken, greet, often)\nremoved: source 'old'\n"
    assert run_cli("sources", "remove", "old").returncode == 1
    assert json.loads(run_cli("status", "-o", "json").stdout)["tasks"] == []
