"""Whether git is at work, told from the files that it leaves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.sync.stillness import FORGOTTEN, Mark, mark_of

Git = Callable[..., None]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    def run(*line: str, cwd: Path = tmp_path) -> None:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", *identity, *line], cwd=cwd, check=True, capture_output=True)

    run("init", "-q", "-b", "main")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "a.yaml").write_text("task: a\n")
    run("add", ".")
    run("commit", "-qm", "first")
    return run


def test_a_directory_without_git_is_always_still(tmp_path: Path) -> None:
    assert mark_of(tmp_path / "nowhere") == mark_of(tmp_path) == Mark()


def test_nothing_done_is_the_same_mark_and_reading_git_leaves_it(git: Git, tmp_path: Path) -> None:
    before = mark_of(tmp_path / "specs")
    (tmp_path / "specs" / "a.yaml").write_text("task: b\n")
    git("--no-optional-locks", "status")
    assert mark_of(tmp_path / "specs") == before


@pytest.mark.parametrize(
    "line", [["checkout", "-qb", "other"], ["commit", "-qm", "x", "--allow-empty"], ["commit", "-q", "--amend", "-mx"]]
)
def test_what_moves_a_branch_moves_the_mark(git: Git, tmp_path: Path, line: list[str]) -> None:
    before = mark_of(tmp_path / "specs")
    git(*line)
    assert mark_of(tmp_path / "specs") != before


def test_the_lock_of_git_says_that_it_is_at_work_until_it_is_forgotten(git: Git, tmp_path: Path) -> None:
    lock = tmp_path / ".git" / "index.lock"
    lock.touch()
    written = lock.stat().st_mtime
    assert mark_of(tmp_path / "specs", written + 1).lock == lock
    assert mark_of(tmp_path / "specs", written + FORGOTTEN + 1).lock is None
    lock.unlink()
    assert mark_of(tmp_path / "specs").lock is None


def test_a_linked_working_tree_has_marks_of_its_own(git: Git, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git("worktree", "add", "-q", str(linked), "-b", "side")
    own, other = mark_of(tmp_path), mark_of(linked / "specs")
    git("commit", "-qm", "there", "--allow-empty", cwd=linked)
    assert (mark_of(tmp_path), mark_of(linked / "specs")) == (own, mark_of(linked))
    assert mark_of(linked / "specs") != other
