"""What a pipeline and an operator see of git as a source: sync, sync-now, wait, status, syncs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
Serve = Callable[..., tuple[subprocess.Popen[bytes], Path]]
DEADLINE = 60.0
SPEC = "task: tick\nschedule: '0 2 * * *'\n"
LATER = "task: tick\nschedule: '0 3 * * *'\n"


@pytest.fixture
def here(project: Path) -> Path:
    """A project with the tasks and without specs of its own."""
    (project / "tasks" / "__init__.py").write_text(
        "from reconciler.registry import task\n\n\n@task\ndef tick() -> None:\n    pass\n"
    )
    return project


@pytest.fixture
def synced(here: Path, repository: Any, run_cli: Cli) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`reconciler sync --repo …` on the repository, with more options."""
    return lambda *more, **how: run_cli("sync", "--repo", repository.url, "--allow-file", *more, **how)


def configure(project: Path, repository: Any, **more: Any) -> None:
    """Make the repository the only source in the settings."""
    lines = {"name": "default", "repo": repository.url, "allow_file": True, "interval": "1h"} | more
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items())
    with (project / "reconciler.toml").open("a") as file:
        file.write(f"\n[[sources]]\n{text}\n")


@pytest.fixture
def serve(here: Path, command_environment: dict[str, str], tmp_path: Path) -> Iterator[Serve]:
    """Starts `serve --no-runner --no-api …` in the project; the process, and the file that it writes to."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*line: str) -> tuple[subprocess.Popen[bytes], Path]:
        said = tmp_path / f".said{len(running)}"
        with said.open("wb") as file:
            command = [sys.executable, "-m", "reconciler", "serve", "--no-runner", "--no-api", *line]
            running.append(
                subprocess.Popen(
                    command, cwd=here, env=command_environment, stdout=file, stderr=file, start_new_session=True
                )
            )
        return running[-1], said

    yield start
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], Any], what: Callable[[], str] = lambda: "") -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


def names(run_cli: Cli) -> list[str]:
    return sorted(row["name"] for row in json.loads(run_cli("status", "-o", "json").stdout)["tasks"])


def test_one_pass_from_a_repository_needs_no_settings(synced: Cli, repository: Any, run_cli: Cli) -> None:
    commit = repository.commit("first", nightly=SPEC)
    done = synced("--dry-run")
    assert (done.returncode, names(run_cli)) == (0, [])
    assert "nightly" in done.stdout
    done = synced()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "applied: 1 created; 0 unchanged"
    again = json.loads(synced("-o", "json").stdout)
    assert (again["has_changes"], again["format_version"]) == (False, 1)
    (row,) = json.loads(run_cli("syncs", "-o", "json").stdout)["syncs"]
    assert (row["revision"], row["author"], row["subject"]) == (commit, "Ada Lovelace", "first")
    repository.git("tag", "v1.2.0")
    repository.git("push", "-q", "origin", "v1.2.0")
    repository.commit("second", hourly=SPEC)
    assert synced("--ref", "semver:>=1,<2").stdout.splitlines()[-1].startswith("nothing to change")
    assert synced("--ref", "main").returncode == 0
    assert names(run_cli) == ["hourly", "nightly"]


def test_a_force_push_exits_with_3_and_says_what_to_type(synced: Cli, repository: Any, run_cli: Cli) -> None:
    repository.commit("first", nightly=SPEC)
    repository.commit("second", hourly=SPEC)
    assert synced().returncode == 0
    repository.commit("rewritten", amend=True, hourly=LATER)
    refused = synced()
    assert refused.returncode == 3
    assert "rewind refused" in refused.stderr
    # What it says is typed again with the same repository: `apply` would read the directory `specs` of this one.
    assert f"reconciler sync --repo {repository.url} --allow-file --allow-rewind --reason '…'" in refused.stderr
    assert synced("--allow-rewind").returncode == 64
    done = synced("--allow-rewind", "--reason", "amended a typo")
    assert done.returncode == 0, done.stderr
    assert json.loads(run_cli("syncs", "-o", "json").stdout)["syncs"][0]["reason"] == "amended a typo"
    assert "amended a typo" in run_cli("syncs").stdout


def test_a_broken_commit_is_told_and_changes_nothing(synced: Cli, repository: Any, run_cli: Cli) -> None:
    repository.commit("first", nightly=SPEC)
    assert synced().returncode == 0
    repository.commit("broken", nightly=LATER, hourly="task: tock\n")
    done = synced()
    assert done.returncode == 1
    assert "hourly.yaml:1:7: task: no task named 'tock'; did you mean 'tick'?" in done.stderr
    assert names(run_cli) == ["nightly"]
    held = synced("--on-fault", "hold_file")
    assert held.returncode == 1
    assert "1 updated" in held.stdout


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["--repo", "http://git.example/x"], "http:// is not allowed"),
        (["--repo", "/srv/x.git"], "--allow-file lets git read it"),
        (["--repo", "https://ana:pw@git.example/x"], "use --token-env NAME"),
        (["--repo=--upload-pack=touch /tmp/x"], "no address of a repository"),
        (["--ref", "main"], "--ref: only together with --repo"),
        (["far", "--source", "near"], "two sources are named"),
        (["far"], "no source named 'far'"),
    ],
)
def test_a_line_that_makes_no_sense_is_a_usage_error(here: Path, run_cli: Cli, line: list[str], text: str) -> None:
    done = run_cli("sync", *line)
    assert (done.returncode, done.stdout) == (64, ""), done.stderr
    assert text in done.stderr
    assert "pw" not in done.stderr


def test_a_repository_that_cannot_be_fetched_is_one_line(here: Path, run_cli: Cli, tmp_path: Path) -> None:
    done = run_cli("sync", "--repo", f"file://{tmp_path}/none.git", "--allow-file")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "none.git" in done.stderr


def test_a_source_of_the_settings_is_synced_by_its_name(here: Path, repository: Any, run_cli: Cli) -> None:
    configure(here, repository)
    repository.commit("first", nightly=SPEC)
    assert run_cli("sync").returncode == 0
    assert run_cli("sync", "default").stdout.startswith("nothing to change")
    watched = run_cli("watch")
    assert watched.returncode == 64
    assert "reconciler sync default" in watched.stderr


def test_sync_now_has_the_service_look_and_says_what_came_of_it(
    here: Path, repository: Any, run_cli: Cli, serve: Serve
) -> None:
    configure(here, repository)
    repository.commit("first", nightly=SPEC)
    nobody = run_cli("sync-now", "--wait", "--timeout", "30s")
    assert nobody.returncode == 1
    assert "no service listens" in nobody.stderr
    _, said = serve()
    until(lambda: "tasks     1 in force" in said.read_text(), said.read_text)
    second = repository.commit("second", hourly=SPEC)
    done = run_cli("sync-now", "--wait")
    assert (done.returncode, done.stdout) == (0, f"applied {second[:7]}: 1 created (hourly)\n"), done.stderr
    repository.commit("broken", nightly="task: tock\n")
    broken = run_cli("sync-now", "default", "--wait")
    assert broken.returncode == 1
    assert "no task named 'tock'" in broken.stderr
    repository.git("reset", "-q", "--hard", second)
    repository.commit("rewritten", amend=True, hourly=LATER)
    refused = run_cli("sync-now", "--wait")
    assert refused.returncode == 3
    assert "rewind refused" in refused.stderr
    assert run_cli("sync-now").stdout == "asked 1 service to look at default\n"
    assert run_cli("sync-now", "far").returncode == 64
    assert run_cli("sync-now", "--timeout", "1s").returncode == 64


def test_wait_ends_when_the_commit_is_in_force_or_cannot_get_there(
    here: Path, repository: Any, run_cli: Cli, synced: Cli
) -> None:
    first = repository.commit("first", nightly=SPEC)
    early = run_cli("wait", "--revision", first, "--timeout", "300ms")
    assert early.returncode == 1
    assert "nothing of source 'default' was applied yet" in early.stderr
    synced()
    done = run_cli("wait", "--revision", first)
    assert (done.returncode, done.stdout) == (0, f"✓ {first[:7]} is applied\n")
    second = repository.commit("second", hourly=SPEC)
    again = synced()
    assert again.returncode == 0, again.stderr
    later = run_cli("wait", "--revision", first, "--timeout", "10s", "-C", str(repository.tree), env=at_home(here))
    assert (later.returncode, later.stdout) == (0, f"✓ {first[:7]} is applied, with {second[:7]}\n"), later.stderr
    here_out = run_cli("wait", "--revision", "HEAD", "-C", str(repository.tree), env=at_home(here))
    assert (here_out.returncode, here_out.stdout) == (0, f"✓ {second[:7]} is applied\n"), here_out.stderr
    broken = repository.commit("broken", nightly="task: tock\n")
    synced()
    failed = run_cli("wait", "--revision", broken)
    assert failed.returncode == 1
    assert "no task named 'tock'" in failed.stderr
    repository.git("reset", "-q", "--hard", second)
    forced = repository.commit("rewritten", amend=True, hourly=LATER)
    synced()
    refused = run_cli("wait", "--revision", forced)
    assert refused.returncode == 3
    assert "rewind refused" in refused.stderr
    assert run_cli("wait", "--revision", "main").returncode == 64


def at_home(project: Path) -> dict[str, str]:
    """The prefix of the project's settings, for a command that runs elsewhere."""
    line = (project / "reconciler.toml").read_text().splitlines()[0]
    return {"RECONCILER_REDIS_PREFIX": json.loads(line.partition("=")[2])}


