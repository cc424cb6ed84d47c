"""The machine refuses file descriptors, or new processes: one line says so, what could not begin is an honest failure,
and all goes on by itself when there is room again.
"""

from __future__ import annotations

import os
import pwd
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from faultkit import Process, Project, Proxy, now
from faultkit.crowd import LASTING, all_ran, chance, crowd, holds, lasts, some
from faultkit.processes import children, run_limited

pytestmark = pytest.mark.faults


def test_a_runner_that_gets_no_file_descriptor_waits_and_goes_on(house: Project) -> None:
    crowd(house)
    runner = house.start("runner")
    all_ran(house)
    began, random = now(house.database_url), chance("descriptors")
    used = len(list(Path(f"/proc/{runner.pid}/fd").iterdir()))
    usual = resource.prlimit(runner.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(runner.pid, resource.RLIMIT_NOFILE, (used // 2, usual[1]))
    end = time.monotonic() + LASTING
    while time.monotonic() < end:
        a_child_ends(runner, random)
        time.sleep(0.5)
    resource.prlimit(runner.pid, resource.RLIMIT_NOFILE, usual)
    all_ran(house)
    assert runner.is_alive
    assert "Traceback" not in runner.text
    holds(house, faults=[(began, now(house.database_url))])


@pytest.mark.parametrize("number", some([12], [16]))
def test_a_runner_that_cannot_even_start_says_why_in_one_line(house: Project, number: int) -> None:
    crowd(house)
    done = run_limited(house, resource.RLIMIT_NOFILE, number, "runner")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "Too many open files" in done.stderr.splitlines()[-1]


@pytest.fixture
def plain(
    make_short_directory: Callable[[], Path], house: Project, proxied: Callable[[str], Proxy]
) -> Iterator[AsNobody]:
    """The project as a plain user has it: root is never refused a process."""
    database_url = proxied("postgresql").url(house.database_url)
    redis_url = proxied("redis").url(house.redis_url)
    directory = make_short_directory()
    directory.chmod(0o755)
    with AsNobody(directory, database_url, redis_url) as project:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in [directory, *directory.rglob("*")]:
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        yield project


class AsNobody(Project):
    """Whose commands run under an account without rights, where we are root; it passes the directories of root."""

    @staticmethod
    def _command(args: tuple[str, ...]) -> list[str]:
        return as_nobody([sys.executable, "-m", "reconciler", *args])

    def limit(self, process: Process, soft: int, hard: int) -> None:
        """How many processes the account may have for that one to be given another."""
        words = "import resource, sys; pid, *limits = map(int, sys.argv[1:]); "
        words += "resource.prlimit(pid, resource.RLIMIT_NPROC, tuple(limits))"
        command = as_nobody([sys.executable, "-c", words, str(process.pid), str(soft), str(hard)])
        subprocess.run(command, check=True)


def as_nobody(command: list[str]) -> list[str]:
    """The same, in that account where we are root: only who has the same one may limit a process."""
    if os.geteuid() != 0:
        return command
    account = pwd.getpwnam("nobody")
    words = "import os, sys; from reconciler.embedded.unprivileged import Account, become; "
    words += (
        f"become(Account({account.pw_uid}, {account.pw_gid}, keeps_reach=True)); os.execv(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-c", words, *command]


def test_a_runner_that_gets_no_process_fails_what_it_cannot_begin_and_goes_on(plain: AsNobody) -> None:
    crowd(plain)
    runner = plain.start("runner")
    all_ran(plain)
    began, random = now(plain.database_url), chance("processes")
    usual = resource.getrlimit(resource.RLIMIT_NPROC)
    plain.limit(runner, 1, usual[1])
    for _ in range(8):
        a_child_ends(runner, random)
        time.sleep(0.3)
    lasts()
    mark = runner.mark()
    plain.limit(runner, *usual)
    all_ran(plain)
    assert runner.is_alive
    assert "Traceback" not in runner.text
    assert "cannot start a process for tasks" in runner.text[:mark]
    holds(plain, faults=[(began, now(plain.database_url))])


def a_child_ends(runner: Process, random: object) -> None:
    """So that another is needed."""
    if pids := children(runner.pid):
        with suppress(ProcessLookupError):
            os.kill(random.choice(pids), signal.SIGKILL)  # type: ignore[attr-defined]
