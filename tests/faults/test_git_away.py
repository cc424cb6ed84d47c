"""The repository that a service follows is rewritten, gone, or broken, here or there, while tasks run: what runs goes
on without missing an instant, one message says what is wrong, and the next good commit is in force.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faultkit import Process, Project, now, until
from faultkit.crowd import CROWD, LASTING, all_ran, crowd_in, follow, holds, lasts, some
from faultkit.waiting import rows

pytestmark = pytest.mark.faults

CALM = "in force|specs are good again"


@pytest.fixture
def service(house: Project, repository: Any) -> Iterator[Process]:
    """A service that follows the repository, whose tasks all run."""
    follow(house, repository)
    crowd_in(repository)
    service = house.start("serve")
    all_ran(house)
    yield service


def test_a_force_push_is_refused_in_one_line_and_a_descendant_is_welcome(
    house: Project, repository: Any, service: Process
) -> None:
    before = revision(house)
    repository.commit("second", extra=CROWD["often"])
    until(lambda: revision(house) != before, what="the second is in force")
    second = revision(house)
    repository.git("reset", "-q", "--hard", before)
    repository.commit("elsewhere", extra=CROWD["long"], often=None)
    service.says("--allow-rewind|allow_rewind|rewind", 60)
    lasts(min(LASTING, 2.0))
    assert revision(house) == second
    assert len([line for line in service.text.splitlines() if "rewind" in line]) == 1, service.text
    repository.git("reset", "-q", "--hard", second)
    third = repository.commit("third", extra=None)
    until(lambda: revision(house) == third, what="what descends is in force")
    holds(house, repository=repository)


def test_a_remote_that_is_gone_is_said_once_and_followed_again_when_it_is_back(
    house: Project, repository: Any, service: Process
) -> None:
    away = repository.bare.rename(repository.bare.with_name("away.git"))
    began, mark = now(house.database_url), service.mark()
    service.says("error: ", 60, since=mark)
    lasts()
    all_ran(house, began)
    assert complaints(service, mark) == 1, service.text
    away.rename(repository.bare)
    second = repository.commit("second", extra=CROWD["often"])
    until(lambda: revision(house) == second, what="it is followed again")
    holds(house, repository=repository)


def test_an_object_that_is_corrupt_in_the_remote_holds_its_commit_and_no_task(
    house: Project, repository: Any, service: Process
) -> None:
    before, mark = revision(house), service.mark()
    away = repository.bare.rename(repository.bare.with_name("away.git"))
    service.says("error: ", 60, since=mark)  # so that it does not see the commit before it is broken
    repository.git("remote", "set-url", "origin", str(away))
    repository.commit("second", extra=f"{CROWD['often']}\ndescription: its file is like no other")
    broken = repository.git("rev-parse", "HEAD:specs/extra.yaml")
    place = away / "objects" / broken[:2] / broken[2:]
    place.chmod(0o600)
    good = place.read_bytes()
    place.write_bytes(b"\0" * len(good))
    mark = service.mark()
    away.rename(repository.bare)
    service.says("error: ", 60, since=mark)
    lasts()
    assert revision(house) == before
    assert complaints(service, mark) == 1, service.text
    place = repository.bare / place.relative_to(away)
    repository.git("remote", "set-url", "origin", str(repository.bare))
    place.write_bytes(good)
    until(lambda: revision(house) != before, what="mended, it is in force")
    holds(house, repository=repository)


def truncated(clone: Path) -> None:
    """As after a power cut: what was written last is not on the disk."""
    for pack in clone.glob("repository.git/objects/pack/*"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[: pack.stat().st_size // 2])


def refs_of_nothing(clone: Path) -> None:
    for ref in [*clone.glob("repository.git/packed-refs"), *clone.glob("repository.git/refs/reconciler/**/*")]:
        if ref.is_file():
            ref.write_bytes(b"")


def half_written(clone: Path) -> None:
    """The files of a commit, some of which are shorter, gone, or somebody else's, and a list that says nothing."""
    files = sorted((clone / "files").rglob("*.yaml"))
    files[0].write_text(files[0].read_text()[:20])
    files[1].unlink()
    (files[2].parent / "stray.yaml").write_text("name: [half")
    (clone / "files.json").write_text('{"format": 1, "tr')


def left_locked(clone: Path) -> None:
    for name in ("packed-refs.lock", "config.lock", "shallow.lock", "HEAD.lock"):
        (clone / "repository.git" / name).touch()
    (clone / "repository.new").mkdir(exist_ok=True)
    (clone / "repository.new" / "half").write_text("of it")


def without_objects(clone: Path) -> None:
    shutil.rmtree(clone / "repository.git" / "objects")


HARMS = some([truncated, half_written], [refs_of_nothing, left_locked, without_objects])


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_a_clone_that_is_broken_is_mended_by_the_next_commit_at_the_latest(
    house: Project, repository: Any, service: Process, harm: Callable[[Path], None]
) -> None:
    [place] = {path.parent for path in (house.directory / ".reconciler").rglob("repository.git")}
    harm(place)
    second = repository.commit("second", extra=CROWD["often"], fresh=None)
    until(lambda: revision(house) == second, what=f"the second commit is in force: {service.text[-2000:]}")
    all_ran(house, now(house.database_url), {*CROWD, "extra"} - {"fresh"})
    names = {name for (name,) in rows(house.database_url, "select name from task_configs")}
    assert names == {*CROWD, "extra"} - {"fresh"}
    holds(house, repository=repository)


def revision(house: Project) -> str:
    """What is in force."""
    [(found,)] = rows(house.database_url, "select revision from sources")
    return str(found)


def complaints(service: Process, since: int) -> int:
    """Lines that somebody has to read; of a store that is slow to answer, as on a busy machine, there may be others."""
    return len([line for line in service.text[since:].splitlines() if "error: " in line])
