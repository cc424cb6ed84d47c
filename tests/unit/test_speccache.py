"""What a process keeps of the specs for the next one: when it is believed, and that it can only ever cost a parse."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reconciler.errors import ReconcilerError
from reconciler.registry import Task
from reconciler.spec import SpecSet
from reconciler.specfiles import SpecReader, check_against
from reconciler.specfiles import onefile as specfile
from reconciler.specfiles import onepass as specpass
from reconciler.specfiles.instep import Steps

FILES = {
    "a.yaml": "task: t\nschedule: H 2 * * *\nskip_on: [days]\n",
    "team/b.yaml": "task: t\nafter: [a]\n---\nname: c\ntask: t\nenvironments: {prod: {queue: slow}}\n",
    "team/_defaults.yaml": "timeout: 10m\n",
}


def run(size: int = 1) -> None: ...


TASKS = {"t": Task("t", run, False, "", __name__)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "specs"
    (root / "team").mkdir(parents=True)
    for name, text in FILES.items():
        (root / name).write_text(text)
    (root / "days.txt").write_text("2026-12-24\n")
    return root


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were parsed, in order."""
    paths: list[str] = []

    def noted(data: bytes, path: str, *rest: Any) -> Steps[specfile.Held]:
        paths.append(path)
        return specfile.specs_in(data, path, *rest)

    monkeypatch.setattr(specpass, "specs_in", noted)
    return paths


def cache_of(root: Path) -> Path:
    return root.parent / ".reconciler" / "cache"


def read(root: Path, tasks: Mapping[str, Task] = TASKS, environment: str | None = None) -> SpecSet:
    """As a new process would."""
    return SpecReader(root, environment=environment, check=check_against(tasks), cache=cache_of(root)).read()


def kept(root: Path) -> Path:
    (found,) = cache_of(root).glob("specs-*")
    return found


def rewrite(root: Path, change: Callable[[Any], Any]) -> None:
    """Change the cache as only its owner could: with a checksum that fits."""
    text = json.dumps(change(json.loads(kept(root).read_bytes().partition(b"\n")[2]))).encode()
    kept(root).write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)


def test_a_new_process_parses_nothing_that_has_not_changed(root: Path, parsed: list[str]) -> None:
    first = read(root)
    assert parsed == ["a.yaml", "team/b.yaml"]
    again = read(root)
    assert parsed == ["a.yaml", "team/b.yaml"]
    assert (again.specs, again.faults, again.warnings, again.files) == (
        first.specs, first.faults, first.warnings, first.files,
    )  # fmt: skip
    assert [one.name for one in again.specs] == ["a", "b", "c"]


def test_a_spec_is_parsed_when_it_is_asked_for(root: Path, parsed: list[str]) -> None:
    first = read(root, environment="prod")
    again = read(root, environment="prod")
    parsed.clear()
    assert [one.is_parsed for one in (*first.specs, *again.specs)] == [True] * 3 + [False] * 3
    assert replace(again.specs[2], path="elsewhere").name == "c"
    assert parsed == []
    assert [one.spec for one in again.specs] == [one.spec for one in first.specs]
    assert again.specs[2].spec.queue == "slow"
    assert parsed == ["a.yaml", "team/b.yaml"]


def test_many_specs_are_parsed_in_one_go(root: Path, parsed: list[str]) -> None:
    for number in range(60):
        (root / f"n{number:02}.yaml").write_text("task: t\n")
    read(root)
    again = read(root)
    parsed.clear()
    assert len({one.spec.name for one in again.specs}) == 63
    assert len(parsed) == 20 + 62


@pytest.mark.parametrize(
    ("name", "text", "again"),
    [
        ("a.yaml", "task: t\nschedule: H 3 * * *\n", ["a.yaml"]),
        ("days.txt", "2026-12-25\n", ["a.yaml"]),
        ("team/_defaults.yaml", "timeout: 11m\n", ["team/b.yaml"]),
        ("team/d.yaml", "task: t\n", ["team/d.yaml"]),
    ],
)
def test_only_what_has_changed_is_parsed(root: Path, parsed: list[str], name: str, text: str, again: list[str]) -> None:
    read(root)
    parsed.clear()
    (root / name).write_text(text)
    found = read(root)
    assert parsed == again
    assert [one.digest for one in found.specs] == [one.digest for one in SpecReader(root).read().specs]


def test_a_file_changed_right_before_it_was_read_is_not_known_by_its_times(root: Path, parsed: list[str]) -> None:
    read(root)
    place = root / "a.yaml"
    before = place.stat()
    place.write_text(FILES["a.yaml"].replace("2", "3"))
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    about = place.stat()

    def forged(content: Any) -> Any:  # the coarse clock of a file system: all its times are as they were
        content["files"]["a.yaml"][0] = [
            about.st_dev,
            about.st_ino,
            about.st_size,
            about.st_mtime_ns,
            about.st_ctime_ns,
        ]
        return content

    rewrite(root, forged)
    parsed.clear()
    read(root)
    assert parsed == ["a.yaml"]


