"""What is held back: empty and unreadable places, faults, deletions, renames, and names that two sources claim."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

Team = Any
SPEC = 'task: tick\nschedule: "{} 2 * * *"\n'


def reads_everything() -> bool:
    """Whether modes mean nothing to whoever runs this, as to the superuser in most places."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).chmod(0)
        return os.access(file.name, os.R_OK)


PLAIN = pytest.mark.skipif(reads_everything(), reason="the superuser can read everything")


def at(minute: int, *more: str) -> str:
    return SPEC.format(minute) + "".join(f"{line}\n" for line in more)


@pytest.fixture
def specs(team: Team) -> Path:
    """The specs of the team's own clone; a and b are in force."""
    team.remote.commit("two specs", a=at(1), b=at(1))
    assert team.job(team.remote.tree, "apply").returncode == 0
    found: Path = team.remote.tree / "specs"
    return found


@pytest.fixture
def applied(team: Team, specs: Path) -> Any:
    """`apply` in that clone."""
    return lambda *line: team.job(team.remote.tree, "apply", *line)


# ── nothing there is not "delete everything" ──


def test_an_emptied_directory_deletes_nothing_until_that_is_meant(specs: Path, team: Team, applied: Any) -> None:
    (specs / ".keep").touch()
    emptied = team.remote.commit("tidy up", a=None, b=None)
    done = applied()
    assert done.returncode == 3
    assert "prune refused: no spec is left and 2 of 2 configs would be deleted" in done.stderr
    assert team.in_force == {"a": "1 2 * * *", "b": "1 2 * * *"}
    meant = applied("--allow-empty")
    assert meant.returncode == 0
    assert f"- a  removed by {emptied[:7]} (Ada Lovelace: tidy up) (a.yaml)" in meant.stdout
    assert team.in_force == {}


def test_a_directory_that_a_commit_took_away_is_an_error_and_no_empty_source(team: Team) -> None:
    team.follow()
    team.remote.commit("first", a=at(1))
    assert team.sync().returncode == 0
    gone = team.remote.commit("moved", a=None)
    done = team.sync("--allow-empty", "--max-prune", "9")
    assert done.returncode == 1
    assert f"there is no directory 'specs' at {gone[:7]}" in done.stderr
    assert team.in_force == {"a": "1 2 * * *"}


@PLAIN
def test_a_file_that_cannot_be_read_holds_everything(specs: Path, team: Team, applied: Any) -> None:
    (specs / "a.yaml").chmod(0)
    (specs / "b.yaml").write_text(at(2))
    done = applied()
    (specs / "a.yaml").chmod(0o644)
    assert done.returncode == 1
    assert "specs/a.yaml:1:1: file: cannot be read: permission denied" in done.stderr
    assert team.in_force == {"a": "1 2 * * *", "b": "1 2 * * *"}


@PLAIN
@pytest.mark.parametrize("folder", [".", "team"])
def test_a_directory_that_cannot_be_read_holds_everything(folder: str, specs: Path, team: Team, applied: Any) -> None:
    (specs / "team").mkdir(exist_ok=True)
    (specs / folder).chmod(0)
    done = applied("--allow-empty", "--max-prune", "9")
    (specs / folder).chmod(0o755)
    assert done.returncode == 1
    assert "cannot be read: permission denied" in done.stderr
    assert team.in_force == {"a": "1 2 * * *", "b": "1 2 * * *"}


def test_a_link_that_leads_nowhere_is_no_file_that_is_gone(specs: Path, team: Team, applied: Any) -> None:
    (specs / "a.yaml").unlink()
    (specs / "a.yaml").symlink_to("nowhere.yaml")
    done = applied()
    assert done.returncode == 1
    assert "a.yaml" in done.stderr
    assert team.in_force == {"a": "1 2 * * *", "b": "1 2 * * *"}


# ── faults ──


def test_under_a_broken_commit_what_runs_goes_on_until_its_fix(team: Team) -> None:
    team.follow(interval="300ms")
    team.remote.commit("first", often="task: tick\nschedule: '@every 1s'\n", a=at(1))
    said = team.serve()
    broken = team.remote.commit("broken", often="task: tick\nschedule: '@every 1h'\n", a="task: tock\n")
    team.until(lambda: "no task named 'tock'" in said(), said)
    [(since,)] = team.ask("select clock_timestamp()")
    runs = f"select count(*) from task_executions where is_success and scheduled_for > '{since}'"
    team.until(lambda: team.ask(runs)[0][0] >= 2, said)
    assert team.in_force == {"a": "1 2 * * *", "often": "@every 1s"}
    assert team.ask("select tried_revision from sources") == [(broken,)]
    fixed = team.remote.commit("fixed", a=at(2))
    team.until(lambda: team.in_force == {"a": "2 2 * * *", "often": "@every 1h"}, said)
    assert team.ask("select revision, error from sources") == [(fixed, None)]


def test_an_apply_that_faults_stop_is_on_record_for_whoever_waits(specs: Path, team: Team, applied: Any) -> None:
    commit = team.remote.commit("broken", a="task: tock\n")
    assert applied().returncode == 1
    assert team.in_force["a"] == "1 2 * * *"
    [(error,)] = team.ask("select error from syncs where not is_success")
    assert "no task named 'tock'" in error
    waited = team.job(team.remote.tree, "wait", "--revision", commit, "--timeout", "20s")
    assert (waited.returncode, "no task named 'tock'" in waited.stderr) == (1, True), waited.stderr


