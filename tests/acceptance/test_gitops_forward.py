"""Only forward: late jobs, force-pushes, clones that cannot tell, two at once, and the branch somebody switches to."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

Team = Any
SPEC = 'task: tick\nschedule: "{} 2 * * *"\n'


def at(minute: int) -> str:
    return SPEC.format(minute)


def typed(stderr: str, reason: str) -> list[str]:
    """The command that a refusal names, with a reason in the place of the dots, as a person would type it."""
    line = stderr[stderr.rindex("reconciler apply --allow-rewind") :].splitlines()[0]
    return shlex.split(line.replace("…", reason))[1:]


def test_a_force_push_is_refused_with_3_and_nothing_of_it_is_applied(team: Team) -> None:
    team.follow()
    team.remote.commit("first", a=at(1))
    second = team.remote.commit("second", b=at(1))
    assert team.sync().returncode == 0
    forced = team.remote.commit("rewritten", amend=True, a=at(5), b=None, c=at(1))
    done = team.sync()
    assert done.returncode == 3
    assert f"rewind refused: {forced[:7]} does not descend from {second[:7]}, applied " in done.stderr
    assert team.in_force == {"a": "1 2 * * *", "b": "1 2 * * *"}


def test_of_two_jobs_the_older_that_ends_last_applies_nothing(team: Team) -> None:
    older = team.remote.commit("first", a=at(1), b=at(1))
    early = team.clone(older)
    newer = team.remote.commit("second", a=at(2), c=at(2))
    assert team.job(team.clone(), "apply").returncode == 0
    done = team.job(early, "apply")
    assert done.returncode == 3
    assert f"rewind refused: {older[:7]} does not descend from {newer[:7]}, applied " in done.stderr
    assert team.in_force == {"a": "2 2 * * *", "b": "1 2 * * *", "c": "2 2 * * *"}
    assert team.ask("select revision, error from sources") == [(newer, done.stderr.strip().partition(": ")[2])]


def test_what_the_refusal_says_to_type_goes_back_and_the_reason_is_kept(team: Team) -> None:
    early = team.clone(team.remote.commit("first", a=at(1)))
    team.remote.commit("second", a=at(2))
    assert team.job(team.clone(), "apply").returncode == 0
    line = typed(team.job(early, "apply").stderr, "two is broken")
    assert team.job(early, *line).returncode == 0
    assert team.in_force == {"a": "1 2 * * *"}
    assert (team.newest["reason"], team.newest["is_success"]) == ("two is broken", True)


def test_a_refused_job_is_forgotten_by_the_next_commit(team: Team) -> None:
    early = team.clone(team.remote.commit("first", a=at(1)))
    team.remote.commit("second", a=at(2))
    assert team.job(team.clone(), "apply").returncode == 0
    assert team.job(early, "apply").returncode == 3
    third = team.remote.commit("third", a=at(3))
    assert team.job(team.clone(), "apply").returncode == 0
    assert team.ask("select revision, error from sources") == [(third, None)]


@pytest.fixture
def shallow(team: Team) -> Path:
    """A clone of one commit, the third; the first is in force."""
    team.configure(team.remote.tree, "[[sources]]\nallow_file = true")
    team.remote.commit("first", a=at(1))
    assert team.job(team.clone(), "apply").returncode == 0
    team.remote.commit("second", a=at(2))
    team.remote.commit("third", a=at(3))
    clone: Path = team.clone(depth=1)
    return clone


def test_a_clone_of_one_commit_gets_what_it_needs_from_its_remote(shallow: Path, team: Team) -> None:
    before = team.remote.git("for-each-ref", cwd=shallow)
    assert team.remote.git("rev-list", "--count", "HEAD", cwd=shallow) == "1"
    done = team.job(shallow, "apply")
    assert (done.returncode, done.stderr) == (0, "")
    assert team.in_force == {"a": "3 2 * * *"}
    assert team.remote.git("for-each-ref", cwd=shallow) == before
    assert team.remote.git("status", "--porcelain", cwd=shallow) == ""


def test_a_clone_of_one_commit_whose_remote_is_gone_says_what_to_set(shallow: Path, team: Team) -> None:
    team.remote.bare.rename(team.remote.bare.with_name("gone.git"))
    done = team.job(shallow, "apply")
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "cannot tell whether" in done.stderr and "set fetch-depth: 0 (GitHub)" in done.stderr
    assert "does not descend" not in done.stderr
    assert team.in_force == {"a": "1 2 * * *"}


def test_of_an_older_and_a_newer_job_at_once_the_newer_is_in_force(team: Team) -> None:
    older = team.remote.commit("first", a=at(1), old=at(1))
    clones = [team.clone(older)]
    newer = team.remote.commit("second", a=at(2), old=None, new=at(2))
    clones += [team.clone()]
    jobs = [team.begin(clone, "apply") for clone in clones]
    told = [job.communicate(timeout=60)[1] for job in jobs]
    assert jobs[1].returncode == 0, told
    assert jobs[0].returncode in (0, 3), told
    assert team.in_force == {"a": "2 2 * * *", "new": "2 2 * * *"}
    assert team.ask("select revision from sources") == [(newer,)]


def test_two_jobs_of_one_commit_at_once_apply_it_once(team: Team) -> None:
    team.remote.commit("first", a=at(1), b=at(1))
    jobs = [team.begin(clone, "apply") for clone in (team.clone(), team.clone())]
    said = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    # Whichever comes second may be the first to get to Redis, and says so then.
    assert sorted(out.splitlines()[-1].partition(";")[0] for out, _ in said) == [
        "applied: 2 created",
        "nothing to change",
    ]
    assert team.ask("select count(*), sum(created) from syncs") == [(1, 2)]
    assert team.ask("select * from drifts") == []


def test_a_branch_that_somebody_switches_to_is_refused_by_a_service_that_watches(team: Team) -> None:
    here, first, second = switched(team)
    said = team.serve("--no-runner", "--watch", cwd=here)
    team.remote.git("checkout", "-q", "other", cwd=here)
    team.until(lambda: f"rewind refused: {first[:7]}" in said(), said)
    assert team.in_force == {"a": "1 2 * * *", "main": "1 2 * * *"}
    team.remote.git("checkout", "-q", "main", cwd=here)
    (here / "specs" / "saved.yaml").write_text(at(9))
    team.until(lambda: "saved" in team.in_force, said)
    assert team.in_force == {"a": "1 2 * * *", "main": "1 2 * * *", "saved": "9 2 * * *"}
    assert team.ask("select distinct revision from syncs where is_success order by 1") == sorted(
        [(second,), (f"{second}-dirty",)]
    )


def test_a_service_that_may_follows_the_branch_and_says_so(team: Team) -> None:
    here, first, _ = switched(team)
    said = team.serve("--no-runner", "--watch", "--allow-rewind", cwd=here)
    team.remote.git("checkout", "-q", "other", cwd=here)
    team.until(lambda: team.in_force == {"a": "7 2 * * *", "other": "1 2 * * *"}, said)
    assert (team.newest["revision"], team.newest["reason"]) == (first, "by --allow-rewind")


def switched(team: Team) -> tuple[Path, str, str]:
    """A working tree at main, the newest commit of a branch `other` beside it, and that of main."""
    team.remote.commit("first", a=at(1))
    team.remote.git("checkout", "-q", "-b", "other")
    other = team.remote.commit("on the other branch", push=False, a=at(7), other=at(1))
    team.remote.git("checkout", "-q", "main")
    return team.remote.tree, other, team.remote.commit("on main", main=at(1))
