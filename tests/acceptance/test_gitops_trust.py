"""Who may say what runs, and what exactly: signatures, saved plans, and plans that need no store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Team = Any
SPEC = 'task: tick\nschedule: "{} 2 * * *"\n'
OFFLINE = {
    "RECONCILER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "RECONCILER_REDIS_URL": "redis://127.0.0.1:1",
}


def at(minute: int) -> str:
    return SPEC.format(minute)


# ── signatures ──


@pytest.fixture
def ssh(team: Team, tmp_path: Path) -> Callable[[str], str]:
    """Signs the newest commit as somebody, and pushes it; only Ada may, and Eva might until 2020."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen here")
    keys = tmp_path / "elsewhere" / "keys"
    keys.mkdir()
    public = {}
    for name in ("ada", "eva", "eve"):
        line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(keys / name)]
        subprocess.run(line, check=True)
        public[name] = (keys / f"{name}.pub").read_text()
    (team.place / "signers").write_text(
        f'ada@example.org {public["ada"]}eva@example.org valid-before="20200101" {public["eva"]}'
    )
    team.follow(require_signed="ssh", allowed_signers="signers")
    return lambda name: signed(team, "-c", "gpg.format=ssh", "-c", f"user.signingKey={keys / name}")


@pytest.fixture
def gpg(team: Team, short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """The same with GnuPG; Eva's key is of 2020, and was good for a day."""
    if shutil.which("gpg") is None:
        pytest.skip("there is no gpg here")
    short_directory.chmod(0o700)
    monkeypatch.setenv("GNUPGHOME", str(short_directory))

    def run(*line: str) -> str:
        command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", *line]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    past = ("--faked-system-time", "20200101T000000!")
    for name, until, when in (("ada", "0", ()), ("eva", "1d", past), ("eve", "0", ())):
        run(*when, "--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", until)
    (team.place / "keyring").write_text(run("--export", "--armor", "ada@example.org", "eva@example.org"))
    then = short_directory / "gpg-of-2020"
    then.write_text('#!/bin/sh\nexec gpg --faked-system-time 20200101T010000 "$@"\n')
    then.chmod(0o755)
    team.follow(require_signed="gpg", keyring="keyring")
    programs = {"eva": ("-c", f"gpg.program={then}")}
    yield lambda name: signed(team, *programs.get(name, ()), "-c", f"user.signingKey={name}@example.org")
    subprocess.run(["gpgconf", "--kill", "all"], env=os.environ | {"GNUPGHOME": str(short_directory)}, check=False)


def signed(team: Team, *settings: str) -> str:
    """The newest commit again, with a signature, and pushed."""
    team.remote.git(*settings, "commit", "-q", "--amend", "--no-edit", "-S")
    team.remote.git("push", "-q", "--force", "origin", "HEAD:main")
    commit: str = team.remote.git("rev-parse", "HEAD")
    return commit


SIGNERS = {"nobody": "is not signed", "eve": " is not in ", "eva": "expired"}


@pytest.mark.parametrize("kind", ["ssh", "gpg"])
def test_only_what_a_signer_signed_is_applied_and_else_what_runs_goes_on(
    kind: str, team: Team, request: pytest.FixtureRequest
) -> None:
    sign = request.getfixturevalue(kind)
    team.remote.commit("first", push=False, a=at(1))
    good = sign("ada")
    assert team.sync().returncode == 0
    for minute, (name, said) in enumerate(SIGNERS.items(), start=2):
        team.remote.git("reset", "-q", "--hard", good)
        team.remote.commit(f"by {name}", push=name == "nobody", a=at(minute))
        if name != "nobody":
            sign(name)
        done = team.sync()
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), (name, done.stderr)
        assert said in done.stderr
        assert team.in_force == {"a": "1 2 * * *"}, name
    team.remote.git("reset", "-q", "--hard", good)
    team.remote.commit("second", push=False, a=at(9))
    better = sign("ada")
    assert team.sync().returncode == 0
    assert (team.in_force, team.ask("select revision from sources")) == ({"a": "9 2 * * *"}, [(better,)])


# ── plans that are saved, and plans without a store ──


@pytest.fixture
def planned(team: Team) -> Path:
    """A job's clone with a plan that was saved there: a changes, b is in force beside it."""
    team.remote.commit("first", a=at(1), b=at(1))
    assert team.job(team.clone(), "apply").returncode == 0
    team.remote.commit("second", a=at(2))
    clone: Path = team.clone()
    assert team.job(clone, "plan", "--out", "plan.json").returncode == 0
    return clone


def test_a_saved_plan_is_applied_though_what_it_does_not_touch_has_moved(planned: Path, team: Team) -> None:
    team.ask("update task_configs set spec = jsonb_set(spec, '{schedule}', '[\"9 9 * * *\"]') where name = 'b'")
    done = team.job(planned, "apply", "plan.json")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "applied: 1 updated; 1 unchanged")
    assert team.in_force == {"a": "2 2 * * *", "b": "9 9 * * *"}


def test_a_saved_plan_whose_task_has_moved_is_refused_by_name(planned: Path, team: Team) -> None:
    third = team.remote.commit("third", a=at(3), c=at(3))
    assert team.job(team.clone(), "apply").returncode == 0
    done = team.job(planned, "apply", "plan.json")
    assert done.returncode == 3
    assert f"a was edited ({third[:7]})" in done.stderr and "make another: reconciler plan --out" in done.stderr
    assert team.in_force["a"] == "3 2 * * *"


def test_a_plan_against_an_exported_state_needs_no_store(planned: Path, team: Team) -> None:
    assert team.job(planned, "export", "--state", "state.json").returncode == 0
    done = team.job(planned, "plan", "--against", "state.json", "-o", "json", env=OFFLINE)
    assert done.returncode == 0, done.stderr
    assert [(change["verb"], change["name"]) for change in json.loads(done.stdout)["changes"]] == [("update", "a")]
    assert team.job(planned, "validate", env=OFFLINE).returncode == 0


def test_a_plan_shows_the_refusals_that_apply_would_have(team: Team) -> None:
    early = team.clone(team.remote.commit("first", a=at(1)))
    team.remote.commit("second", a=at(2))
    assert team.job(team.clone(), "apply").returncode == 0
    shown = json.loads(team.job(early, "plan", "-o", "json").stdout)
    assert [(one["what"], "--allow-rewind" in one["text"]) for one in shown["refusals"]] == [("rewind", True)]
    assert team.job(early, "apply", "--dry-run").returncode == 3