def test_a_faulty_file_may_hold_its_own_tasks_only(specs: Path, team: Team, applied: Any) -> None:
    team.remote.commit("half", a="task: tock\n", b=at(2), c=at(1))
    done = applied("--on-fault", "hold_file")
    assert done.returncode == 1
    assert "a  held: a file has a fault, and its last good state stays" in done.stdout + done.stderr
    assert team.in_force == {"a": "1 2 * * *", "b": "2 2 * * *", "c": "1 2 * * *"}
    team.remote.commit("whole", a=at(3))
    assert applied().returncode == 0
    assert team.in_force["a"] == "3 2 * * *"


# ── deletions and renames ──


def test_more_deletions_than_the_budget_delete_nothing_and_the_rest_is_applied(team: Team) -> None:
    names = [f"t{number}" for number in range(9)]
    team.remote.commit("nine", **dict.fromkeys(names, at(1)))
    assert team.job(team.remote.tree, "apply").returncode == 0
    team.remote.commit("three fewer", t0=None, t1=None, t2=None, t3=at(9))
    done = team.job(team.remote.tree, "apply")
    assert done.returncode == 3
    assert "3 of 9 configs would be deleted (budget 2); if that is meant: reconciler apply --max-prune 3" in done.stderr
    assert (len(team.in_force), team.in_force["t3"]) == (9, "9 2 * * *")


def test_a_protected_task_does_not_go_with_its_file(specs: Path, team: Team, applied: Any) -> None:
    team.remote.commit("protected", a=at(1, "protect: true"))
    assert applied().returncode == 0
    team.remote.commit("gone", a=None)
    done = applied("--max-prune", "9")
    assert done.returncode == 3
    assert "protect refused: a is protected and no longer in source 'default'" in done.stderr
    assert "put it back with 'protect: false'" in done.stderr
    assert "a" in team.in_force


def test_a_rename_without_a_name_is_told_with_what_to_add(specs: Path, team: Team, applied: Any) -> None:
    renamed = team.remote.commit("rename", a=None, z=at(1))
    done = applied("--dry-run")
    assert done.returncode == 0
    assert 'looks like a rename of a; add "name: a" to keep its history' in done.stdout
    assert f"- a  removed by {renamed[:7]} (Ada Lovelace: rename) (a.yaml)" in done.stdout


def test_a_rename_with_its_name_is_an_update_of_the_path(specs: Path, team: Team, applied: Any) -> None:
    [(before,)] = team.ask("select id from task_configs where name = 'a'")
    team.remote.commit("rename", a=None, z=at(1, "name: a"))
    done = applied()
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "applied: 1 updated; 1 unchanged")
    assert team.ask("select id, path from task_configs where name = 'a'") == [(before, "z.yaml")]


def test_a_reverted_deletion_brings_the_task_back_with_its_past(specs: Path, team: Team, applied: Any) -> None:
    team.remote.commit("gone", a=None)
    assert applied().returncode == 0
    team.remote.git("revert", "--no-edit", "HEAD")
    assert applied().returncode == 0
    assert team.in_force == {"a": "1 2 * * *", "b": "1 2 * * *"}
    assert team.ask("select count(*) from task_revisions where name = 'a'") == [(2,)]
    assert team.ask("select count(*) from task_executions") == [(0,)]


# ── two sources ──


@pytest.fixture
def two(team: Team) -> None:
    """Two sources of the project, `left` and `right`, that both have a spec `same`."""
    for name in ("left", "right"):
        (team.place / name).mkdir()
        (team.place / name / "same.yaml").write_text(at(1 if name == "left" else 2))
        (team.place / name / f"{name}.yaml").write_text(at(1))
        team.configure(team.place, f'[[sources]]\nname = "{name}"\npath = "{name}"\ninterval = "300ms"')
    assert team.run_cli("apply", "--source", "left").returncode == 0


def test_a_name_that_two_sources_claim_is_refused_to_the_second_and_both_are_named(two: None, team: Team) -> None:
    done = team.run_cli("apply", "--source", "right")
    assert done.returncode == 3
    assert "owner refused: same belongs to source 'left'" in done.stderr
    assert "source 'right': reconciler apply --adopt --source right" in done.stderr
    assert team.in_force == {"left": "1 2 * * *", "right": "1 2 * * *", "same": "1 2 * * *"}


def test_sources_that_fight_under_a_service_do_not_take_turns(two: None, team: Team) -> None:
    said = team.serve("--no-runner")
    team.until(lambda: "owner refused: same belongs to source 'left'" in said(), said)
    [(syncs,)] = team.ask("select count(*) from syncs where source = 'left'")
    (team.place / "left" / "same.yaml").write_text(at(5))
    team.until(lambda: team.in_force["same"] == "5 2 * * *", said)
    assert team.ask("select count(*) from syncs where source = 'left'") == [(syncs + 1,)]
    assert team.ask("select count(*), bool_or(is_success) from syncs where source = 'right'") == [(1, False)]


def test_with_adopt_the_name_moves_over_and_stays_when_the_first_lets_go(two: None, team: Team) -> None:
    assert team.run_cli("apply", "--source", "right", "--adopt").returncode == 0
    assert team.ask("select source, spec -> 'schedule' ->> 0 from task_configs where name = 'same'") == [
        ("right", "2 2 * * *")
    ]
    (team.place / "left" / "same.yaml").unlink()
    done = team.run_cli("apply", "--source", "left", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["changes"]) == (0, [])
    assert "same" in team.in_force
