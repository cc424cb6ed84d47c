"""A repository elsewhere as a source: what is fetched, what is read, and what happens when either goes wrong."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ReconcilerError
from reconciler.gitrepo import Origin, Revision

Forge = Any
Held = Callable[[Path], dict[str, str]]

A = {"specs/a.yaml": "task: a\n"}


def contents(origin: Origin, held: Held, revision: Revision | None = None) -> dict[str, str]:
    with origin.opened(revision or origin.look()) as place:
        return held(place)


def test_a_branch_is_followed_from_commit_to_commit(forge: Forge, held: Held) -> None:
    first = forge.commit(A, "nightly at three")
    origin = forge.origin()
    found = origin.look()
    assert found == Revision(first, False, "Ada Lovelace", "nightly at three")
    assert contents(origin, held, found) == {"a.yaml": "task: a\n"}
    second = forge.commit({"specs/a.yaml": None, "specs/team/b.yaml": "task: b\n"})
    found = origin.look()
    assert found.commit == second
    assert contents(origin, held, found) == {"team/b.yaml": "task: b\n"}
    assert origin.descent(first, found, deepen=True).kind == "descends"
    assert origin.descent(second, found, deepen=True).kind == "same"
    assert origin.descent(f"{second}-dirty", found, deepen=True).kind == "same"


def test_an_earlier_revision_can_be_opened_again(forge: Forge, held: Held) -> None:
    origin = forge.origin()
    forge.commit(A)
    first = origin.look()
    forge.commit({"specs/a.yaml": "task: b\n"})
    assert contents(origin, held) == {"a.yaml": "task: b\n"}
    assert contents(origin, held, first) == {"a.yaml": "task: a\n"}


@pytest.mark.parametrize(
    ("ref", "tag"),
    [
        ("main", "v2.0.0-rc.1"),
        ("HEAD", "v2.0.0-rc.1"),
        ("refs/heads/main", "v2.0.0-rc.1"),
        ("v1.2.0", "v1.2.0"),
        ("refs/tags/1.3.1", "1.3.1"),
        ("semver:>=1.2,<2", "1.3.1"),
        ("semver:^1.2", "1.3.1"),
        ("semver:~1.2", "v1.2.0"),
        ("semver:*", "1.3.1"),
        ("semver:>=2.0.0-rc.1", "v2.0.0-rc.1"),
        ("release/one", "v1.2.0"),
    ],
)
def test_a_ref_is_a_branch_a_tag_or_a_range_of_versions(forge: Forge, ref: str, tag: str) -> None:
    commits = {name: forge.commit({"specs/a.yaml": f"task: {name}\n"}) for name in ("v1.2.0", "1.3.1", "v2.0.0-rc.1")}
    for name, commit in commits.items():
        forge.git("tag", "-m", name, name, commit)
    forge.git("branch", "release/one", commits["v1.2.0"])
    forge.push("--tags", "release/one")
    assert forge.origin(ref=ref).look().commit == commits[tag]


def test_a_commit_is_found_by_all_of_it_or_by_its_beginning(forge: Forge, held: Held) -> None:
    first = forge.commit(A)
    forge.commit({"specs/a.yaml": "task: b\n"})
    for ref in (first, first[:7], first[:12]):
        assert contents(forge.origin(ref=ref), held) == {"a.yaml": "task: a\n"}
    forge.bare.rename(forge.place / "gone")
    assert forge.origin(ref=first).look().commit == first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ref": "mian"}, "there is no branch, tag or commit 'mian': did you mean 'main'?"),
        ({"ref": "abcdef1"}, "there is no branch, tag or commit 'abcdef1': "),
        ({"ref": "f" * 40}, f"there is no commit {'f' * 40}: push it to a branch"),
        ({"ref": "semver:^3"}, "none of its 1 tags is within '^3': tag a release, or widen the range"),
        ({"ref": "semver:newest"}, "ref: 'newest' is no range of versions; examples: "),
        ({"ref": "both"}, "'both' is a branch and a tag: write ref = 'refs/heads/both' or 'refs/tags/both'"),
        ({"ref": "--upload-pack=touch sprung"}, "ref: '--upload-pack=touch sprung' is no name of a branch"),
        ({"ref": "ma*n"}, "ref: 'ma*n' is no name of a branch"),
        ({"path": "../specs"}, "path '../specs' leaves the repository: name a directory inside it"),
        ({"path": "/etc"}, "path '/etc' leaves the repository: name a directory inside it"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(forge: Forge, settings: dict[str, str], message: str) -> None:
    forge.commit(A)
    forge.git("branch", "both")
    forge.git("tag", "both")
    forge.push("refs/heads/both", "refs/tags/both")
    with pytest.raises(ReconcilerError) as caught:
        forge.origin(**settings).look()
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"source 'default': {forge.url}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["nowhere", "specs/a.yaml", "link", "sub"])
def test_a_path_that_is_no_directory_is_an_error_and_never_empty(forge: Forge, path: str) -> None:
    first = forge.commit(A)
    (forge.work / "link").symlink_to("specs")
    forge.git("update-index", "--add", "--cacheinfo", f"160000,{first},sub")
    forge.git("add", "link")
    forge.git("commit", "--quiet", "-m", "odd")
    forge.push("HEAD")
    origin = forge.origin(path=path)
    with pytest.raises(ReconcilerError, match=rf"there is no directory.* '{path}' at "), origin.opened(origin.look()):
        pass


def test_the_whole_repository_can_be_the_specs_directory(forge: Forge, held: Held) -> None:
    forge.commit({"a.yaml": "task: a\n", ".hidden/b.yaml": "task: b\n", "README.md": "hello\n"})
    assert contents(forge.origin(path="."), held) == {"a.yaml": "task: a\n"}


def test_a_remote_that_is_away_changes_nothing_of_what_was_fetched(forge: Forge, held: Held) -> None:
    forge.commit(A)
    origin = forge.origin()
    found = origin.look()
    forge.bare.rename(forge.place / "gone")
    with pytest.raises(ReconcilerError, match=r"cannot be fetched: .* does not (exist|appear).*: check repo"):
        origin.look()
    with pytest.raises(ReconcilerError, match=r"is not here|cannot be read"), origin.opened(found):
        pass
    (forge.place / "gone").rename(forge.bare)
    assert contents(origin, held, found) == {"a.yaml": "task: a\n"}
    forge.bare.rename(forge.place / "gone")
    assert contents(origin, held, found) == {"a.yaml": "task: a\n"}
    assert contents(forge.origin(), held, found) == {"a.yaml": "task: a\n"}


def test_a_branch_that_vanishes_is_an_error_and_never_empty(forge: Forge) -> None:
    forge.commit(A)
    origin = forge.origin()
    origin.look()
    forge.git("update-ref", "-d", "refs/heads/main", at=forge.bare)
    with pytest.raises(ReconcilerError, match="there is no 'main', nor any branch: push one"):
        origin.look()


def test_a_force_push_is_seen_as_a_rewind(forge: Forge, held: Held) -> None:
    first = forge.commit(A)
    forge.commit({"specs/a.yaml": "task: b\n"}, "second")
    origin = forge.origin()
    second = origin.look()
    forge.git("reset", "--quiet", "--hard", first)
    third = forge.commit({"specs/c.yaml": "task: c\n"}, "another second")
    found = origin.look()
    assert found.commit == third
    assert origin.descent(second.commit, found, deepen=True).kind == "rewinds"
    assert contents(origin, held, found) == {"a.yaml": "task: a\n", "c.yaml": "task: c\n"}
    # A service that never saw the second: all that the third descends from is there, so the answer is the same.
    elsewhere = forge.place / "elsewhere"
    elsewhere.mkdir()
    forge.here = elsewhere
    fresh = forge.origin()
    assert fresh.descent(second.commit, fresh.look(), deepen=True).kind == "rewinds"


def test_going_back_to_an_ancestor_is_a_rewind(forge: Forge) -> None:
    first = forge.commit(A)
    second = forge.commit({"specs/a.yaml": "task: b\n"})
    forge.push(f"{first}:refs/heads/main")
    origin = forge.origin()
    assert origin.descent(second, origin.look(), deepen=True).kind == "rewinds"


def test_without_a_commit_or_with_an_odd_one_the_descent_is_not_known(forge: Forge) -> None:
    forge.commit(A)
    origin = forge.origin()
    found = origin.look()
    assert origin.descent("f" * 40, Revision(), deepen=True).kind == "unknown"
    assert origin.descent("--all", found, deepen=True).kind == "unknown"


def test_a_commit_that_nobody_has_is_an_error_and_never_empty(forge: Forge) -> None:
    forge.commit(A)
    origin = forge.origin()
    origin.look()
    with (
        pytest.raises(ReconcilerError, match="there is no commit fffffff any more: look again"),
        origin.opened(Revision("f" * 40)),
    ):
        pass


def test_a_commit_of_another_branch_is_found_when_it_is_asked_for(forge: Forge, held: Held) -> None:
    forge.commit(A)
    origin = forge.origin()
    origin.look()
    forge.git("checkout", "--quiet", "-b", "side")
    side = forge.commit({"specs/a.yaml": "task: side\n"})
    assert contents(origin, held, Revision(side)) == {"a.yaml": "task: side\n"}


def test_only_the_files_that_are_read_are_fetched(forge: Forge, held: Held) -> None:
    forge.commit({"specs/a.yaml": "task: a\n", "specs/notes.md": "no\n", "large": "x" * 10_000})
    forge.commit({"specs/a.yaml": "task: b\n"})
    origin = forge.origin()
    assert contents(origin, held) == {"a.yaml": "task: b\n"}
    repository = forge.kept() / "repository.git"
    listed = forge.git("cat-file", "--batch-all-objects", "--batch-check=%(objecttype)", at=repository).split()
    assert sorted(listed) == ["blob", "commit", "commit", "tree", "tree", "tree", "tree"]
    assert forge.git("rev-parse", "--is-shallow-repository", at=repository) == "false"


def test_a_remote_that_filters_nothing_is_fetched_whole(forge: Forge, held: Held) -> None:
    forge.git("config", "uploadpack.allowFilter", "false", at=forge.bare)
    forge.commit(A)
    origin = forge.origin()
    assert contents(origin, held) == {"a.yaml": "task: a\n"}


def test_what_has_not_changed_keeps_its_stamp(forge: Forge) -> None:
    forge.commit({"specs/a.yaml": "task: a\n", "specs/b.yaml": "task: b\n"})
    origin = forge.origin()
    with origin.opened(origin.look()) as place:
        before = (place / "a.yaml").stat()
    forge.commit({"specs/b.yaml": "task: c\n"})
    again = forge.origin()
    with again.opened(again.look()) as place:
        assert (place / "a.yaml").stat().st_mtime_ns == before.st_mtime_ns
        assert (place / "a.yaml").stat().st_ino == before.st_ino
        assert (place / "b.yaml").read_text() == "task: c\n"


def test_a_hand_in_our_directory_is_put_right(forge: Forge, held: Held) -> None:
    forge.commit({"specs/a.yaml": "task: a\n", "specs/b/c.yaml": "task: c\n", "specs/d.yaml": "task: d\n"})
    origin = forge.origin()
    expected = contents(origin, held)
    place = forge.kept() / "files"
    (place / "a.yaml").write_text("task: x\n")
    (place / "d.yaml").unlink()
    (place / "b" / "c.yaml").unlink()
    (place / "b").rmdir()
    (place / "b").symlink_to("/etc")
    (place / "more.yaml").write_text("task: more\n")
    (place / "empty").mkdir()
    assert contents(origin, held) == expected
    assert not (place / "empty").exists()
    (forge.kept() / "files.json").write_text("{")
    assert contents(origin, held) == expected


KILLED = """
import sys
from pathlib import Path
from reconciler.gitrepo import origin_of
from reconciler.settings import SourceSettings