def test_what_is_settled_is_not_even_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time_ns() + 10**11
    monkeypatch.setattr(time, "time_ns", lambda: later)
    read(root)
    opened: list[str] = []
    monkeypatch.setattr(specpass, "content", lambda place, limit: opened.append(place) or b"timeout: 10m\n")
    read(root)
    assert opened == [str(root / "team/_defaults.yaml")]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda place: place.write_bytes(b""),
        lambda place: place.write_bytes(b"\xff" * 1000),
        lambda place: place.write_bytes(place.read_bytes()[:-10]),
        lambda place: place.write_bytes(place.read_bytes().replace(b'"b"', b'"x"')),
        lambda place: place.write_bytes(b"[" * 100_000),
        lambda place: place.chmod(0o666),
        lambda place: (place.unlink(), place.mkdir()),
        lambda place: (place.unlink(), os.mkfifo(place)),
        lambda place: (place.rename(place.with_name("x")), place.symlink_to("x")),
    ],
    ids=["empty", "binary", "cut off", "changed", "nested", "others may write", "a directory", "a pipe", "a link"],
)
def test_a_cache_that_cannot_be_trusted_costs_a_parse(
    root: Path, parsed: list[str], spoil: Callable[[Path], object]
) -> None:
    first = read(root)
    spoil(kept(root))
    parsed.clear()
    assert read(root).specs == first.specs
    assert parsed == ["a.yaml", "team/b.yaml"]


@pytest.mark.parametrize("content", [None, [], {"about": 1}, {"files": {"a.yaml": []}}, {"files": []}])
def test_content_of_another_shape_costs_a_parse(root: Path, parsed: list[str], content: Any) -> None:
    first = read(root)
    rewrite(root, lambda had: {"about": had["about"], **content} if isinstance(content, dict) else content)
    parsed.clear()
    assert read(root).specs == first.specs
    assert parsed == ["a.yaml", "team/b.yaml"]


def test_a_wrong_digest_is_found_out_when_its_spec_is_asked_for(root: Path) -> None:
    read(root)

    def lied(content: Any) -> Any:
        content["files"]["a.yaml"][5][0][4] = "0" * 64
        return content

    rewrite(root, lied)
    with pytest.raises(ReconcilerError, match=r"specs/a.yaml: a: has changed since it was read: try again$"):
        _ = read(root).specs[0].spec
    assert read(root).specs[0].spec.name == "a"


def test_a_file_that_changes_before_its_spec_is_asked_for_is_not_taken_for_the_old_one(root: Path) -> None:
    read(root)
    found = read(root)
    (root / "a.yaml").write_text("task: t\nqueue: other\n")
    with pytest.raises(ReconcilerError, match="has changed since it was read"):
        _ = found.specs[0].spec


def test_other_tasks_another_environment_or_another_version_share_nothing(
    root: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read(root)
    parsed.clear()
    assert read(root, {}).faults != ()
    assert len(parsed) == 2
    read(root, environment="prod")
    assert len(parsed) == 4
    monkeypatch.setattr("reconciler.specfiles.cache.FORMAT", 0)
    read(root)
    assert len(parsed) == 6


def test_task_code_that_has_just_changed_is_nothing_to_rely_on(
    root: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("fresh")
    module.__file__ = str(root / "fresh.py")
    monkeypatch.setitem(sys.modules, "fresh", module)
    monkeypatch.setattr(run, "__module__", "fresh")
    (root / "fresh.py").write_text("")
    read(root)
    assert not cache_of(root).exists()
    later = time.time_ns() + 10**11
    monkeypatch.setattr(time, "time_ns", lambda: later)
    read(root)
    parsed.clear()
    read(root)
    assert parsed == []
    (root / "fresh.py").write_text("x = 1")
    read(root)
    assert parsed == ["a.yaml", "team/b.yaml"]


def test_a_check_of_which_nothing_is_known_has_no_cache(root: Path) -> None:
    SpecReader(root, check=lambda task, params: [], cache=cache_of(root)).read()
    assert not cache_of(root).exists()


def test_what_has_a_fault_is_read_again_and_told_again(root: Path, parsed: list[str]) -> None:
    (root / "bad.yaml").write_text("task: nope\n")
    told = read(root).faults
    parsed.clear()
    assert read(root).faults == told != ()
    assert parsed == ["bad.yaml"]


def test_a_place_that_cannot_be_written_is_no_error(root: Path) -> None:
    (root.parent / ".reconciler").write_text("a file")
    assert len(read(root).specs) == 3


def test_the_number_of_caches_is_bounded_and_git_ignores_them(root: Path) -> None:
    for number in range(20):
        read(root, environment=f"e{number}")
    assert len(list(cache_of(root).glob("specs-*"))) == 16
    assert (cache_of(root) / ".gitignore").read_text() == "*\n"
