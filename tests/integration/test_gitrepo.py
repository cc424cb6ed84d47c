"""Revisions, asked of real repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.gitrepo import Revision, revision_of

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git command here")

PERSON = {"NAME": "Ada Lovelace", "EMAIL": "ada@example.org"}
IDENTITY = {f"GIT_{role}_{key}": text for role in ("AUTHOR", "COMMITTER") for key, text in PERSON.items()}


def git(directory: Path, *arguments: str) -> str:
    environment = os.environ | IDENTITY | {"GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "-b", "main")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "a.yaml").write_text("task: a\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "nightly at three\n\nbecause")
    return tmp_path


def test_a_clean_directory_stands_at_its_commit(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    found = revision_of(repository / "specs")
    assert found == Revision(commit, False, "Ada Lovelace", "nightly at three")
    assert (found.label, found.short) == (commit, commit[:7])


@pytest.mark.parametrize("name", ["a.yaml", "new.yaml"])
def test_a_changed_or_a_new_file_makes_it_dirty(repository: Path, name: str) -> None:
    (repository / "specs" / name).write_text("task: b\n")
    found = revision_of(repository / "specs")
    assert found.is_dirty
    assert found.label == f"{found.commit}-dirty"


def test_what_lies_outside_the_directory_does_not_count(repository: Path) -> None:
    (repository / "README").write_text("hello\n")
    assert not revision_of(repository / "specs").is_dirty


def test_a_file_stands_where_its_directory_does(repository: Path) -> None:
    assert revision_of(repository / "specs" / "a.yaml").commit == git(repository, "rev-parse", "HEAD")


def test_without_a_repository_there_is_no_revision_and_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = revision_of(tmp_path)
    assert (found.commit, found.label, found.short) == (None, None, "no revision")
    assert found.reason and "not a git repository" in found.reason


def test_a_repository_without_a_commit_has_no_revision(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    found = revision_of(tmp_path)
    assert found.commit is None
    assert found.reason


def test_without_the_git_command_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = revision_of(tmp_path)
    assert found.commit is None
    assert found.reason and "git" in found.reason


def test_a_directory_that_is_gone_has_no_revision(tmp_path: Path) -> None:
    assert revision_of(tmp_path / "gone").commit is None


def test_a_hook_s_environment_does_not_mislead(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert revision_of(repository).commit is not None


def test_nothing_of_the_repository_is_run_and_nothing_is_written(repository: Path) -> None:
    trap = repository / ".git" / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {repository}/.git/sprung\n")
    trap.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(trap))
    index = repository / ".git" / "index"
    before = index.read_bytes()
    os.utime(repository / "specs" / "a.yaml")
    assert not revision_of(repository).is_dirty
    assert not (repository / ".git" / "sprung").exists()
    assert index.read_bytes() == before


def test_a_commit_with_odd_text_in_it_is_read(repository: Path) -> None:
    message = repository / "message"
    message.write_bytes(b"caf\xe9 \xff | %H\n")
    git(repository, "-c", "i18n.commitEncoding=utf-8", "commit", "--quiet", "--allow-empty", "-F", str(message))
    found = revision_of(repository / "specs")
    assert found.subject and found.subject.endswith("| %H")