origin = origin_of(SourceSettings(repo=sys.argv[1], allow_file=True), Path(sys.argv[2]))
with origin.opened(origin.look()):
    pass
"""


def test_an_end_in_between_heals_at_the_next_turn(forge: Forge, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    forge.commit({"specs/a.yaml": "task: a\n", "specs/b.yaml": "task: b\n"})
    assert contents(forge.origin(), held) == {"a.yaml": "task: a\n", "b.yaml": "task: b\n"}
    forge.commit({"specs/a.yaml": "task: c\n", "specs/b.yaml": None, "specs/d.yaml": "task: d\n"})
    monkeypatch.setenv("RECONCILER_FAILPOINT", "export-written")
    command = [sys.executable, "-c", KILLED, forge.url, str(forge.here)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 70
    monkeypatch.delenv("RECONCILER_FAILPOINT")
    assert contents(forge.origin(), held) == {"a.yaml": "task: c\n", "d.yaml": "task: d\n"}


def _corrupt_objects(repository: Path) -> None:
    for pack in (repository / "objects" / "pack").glob("*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(b"PACK" + b"\0" * 100)


def _cut_short(repository: Path) -> None:
    for pack in (repository / "objects" / "pack").glob("*.idx"):
        pack.unlink()


def _empty_head(repository: Path) -> None:
    (repository / "HEAD").write_text("")


def _broken_config(repository: Path) -> None:
    (repository / "config").write_text("[core\n")


def _lock_left_behind(repository: Path) -> None:
    for name in ("packed-refs.lock", "HEAD.lock", "config.lock"):
        (repository / name).write_text("")
    for ref in (repository / "refs" / "reconciler" / "followed").iterdir():
        ref.with_name(f"{ref.name}.lock").write_text("")


def _no_objects(repository: Path) -> None:
    for file in (repository / "objects").rglob("*"):
        if file.is_file():
            file.unlink()


@pytest.mark.parametrize(
    "harm", [_corrupt_objects, _cut_short, _empty_head, _broken_config, _lock_left_behind, _no_objects]
)
@pytest.mark.parametrize("is_same_process", [True, False])
@pytest.mark.parametrize("has_moved", [True, False])
def test_a_broken_repository_is_made_anew(
    forge: Forge, held: Held, harm: Callable[[Path], None], is_same_process: bool, has_moved: bool
) -> None:
    forge.commit(A)
    origin = forge.origin()
    assert contents(origin, held) == {"a.yaml": "task: a\n"}
    harm(forge.kept() / "repository.git")
    forge.commit({"specs/a.yaml": "task: b\n"} if has_moved else {"README": "hello\n"})
    again = origin if is_same_process else forge.origin()
    assert contents(again, held) == ({"a.yaml": "task: b\n"} if has_moved else {"a.yaml": "task: a\n"})
    assert sorted(path.name for path in forge.kept().iterdir()) == [
        *("fetch.lock", "files", "files.json", "files.lock", "repository.git")
    ]


def test_another_address_under_the_same_name_is_another_repository(forge: Forge, held: Held) -> None:
    forge.commit(A)
    assert contents(forge.origin(), held) == {"a.yaml": "task: a\n"}
    assert contents(forge.origin(repo=str(forge.bare)), held) == {"a.yaml": "task: a\n"}
    assert len(list((forge.here / ".reconciler" / "sources").iterdir())) == 2


def test_a_path_on_this_machine_is_relative_to_the_settings(forge: Forge, held: Held) -> None:
    forge.commit(A)
    assert contents(forge.origin(repo="../remote.git"), held) == {"a.yaml": "task: a\n"}


def test_several_at_once_each_read_one_whole_revision(forge: Forge, held: Held) -> None:
    commits = [forge.commit({f"specs/{n}.yaml": f"task: t{m}\n" for n in range(20)}) for m in range(3)]
    forge.origin().look()
    wrong: list[object] = []

    def follow(number: int) -> None:
        origin = forge.origin()
        for turn in range(4):
            which = (number + turn) % 3
            found = contents(origin, held, Revision(commits[which]))
            if set(found.values()) != {f"task: t{which}\n"} or len(found) != 20:
                wrong.append(found)

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_removals_name_the_commit_and_its_author(forge: Forge) -> None:
    files = {"specs/a.yaml": "task: a\n", "specs/b.yaml": "task: b\n", "specs/c.yaml": "task: c\n"}
    first = forge.commit(files, "first")
    second = forge.commit({"specs/a.yaml": None, "specs/new.yaml": "task: a\n"}, "drop old reports")
    third = forge.commit({"specs/b.yaml": "task: d\n"}, "change b")
    origin = forge.origin()
    found = origin.removals(first, origin.look(), ["a.yaml", "b.yaml", "c.yaml", "never.yaml"])
    assert (found["a.yaml"].commit, found["a.yaml"].subject) == (second, "drop old reports")
    assert found["a.yaml"].author == "Ada Lovelace"
    assert found["a.yaml"].is_whole_file
    assert (found["b.yaml"].commit, found["b.yaml"].is_whole_file) == (third, False)
    assert (found["c.yaml"].commit, found["c.yaml"].is_whole_file) == (first, False)
    assert "never.yaml" not in found
    assert origin.removals(None, origin.look(), ["a.yaml"])["a.yaml"].commit == second
    assert origin.removals("f" * 40, origin.look(), ["a.yaml"])["a.yaml"].commit == second


def test_no_secret_is_an_argument_or_in_a_message(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    given: list[dict[str, str]] = []
    real = subprocess.Popen

    def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        seen.append(command)
        given.append(options["env"])
        return real(command, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setenv("FORGE_TOKEN", "s3cret-token")
    # Nobody listens on port 1.
    origin = forge.origin(repo="https://127.0.0.1:1/x.git", token={"from_env": "FORGE_TOKEN"})
    with pytest.raises(ReconcilerError) as caught:
        origin.look()
    assert "cannot be fetched" in str(caught.value)
    assert not re.search("s3cret|czNjcmV0", f"{caught.value} {seen}")
    assert any("Authorization: Basic" in text for environment in given for text in environment.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token": {"from_env": "NO_SUCH"}}, "token: the environment variable NO_SUCH: holds no token"),
        ({"token": {"from_file": "no-such"}}, "no-such: No such file or directory: a file with the token"),
        ({"repo": "ssh://127.0.0.1:1/x", "ssh_key": "key"}, "here/key: no such file"),
    ],
)
def test_credentials_that_are_not_there_are_said_before_anything_is_fetched(
    forge: Forge, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ReconcilerError, match=re.escape(message)):
        forge.origin(**{"repo": "https://127.0.0.1:1/x", **settings}).look()


def test_without_the_git_command_there_is_a_line(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    forge.commit(A)
    monkeypatch.setenv("PATH", str(forge.here))
    with pytest.raises(ReconcilerError, match="no git command here"):
        forge.origin().look()


def test_a_git_that_never_answers_is_ended_with_all_it_started(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.gitrepo import clone

    forge.commit(A)
    monkeypatch.setattr(clone, "ASKING", 0.5)
    script = forge.place / "slow"
    script.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {forge.place}/pid\nsleep 1000\n")
    script.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(script))
    with pytest.raises(ReconcilerError, match=r"git did not answer within 0\.5 s"):
        forge.origin(repo="ssh://127.0.0.1/x").look()
    program = Path("/proc", (forge.place / "pid").read_text().strip(), "exe")
    until = time.monotonic() + 10  # a signal takes its time to arrive
    while program.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not program.exists()
