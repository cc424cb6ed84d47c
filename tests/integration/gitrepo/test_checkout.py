"""A directory inside a working tree as a source: how far back its history goes, and what was removed from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ReconcilerError
from reconciler.gitrepo import Descended, Origin, Removal, Revision, origin_of
from reconciler.settings import SourceSettings

Forge = Any


def at(directory: Path, **settings: Any) -> Origin:
    return origin_of(SourceSettings(**settings), directory)


@pytest.fixture
def history(forge: Forge) -> list[str]:
    return [forge.commit({"specs/a.yaml": f"task: t{number}\n"}, f"number {number}") for number in range(5)]


def shallow(forge: Forge, depth: int = 1) -> Path:
    place: Path = forge.place / "shallow"
    forge.git("clone", "--quiet", f"--depth={depth}", forge.url, str(place), at=forge.place)
    return place


def test_a_working_tree_is_read_where_it_lies(forge: Forge, history: list[str]) -> None:
    origin = forge.checkout()
    found = origin.look()
    assert (found.commit, found.is_dirty) == (history[-1], False)
    with origin.opened(found) as place:
        assert place == forge.work / "specs"


def test_another_place_can_be_named_instead(forge: Forge, history: list[str]) -> None:
    origin = origin_of(forge.source(), forge.here, forge.work / "specs" / "a.yaml")
    assert origin.look().commit == history[-1]
    assert origin.place.endswith("a.yaml")


def test_a_directory_that_is_not_there_is_an_error(forge: Forge) -> None:
    origin = forge.checkout(path="nowhere")
    with pytest.raises(ReconcilerError, match="nowhere: there is no such directory"), origin.opened(origin.look()):
        pass


@pytest.mark.parametrize(("last", "kind"), [(0, "descends"), (3, "descends"), (4, "same")])
def test_a_later_commit_descends_from_an_earlier_one(forge: Forge, history: list[str], last: int, kind: str) -> None:
    origin = forge.checkout()
    assert origin.descent(history[last], origin.look(), deepen=False) == Descended(kind)  # type: ignore[arg-type]


def test_an_older_checkout_rewinds(forge: Forge, history: list[str]) -> None:
    forge.git("checkout", "--quiet", history[2])
    origin = forge.checkout()
    assert origin.descent(history[4], origin.look(), deepen=True).kind == "rewinds"


def test_a_commit_that_a_complete_clone_never_saw_is_no_ancestor(forge: Forge, history: list[str]) -> None:
    origin = forge.checkout()
    assert origin.descent("f" * 40, origin.look(), deepen=True).kind == "rewinds"


def test_without_git_the_descent_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "specs").mkdir()
    origin = at(tmp_path)
    found = origin.descent("f" * 40, origin.look(), deepen=True)
    assert found.kind == "unknown"
    assert "no revision is known here" in found.why


def test_a_shallow_clone_is_not_believed_but_deepened(forge: Forge, history: list[str]) -> None:
    origin = at(shallow(forge), allow_file=True)
    found = origin.look()
    unknown = origin.descent(history[0], found, deepen=False)
    assert unknown.kind == "unknown"
    assert "the clone is shallow: set fetch-depth: 0" in unknown.why
    assert origin.descent(history[0], found, deepen=True).kind == "descends"


@pytest.mark.parametrize("is_known", [True, False])
def test_once_deepened_a_shallow_clone_tells_what_rewinds(forge: Forge, history: list[str], is_known: bool) -> None:
    last = "f" * 40
    if is_known:
        forge.git("checkout", "--quiet", "-b", "side", history[1])
        last = forge.commit({"specs/b.yaml": "task: b\n"})
    origin = at(shallow(forge), allow_file=True)
    assert origin.descent(last, origin.look(), deepen=True).kind == "rewinds"


@pytest.mark.parametrize("is_detached", [True, False])
def test_only_as_much_is_fetched_as_answers_the_question(
    forge: Forge, monkeypatch: pytest.MonkeyPatch, is_detached: bool
) -> None:
    from reconciler.gitrepo import workingtree

    commits = [forge.commit({"specs/a.yaml": f"task: t{number}\n"}) for number in range(8)]
    monkeypatch.setattr(workingtree, "DEEPER", 3)
    place = shallow(forge)
    if is_detached:
        forge.git("checkout", "--quiet", "--detach", at=place)
    origin = at(place, allow_file=True)
    assert origin.descent(commits[5], origin.look(), deepen=True).kind == "descends"
    assert forge.git("rev-parse", "--is-shallow-repository", at=place) == "true"
    assert origin.descent(commits[0], origin.look(), deepen=True).kind == "descends"


@pytest.mark.parametrize("harm", ["gone", "not allowed", "no remote"])
def test_a_shallow_clone_that_cannot_be_deepened_says_so(forge: Forge, history: list[str], harm: str) -> None:
    place = shallow(forge)
    if harm == "gone":
        forge.bare.rename(forge.place / "gone")
    if harm == "no remote":
        forge.git("remote", "remove", "origin", at=place)
    origin = at(place, allow_file=harm != "not allowed")
    found = origin.descent(history[0], origin.look(), deepen=True)
    assert found.kind == "unknown"
    assert "set fetch-depth: 0" in found.why
    assert "\n" not in found.why


@pytest.mark.parametrize("secret", ["ci-token:s3cret", "s3cret"])
def test_a_token_in_the_address_of_a_pipeline_s_clone_is_not_shown(
    forge: Forge, history: list[str], secret: str
) -> None:
    place = shallow(forge)
    forge.git("remote", "set-url", "origin", f"https://{secret}@127.0.0.1:1/x.git", at=place)
    origin = at(place)
    found = origin.descent(history[0], origin.look(), deepen=True)
    assert "fetching the rest failed" in found.why
    assert "s3cret" not in found.why


def test_even_a_shallow_clone_knows_an_ancestor_that_it_has(forge: Forge, history: list[str]) -> None:
    forge.bare.joinpath("hooks").mkdir(exist_ok=True)
    place = shallow(forge, depth=3)
    origin = at(place)
    assert origin.descent(history[3], origin.look(), deepen=False).kind == "descends"
    forge.git("checkout", "--quiet", history[3], at=place)
    assert origin.descent(history[4], origin.look(), deepen=False).kind == "rewinds"


def test_what_is_not_committed_yet_is_said_so(forge: Forge) -> None:
    first = forge.commit({f"specs/{name}.yaml": f"task: {name}\n" for name in "abcd"}, "all four")
    (forge.work / "specs" / "a.yaml").unlink()
    (forge.work / "specs" / "b.yaml").write_text("task: x\n")
    forge.git("rm", "--quiet", "specs/c.yaml")
    origin = forge.checkout()
    found = origin.removals(first, origin.look(), ["a.yaml", "b.yaml", "c.yaml", "d.yaml"])
    assert found == {
        "a.yaml": Removal("", "", "", True),
        "b.yaml": Removal("", "", "", False),
        "c.yaml": Removal("", "", "", True),
        "d.yaml": Removal(first, "Ada Lovelace", "all four", False),
    }


def test_a_moved_file_is_gone_from_where_it_was(forge: Forge, history: list[str]) -> None:
    (forge.work / "specs" / "a.yaml").rename(forge.work / "specs" / "b.yaml")
    moved = forge.commit({}, "move it")
    origin = forge.checkout()
    assert origin.removals(history[-1], origin.look(), ["a.yaml"]) == {
        "a.yaml": Removal(moved, "Ada Lovelace", "move it", True)
    }


def test_a_file_removed_on_a_branch_that_was_merged_is_found(forge: Forge, history: list[str]) -> None:
    forge.git("checkout", "--quiet", "-b", "side")
    removed = forge.commit({"specs/a.yaml": None}, "on the side")
    forge.git("checkout", "--quiet", "main")
    forge.commit({"specs/b.yaml": "task: b\n"})
    forge.git("merge", "--quiet", "--no-edit", "side")
    origin = forge.checkout()
    assert origin.removals(history[-1], origin.look(), ["a.yaml"])["a.yaml"].commit == removed


def test_a_shallow_clone_does_not_blame_the_commit_it_begins_with(forge: Forge, history: list[str]) -> None:
    origin = at(shallow(forge))
    assert origin.removals(None, origin.look(), ["a.yaml", "b.yaml"]) == {}


def test_a_thousand_removed_files_cost_one_process(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    names = [f"{number}.yaml" for number in range(1000)]
    first = forge.commit({f"specs/{name}": "task: a\n" for name in names})
    second = forge.commit({f"specs/{name}": None for name in names} | {"specs/keep.yaml": "task: a\n"}, push=False)
    origin = forge.checkout()
    revision = origin.look()
    started: list[object] = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: (started.append(args), real(*args, **options))[1])
    found = origin.removals(first, revision, names)
    assert {one.commit for one in found.values()} == {second}
    assert len(found) == 1000
    assert len(started) <= 4


@pytest.mark.parametrize("name", ["a\nb.yaml", "\x01.yaml", "D", "caf\u00e9.yaml", "a\tb.yaml", "-rf.yaml", "*.yaml"])
def test_odd_names_are_matched_as_they_are(forge: Forge, name: str) -> None:
    first = forge.commit({f"specs/{name}": "task: a\n", "specs/b.yaml": "task: b\n"})
    second = forge.commit({f"specs/{name}": None})
    origin = forge.checkout()
    assert origin.removals(first, origin.look(), [name])[name].commit == second


def test_of_what_is_no_repository_nothing_is_told(tmp_path: Path) -> None:
    assert at(tmp_path, path=".").removals(None, Revision("f" * 40), ["a.yaml"]) == {}


def test_the_working_tree_is_not_touched(forge: Forge, history: list[str], held: Callable[[Path], Any]) -> None:
    place = shallow(forge)
    (place / "new").write_text("mine\n")
    forge.git("add", "new", at=place)
    before = forge.git("status", "--porcelain", at=place), forge.git("for-each-ref", at=place), held(place / "specs")
    origin = at(place, allow_file=True)
    origin.descent(history[0], origin.look(), deepen=True)
    assert before == (
        *(forge.git("status", "--porcelain", at=place), forge.git("for-each-ref", at=place)),
        held(place / "specs"),
    )
    assert not (place / ".git" / "FETCH_HEAD").exists()
