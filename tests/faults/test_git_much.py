"""A commit with far too much in it: files without end, or one that is far too large. What runs beside goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faultkit import Project, until
from faultkit.crowd import CROWD, LASTING, all_ran, crowd_in, follow, holds
from faultkit.waiting import rows

pytestmark = pytest.mark.faults

# Few in CI; RECONCILER_TEST_FAULTS_SECONDS=60 makes it what its name says.
FILES = 100_000 if LASTING >= 60 else 4_000
HUGE = 2_000_000_000 if LASTING >= 60 else 40_000_000


def test_while_very_many_files_are_read_and_applied_no_instant_is_missed(house: Project, repository: Any) -> None:
    follow(house, repository)
    crowd_in(repository)
    service = house.start("serve")
    all_ran(house)
    folder = repository.tree / "specs"
    for n in range(FILES):
        if n % 1000 == 0:
            place = folder / f"f{n // 1000:03}"
            place.mkdir()
        (place / f"t{n:06}.yaml").write_text(f"task: j.async\ndescription: number {n}\n")
    second = repository.commit("second")
    wanted = [(len(CROWD) + FILES,)]
    until(
        lambda: rows(house.database_url, "select count(*) from task_configs") == wanted,
        60 + FILES / 500,
        "all of them are in force",
    )
    assert rows(house.database_url, "select revision from sources") == [(second,)]
    all_ran(house)
    assert service.is_alive
    holds(house, repository=repository)


def test_a_huge_file_is_refused_by_its_size_and_nothing_waits_for_it(house: Project, repository: Any) -> None:
    follow(house, repository)
    first = crowd_in(repository)
    service = house.start("serve")
    all_ran(house)
    with (repository.tree / "specs" / "huge.yaml").open("wb") as file:
        file.truncate(HUGE)
    repository.commit("second", extra=CROWD["often"])
    service.says(r"error: .*huge\.yaml.* bytes large; a spec file may have up to ", 60)
    all_ran(house)
    assert rows(house.database_url, "select revision from sources") == [(first,)]
    status = Path(f"/proc/{service.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])
    assert peak < 400_000, "its content is never read"
    third = repository.commit("third", huge=None)
    until(lambda: rows(house.database_url, "select revision from sources") == [(third,)], what="without it all is good")
    holds(house, repository=repository)
