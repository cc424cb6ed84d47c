"""What a remote answers, or somebody pushed, that git itself takes badly: bounded, told apart, made harmless."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ReconcilerError
from reconciler.gitrepo import Descended, revision_of

Forge = Any
A = {"specs/a.yaml": "task: a\n"}


def made(forge: Forge, kind: str, content: bytes) -> str:
    """The object of that content, as no porcelain would write it."""
    command = ["git", "hash-object", "-t", kind, "-w", "--stdin", "--literally"]
    return subprocess.run(command, cwd=forge.work, input=content, capture_output=True, check=True).stdout.decode()[:40]


def unpacked(repository: Path) -> None:
    """Every object in a file of its own, so that one can be harmed."""
    aside = repository / "aside"
    (repository / "objects" / "pack").rename(aside)
    (repository / "objects" / "pack").mkdir()
    for pack in aside.glob("*.pack"):
        command = ["git", f"--git-dir={repository}", "unpack-objects", "-q"]
        subprocess.run(command, input=pack.read_bytes(), check=True)
    shutil.rmtree(aside)


def harmed(repository: Path, name: str, harm: str) -> None:
    unpacked(repository)
    place = repository / "objects" / name[:2] / name[2:]
    place.chmod(0o600)
    if harm == "gone":
        place.unlink()
    else:
        place.write_bytes(b"no object")


def test_a_shallow_remote_starts_no_endless_fetches_and_its_descent_is_not_known(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = [forge.commit({"specs/a.yaml": f"task: t{number}\n"}) for number in range(4)]
    place = tmp_path / "shallow.git"
    forge.git("clone", "--quiet", "--bare", "--depth=2", forge.url, str(place), at=tmp_path)
    forge.git("config", "uploadpack.allowFilter", "true", at=place)
    counted = tmp_path / "counted"
    # What git starts at the remote's side, once for each fetch.
    script = tmp_path / "git-upload-pack"
    script.write_text(f'#!/bin/sh\necho >> {counted}\n[ $(wc -l < {counted}) -lt 9 ] && exec git upload-pack "$@"\n')
    script.chmod(0o755)
    forge.git("config", "--file", str(tmp_path / "gitconfig"), "remote.--negotiate-only.uploadpack", str(script))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    origin = forge.origin(repo=f"file://{place}")
    found = origin.look()
    assert found.commit == commits[-1]
    with origin.opened(found) as files:
        assert (files / "a.yaml").read_text() == "task: t3\n"
    assert 1 <= len(counted.read_text()) <= 3
    descended = origin.descent(commits[0], found, deepen=True)
    assert descended.kind == "unknown"
    assert "is shallow itself: push all of its history there" in descended.why
    assert origin.descent(commits[2], found, deepen=True) == Descended("descends")


@pytest.mark.parametrize("harm", ["gone", "bad"])
@pytest.mark.parametrize("last", [0, 1, None])
def test_a_history_with_a_hole_is_never_read_as_a_rewind(forge: Forge, harm: str, last: int | None) -> None:
    commits = [forge.commit({"specs/a.yaml": f"task: t{number}\n"}) for number in range(4)]
    origin = forge.origin()
    found = origin.look()
    harmed(forge.kept() / "repository.git", commits[1], harm)
    descended = origin.descent("f" * 40 if last is None else commits[last], found, deepen=True)
    assert descended.kind == "unknown"
    assert descended.why.endswith("see whether git works here")


@pytest.mark.parametrize("harm", ["gone", "bad"])
@pytest.mark.parametrize("which", ["^{tree}", ":specs"])
def test_a_broken_tree_is_not_taken_for_a_missing_path(forge: Forge, harm: str, which: str) -> None:
    forge.commit(A)
    commit = forge.commit({"specs/b.yaml": "task: b\n"})
    found = forge.origin().look()
    harmed(forge.kept() / "repository.git", forge.git("rev-parse", f"{commit}{which}"), harm)
    with forge.origin().opened(found) as files:
        assert sorted(path.name for path in files.iterdir()) == ["a.yaml", "b.yaml"]


def test_a_tree_that_unfolds_without_end_is_refused_and_not_fetched_again(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.gitrepo import tree
    from reconciler.gitrepo.clone import Clone

    monkeypatch.setattr(tree, "MOST_LISTING", 1024 * 1024)
    monkeypatch.setattr(Clone, "remake", lambda *_, **__: pytest.fail("fetched anew"))
    mode, name, row = b"100644", b"a%d.yaml", made(forge, "blob", b"task: a\n")
    for _ in range(6):
        rows = [mode + b" " + name % number + b"\0" + bytes.fromhex(row) for number in range(10)]
        mode, name, row = b"40000", b"d%d", made(forge, "tree", b"".join(rows))
    forge.push(f"{forge.git('commit-tree', '-m', 'bomb', row)}:refs/heads/main")
    origin = forge.origin(path=".")
    with pytest.raises(ReconcilerError, match="more files than can be listed"), origin.opened(origin.look()):
        pass


def test_what_is_written_into_a_commit_does_nothing_to_a_terminal_or_a_database(forge: Forge) -> None:
    first = forge.commit(A)
    forge.git("rm", "--quiet", "specs/a.yaml")
    head = f"tree {forge.git('write-tree')}\nparent {first}\n".encode()
    person = b"Jos\xe9\x1b]0;x\x07\xe2\x80\xae <j@example.org> 1700000000 +0000\n"
    text = head + b"author " + person + b"committer " + person + b"\nsub\x1b[2Jject \xff\n"
    forge.push(f"{made(forge, 'commit', text)}:refs/heads/main")
    origin = forge.origin()
    found = origin.look()
    removal = origin.removals(first, found, ["a.yaml"])["a.yaml"]
    for author, subject in ((found.author, found.subject), (removal.author, removal.subject)):
        assert author == "Jos\ufffd\ufffd]0;x\ufffd\ufffd"
        assert subject == "sub\ufffd[2Jject \ufffd"


def test_tags_that_are_no_versions_do_not_stop_those_that_are(forge: Forge) -> None:
    commit = forge.commit(A)
    forge.git("tag", "v1.0.0")
    forge.git("tag", "v1.9.0\u2028x")
    forge.push("refs/tags/v1.0.0", "refs/tags/v1.9.0\u2028x")
    long = f"{commit} refs/tags/v1.{'9' * 5000}\n"
    (forge.bare / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{long}")
    assert forge.origin(ref="semver:^1").look().commit == commit


def test_a_repository_that_was_committed_as_files_has_no_say(forge: Forge, tmp_path: Path) -> None:
    forge.commit(A)
    inner = tmp_path / "inner.git"
    forge.git("clone", "--quiet", "--bare", forge.url, str(inner), at=tmp_path)
    trap = f'[core]\nbare = false\nworktree = .\n[filter "evil"]\nclean = touch {tmp_path}/sprung; cat\n'
    (inner / "config").write_text(trap)
    for name in ("HEAD", "config"):
        shutil.copy(inner / name, forge.work / "specs" / name)
    for name in ("objects", "refs"):
        shutil.copytree(inner / name, forge.work / "specs" / name)
    (forge.work / "specs" / ".gitattributes").write_text("* filter=evil\n")
    shutil.copy(forge.work / ".git" / "index", forge.work / "specs" / "index")
    found = revision_of(forge.work / "specs")
    assert found.commit is None
    assert "cannot use bare repository" in (found.reason or "")
    assert not (tmp_path / "sprung").exists()


def test_the_machine_s_settings_for_people_change_no_answer(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = forge.commit({"specs/a.yaml": "task: a\n" * 50})
    forge.git("mv", "specs/a.yaml", "specs/b.yaml")
    second = forge.commit({}, "caf\u00e9")
    settings = tmp_path / "gitconfig"
    settings.write_text("[log]\nfollow = true\n[diff]\nrelative = true\n[i18n]\nlogOutputEncoding = utf-16\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    for origin in (forge.origin(), forge.checkout()):
        found = origin.look()
        assert (found.commit, found.subject) == (second, "caf\u00e9")
        assert origin.removals(first, found, ["a.yaml"])["a.yaml"].commit == second
