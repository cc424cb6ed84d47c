"""What ended too soon, or never ends, leaves nothing that runs on, fills the disk or holds up the next turn."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from reconciler.gitrepo.command import Answer, Git, TookTooLong

Forge = Any
A = {"specs/a.yaml": "task: a\n"}


def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Git:
    """A git whose command `told` is that script."""
    for key, text in {"COUNT": "1", "KEY_0": "alias.told", "VALUE_0": f"!{script}"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{key}", text)
    return Git(tmp_path)


def ends(file: Path) -> bool:
    """Whether the process that the file names is gone, or soon will be: a signal takes its time to arrive."""
    state = Path("/proc", file.read_text().strip(), "stat")
    until = time.monotonic() + 10
    while state.exists() and state.read_text().rpartition(") ")[2][0] != "Z":
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_a_daemon_that_holds_on_to_the_complaints_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = running(tmp_path, monkeypatch, f"setsid sleep 30 >/dev/null & echo $! > {tmp_path}/pid; echo told")
    before = time.monotonic()
    assert git.ask("told").text == "told"
    assert time.monotonic() - before < 20
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_what_a_failed_git_has_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = running(tmp_path, monkeypatch, f"sleep 30 >/dev/null & echo $! > {tmp_path}/pid; exit 3")
    before = time.monotonic()
    assert git.ask("told").code == 3
    assert time.monotonic() - before < 20
    assert ends(tmp_path / "pid")


def test_what_holds_on_to_the_output_of_a_git_that_has_ended_is_ended_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = running(tmp_path, monkeypatch, f"sleep 30 & echo $! > {tmp_path}/pid")
    with pytest.raises(TookTooLong):
        git.ask("told", seconds=1)
    assert ends(tmp_path / "pid")


def test_what_an_ended_fetch_left_does_not_fill_the_disk(forge: Forge) -> None:
    forge.commit(A)
    origin = forge.origin()
    origin.look()
    repository = forge.kept() / "repository.git"
    left = [repository / "objects" / "pack" / name for name in ("tmp_pack_x", "tmp_idx_x", ".tmp-1-pack-x.pack")]
    for place in left:
        place.write_bytes(b"PACK")
    for name in ("repository.old", "repository.new"):
        (forge.kept() / name / "objects").mkdir(parents=True)
    origin.look()
    assert not [place for place in left if place.exists()]
    assert sorted(path.name for path in forge.kept().iterdir()) == ["fetch.lock", "repository.git"]


@pytest.mark.parametrize(
    ("complaint", "said"),
    [
        (("@@@@@@@@", "WARNING: CHANGED!", "Host key verification failed."), "Host key verification failed."),
        (("Warning: Permanently added 'x'.", "x: Permission denied (publickey)."), "x: Permission denied (publickey)."),
        (("remote:", "remote: ERROR: no such project", "remote: =====", "remote:"), "ERROR: no such project"),
        ((), "Could not read from remote repository."),
    ],
)
def test_of_what_ssh_says_the_last_line_counts(complaint: tuple[str, ...], said: str) -> None:
    end = ("fatal: Could not read from remote repository.", "Please make sure you have the correct access rights")
    assert Answer(128, b"", (*complaint, *end)).reason == said
