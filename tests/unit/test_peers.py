"""The peers beside us: their table of contents holds together, and what their tasks say is read fairly.

Nothing is installed for it, and no peer is run.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parents[2] / "benchmarks" / "peers"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"peers_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


contents, marks = loaded("contents"), loaded("marks")
PEERS = [peer for peer in contents.PEERS if peer != contents.OWN]
SETUPS = [*contents.ENQUEUED, *contents.TOGETHER]


def words(setup: object) -> Iterator[list[str]]:
    for command in (setup.before, *setup.processes):
        if command:
            yield shlex.split(command.format(count=1, directory="/somewhere"))


def test_reconciler_stands_first_in_each_case() -> None:
    assert [setups[0].peer for setups in (contents.ENQUEUED, contents.TOGETHER)] == [contents.OWN] * 2


@pytest.mark.parametrize("cases", [contents.ENQUEUED, contents.TOGETHER])
def test_every_peer_has_its_line_in_each_case_under_a_name_of_its_own(cases: tuple[object, ...]) -> None:
    assert {setup.peer for setup in cases} == set(contents.PEERS)
    assert len({setup.label for setup in cases}) == len(cases)


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_is_pinned_whole(peer: str) -> None:
    assert contents.version(peer)
    lines = contents.requirements(peer).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []


def test_there_are_no_requirements_of_a_peer_that_is_gone() -> None:
    assert {path.stem for path in (HERE / "requirements").iterdir()} == set(PEERS)


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.label)
def test_a_setup_names_an_app_that_is_there(setup: object) -> None:
    app = HERE / "apps" / f"with_{setup.peer}.py"
    assert app.exists()
    named = {word for command in words(setup) for word in re.findall(r"with_\w+", " ".join(command))}
    assert named == {app.stem}


@pytest.mark.parametrize("peer", contents.PEERS)
def test_an_app_marks_its_starts_as_all_others_do(peer: str) -> None:
    source = (HERE / "apps" / f"with_{peer}.py").read_text(encoding="utf-8")
    assert "mark(number)" in source
    assert ast.get_docstring(ast.parse(source))


@pytest.mark.parametrize("peer", contents.ALTERNATIVES)
def test_a_setting_that_was_tried_too_replaces_something(peer: str) -> None:
    for setup in contents.ENQUEUED:
        if setup.peer == peer:
            tried = contents.alternatives(setup)
            assert len({one.processes for one in tried}) == len(tried)


def test_marks_are_as_long_as_they_are_read() -> None:
    source = (HERE / "apps" / "marking.py").read_text(encoding="utf-8")
    assert f"LENGTH = {marks.LENGTH}" in source
    assert len(b"%.6f %06d\n" % (1_795_536_275.123456, 42)) == marks.LENGTH


def test_a_line_that_is_cut_short_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "marks"
    path.write_bytes(b"1795536275.500000 000042\n1795536276.5000")
    assert marks.read(path) == [(1795536275.5, 42)]
    assert marks.read(tmp_path / "none") == []


INSTANTS = [
    # first, count, where it counts from, instants
    (100.0, 3, None, [100, 105, 110]),
    (100.0, 2, 97.0, [102, 107]),
    (100.0, 2, 95.0, [100, 105]),
    (0.0, 1, 97.25, [97.25]),
]


@pytest.mark.parametrize(("first", "count", "counts_from", "expected"), INSTANTS)
def test_instants(first: float, count: int, counts_from: float | None, expected: list[float]) -> None:
    assert marks.instants(first, 5, count, counts_from) == expected


DUE = [100.0, 105.0, 110.0]
LAGS = [
    # starts of one schedule, lags
    ([100.5, 105.5, 110.5], [0.5, 0.5, 0.5]),
    # Late for all: in order, each has its own instant.
    ([104, 109, 114], [4, 4, 4]),
    ([106, 111, 116], [6, 6, 6]),
    # One is left out: the reading that is best for the peer.
    ([106, 116], [1, 6]),
    # Twice for one instant, and none for another: a start is never for an instant to come.
    ([100.1, 100.2, 110], [0.2, 0]),
    # Before the first instant, and after the end.
    ([99, 125], []),
    ([], []),
]


@pytest.mark.parametrize(("starts", "expected"), LAGS)
def test_each_start_is_credited_to_one_instant(starts: list[float], expected: list[float]) -> None:
    found = marks.lags([(moment, 7) for moment in starts], DUE, 120)
    assert sorted(found) == pytest.approx(sorted(expected))


def test_starts_of_another_schedule_make_no_good() -> None:
    assert len(marks.lags([(100.1, 1), (100.2, 1), (100.3, 2)], [100.0], 120)) == 2
