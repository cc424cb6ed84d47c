"""A remote over ssh, spoken by a stand-in for the `ssh` command that notes how it was called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ReconcilerError

Forge = Any
# The last argument is the command for the other side.
STAND_IN = """#!/bin/sh
for last; do printf '%s\\n' "$last"; done > "{place}/called"
case "$*" in *refused*) echo "git@forge: Permission denied (publickey)." >&2; exit 255;; esac
case "$*" in *stranger*) echo "Host key verification failed." >&2; exit 255;; esac
exec sh -c "$last"
"""


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "bin"
    place.mkdir()
    script = place / "ssh"
    script.write_text(STAND_IN.format(place=tmp_path))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
    return tmp_path / "called"


def test_a_key_and_its_hosts_are_all_that_ssh_is_given(forge: Forge, called: Path) -> None:
    commit = forge.commit({"specs/a.yaml": "task: a\n"})
    for name in ("my key; touch sprung", "known hosts"):
        (forge.here / name).write_text("")
    keys = {"ssh_key": "my key; touch sprung", "known_hosts": "known hosts"}
    origin = forge.origin(repo=f"ssh://git@forge/{forge.bare}", allow_file=False, **keys)
    found = origin.look()
    assert found.commit == commit
    with origin.opened(found) as place:
        assert (place / "a.yaml").read_text() == "task: a\n"
    arguments = called.read_text().splitlines()
    assert str(forge.here / "my key; touch sprung") in arguments
    assert f'-oUserKnownHostsFile="{forge.here}/known hosts"' in arguments
    assert {"-oBatchMode=yes", "-oIdentitiesOnly=yes", "-oStrictHostKeyChecking=yes"} <= set(arguments)
    # Neither somebody else's open connection nor one that hangs without a word.
    assert {"-oControlPath=none", "-oServerAliveInterval=15"} <= set(arguments)
    assert not list(forge.place.rglob("sprung"))


def test_without_a_key_the_machine_s_own_ssh_is_used_as_it_is(forge: Forge, called: Path) -> None:
    forge.commit({"specs/a.yaml": "task: a\n"})
    forge.origin(repo=f"git@forge:{forge.bare}", allow_file=False).look()
    assert not [word for word in called.read_text().splitlines() if word.startswith("-oBatchMode")]


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("refused", r"Permission denied \(publickey\)\.: give it an ssh_key"),
        ("stranger", r"Host key verification failed\.: put the host's key into known_hosts"),
    ],
)
def test_what_ssh_says_is_passed_on(forge: Forge, called: Path, host: str, message: str) -> None:
    with pytest.raises(ReconcilerError, match=message):
        forge.origin(repo=f"ssh://git@{host}/x.git", allow_file=False).look()
