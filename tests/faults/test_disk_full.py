"""The disk is full, or may not be written any further: one line says so, nothing is corrupt, and all goes on when there
is room again.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from faultkit import Project, now, until
from faultkit.crowd import CROWD, all_ran, crowd, crowd_in, follow, holds, lasts
from faultkit.processes import run_limited
from faultkit.stores import can_mount
from faultkit.waiting import rows

pytestmark = pytest.mark.faults

ROOM = "256m"


class OnItsOwn(Project):
    """A project without any server but its own, below `.reconciler/`."""

    def surroundings(
        self,
        database_url: str | None = None,
        redis_url: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        found = super().surroundings(database_url, redis_url, env)
        return {name: text for name, text in found.items() if name not in URLS}


URLS = ("RECONCILER_DATABASE_URL", "RECONCILER_REDIS_URL")


@pytest.fixture
def small(make_short_directory: Callable[[], Path]) -> Iterator[OnItsOwn]:
    """A project whose `.reconciler/` is a disk of its own, and a small one."""
    directory = make_short_directory()
    place = directory / ".reconciler"
    place.mkdir()
    mounted = can_mount() and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM},mode=755", "tmpfs", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a file system can be mounted only by a root that may")
    try:
        with OnItsOwn(directory, "", "") as project:
            yield project
        until(lambda: not (place / "run" / "postgresql.sock").exists(), what="its servers end")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def test_what_a_full_disk_under_its_own_stores_holds_up_is_made_up_for(small: OnItsOwn) -> None:
    for name, text in CROWD.items():
        small.spec(name, text)
    service = small.start("serve")
    service.says("in force", 60)
    small.database_url = small.run("db", "url").stdout.strip()
    all_ran(small)
    began, mark = now(small.database_url), service.mark()
    filler = small.directory / ".reconciler" / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"\0" * 65_536)
    lasts(4)
    filler.unlink()
    all_ran(small)
    assert service.is_alive
    assert "Traceback" not in service.text[mark:]
    holds(small, faults=[(began, now(small.database_url))])


def test_a_command_that_may_write_no_file_does_its_work_or_says_why_in_one_line(
    house: Project, repository: Any
) -> None:
    crowd(house)
    house.spec("extra", CROWD["often"])
    done = run_limited(house, resource.RLIMIT_FSIZE, 0, "apply")
    assert (done.returncode, done.stderr.count("\n")) in ((0, 1), (0, 0)), done.stderr
    assert rows(house.database_url, "select count(*) from task_configs") == [(len(CROWD) + 1,)]

    follow(house, repository)
    crowd_in(repository)
    done = run_limited(house, resource.RLIMIT_FSIZE, 0, "sync", "--adopt")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "Traceback" not in done.stderr
    done = house.run("sync", "--adopt", "--allow-rewind", "--reason", "there is room again")
    assert done.returncode == 0, done.stderr


def test_a_service_that_may_write_no_file_any_more_runs_what_is_in_force(house: Project, repository: Any) -> None:
    follow(house, repository)
    first = crowd_in(repository)
    service = house.start("serve")
    all_ran(house)
    usual = resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    mark = service.mark()
    second = repository.commit("second", extra=CROWD["often"])
    lasts()
    all_ran(house)
    assert rows(house.database_url, "select revision from sources") in ([(first,)], [(second,)])
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, usual)
    until(lambda: rows(house.database_url, "select revision from sources") == [(second,)], what="it is in force")
    assert "Traceback" not in service.text[mark:]
    all_ran(house, names=[*CROWD, "extra"])
    holds(house, repository=repository)