def test_status_shows_the_last_attempt_and_what_is_in_force(repository: Any, run_cli: Cli, synced: Cli) -> None:
    first = repository.commit("first", nightly=SPEC)
    synced()
    assert run_cli("status").stdout.startswith("specs: ✓ 1 created, ")
    broken = repository.commit("broken", nightly="task: tock\n")
    synced()
    attempt, in_force, *_ = run_cli("status").stdout.splitlines()
    assert attempt.startswith("specs: ✗ ")
    assert f"at {broken[:7]}: " in attempt
    assert "no task named 'tock'" in attempt
    assert in_force.startswith("  in force: ✓ 1 created, ")
    assert f"at {first[:7]} “first” by " in in_force
    (source,) = json.loads(run_cli("status", "-o", "json").stdout)["sources"]
    assert (source["revision"], source["tried_revision"]) == (first, broken)
    assert (source["last_sync"]["revision"], source["last_success"]["revision"]) == (broken, first)
    listed = run_cli("syncs").stdout
    assert broken[:7] in listed and first[:7] in listed


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield server.getsockname()[1]


def fetching(url: str) -> bool:
    """Whether any git is at that address."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if url.encode() in (text := line.read_bytes()) and b"git" in text:
                return True
    return False


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes as Linux shows them")
def test_a_service_that_stops_in_the_middle_of_a_fetch_leaves_no_git_behind(
    here: Path, serve: Serve, silent_server: int
) -> None:
    url = f"https://127.0.0.1:{silent_server}/x"
    with (here / "reconciler.toml").open("a") as file:
        file.write(f'\n[[sources]]\nrepo = "{url}"\n')
    service, said = serve()
    until(lambda: fetching(url), said.read_text)
    service.terminate()
    assert service.wait(DEADLINE) == 0, said.read_text()
    until(lambda: not fetching(url))
