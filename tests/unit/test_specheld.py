"""What is held for the sake of each fault, and what is left of a read without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.spec.specset import SpecSet, below, good
from reconciler.specfiles import Outside, SpecReader
from reconciler.specfiles import walk as specwalk


def read(root: Path, files: dict[str, str], outside: Outside = Outside()) -> SpecSet:  # noqa: B008 - frozen
    for path, text in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return SpecReader(root, outside=outside).read()


def names(found: SpecSet) -> list[str]:
    return [one.name for one in found.specs]


FINE = {"fine.yaml": "task: t\n", "team/fine2.yaml": "task: t\n"}


@pytest.mark.parametrize(
    ("files", "held", "left"),
    [
        ({}, (), ["fine", "fine2"]),
        ({"a.yaml": "task: [\n"}, ("a.yaml",), ["fine", "fine2"]),
        ({"a.yaml": "task: t\n---\nname: b\nbad: 1\n"}, ("a.yaml",), ["fine", "fine2"]),
        ({"team/_defaults.yaml": "bad: 1\n"}, ("team/",), ["fine"]),
        ({"team/_defaults.yaml": "queue: a b\n"}, ("team/",), ["fine"]),
        ({"team/_defaults.yaml": "queue: q\n", "team/_defaults.yml": "queue: q\n"}, ("team/",), ["fine"]),
        ({"_defaults.yaml": "[]\n"}, ("",), []),
        ({"a.yaml": "task: t\nname: fine\n"}, ("a.yaml", "fine.yaml"), ["fine2"]),
        ({"a.yaml": "task: t\nafter: [b]\n", "b.yaml": "task: t\nafter: [fine, a]\n"}, ("a.yaml", "b.yaml"), None),
        ({"a.yaml": "task: t\nafter: [nobody]\n"}, ("a.yaml",), ["fine", "fine2"]),
        ({"a.yaml": "task: t\nnotify: {to: [nobody]}\n"}, ("a.yaml",), ["fine", "fine2"]),
        ({"team/_defaults.yaml": "notify: {to: [nobody]}\n"}, ("team/fine2.yaml",), ["fine"]),
    ],
)
def test_each_fault_holds_its_file_or_its_folder_and_the_rest_is_good(
    tmp_path: Path, files: dict[str, str], held: tuple[str, ...], left: list[str] | None
) -> None:
    found = read(tmp_path, {**FINE, **files}, Outside(frozenset({"ops"})))
    assert set(held) <= set(found.held)
    rest = good(found)
    if "" in held:
        assert rest is found
        assert rest.faults
    else:
        assert (names(rest), rest.faults) == (left or ["fine", "fine2"], ())


def test_a_folder_that_cannot_be_entered_is_held_whole(tmp_path: Path) -> None:
    read(tmp_path, FINE)
    (tmp_path / "again").symlink_to(tmp_path / "team")
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "out.yaml").symlink_to(tmp_path.parent)
    found = SpecReader(tmp_path).read()
    assert found.held == ("again/", "gone.yaml", "out.yaml/")
    assert names(good(found)) == ["fine", "fine2"]


def test_too_many_files_hold_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specwalk, "MOST_FILES", 1)
    found = read(tmp_path, FINE)
    assert found.held == ("",)
    assert good(found) is found


@pytest.mark.parametrize(
    ("held", "path", "expected"),
    [
        ((), "a.yaml", False),
        (("a.yaml",), "a.yaml", True),
        (("a.yaml",), "a.yaml.yaml", False),
        (("team/",), "team/a.yaml", True),
        (("team/",), "team/deep/a.yaml", True),
        (("team/deep/",), "team/a.yaml", False),
        (("team/",), "team2/a.yaml", False),
        (("",), "anything.yaml", True),
    ],
)
def test_what_lies_below_a_held_place(held: tuple[str, ...], path: str, expected: bool) -> None:
    assert below(held)(path) is expected
