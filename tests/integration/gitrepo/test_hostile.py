"""Repositories made by somebody who means harm: nothing of them runs, and nothing of them is left outside."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ReconcilerError
from reconciler.gitrepo import Origin
from reconciler.specfiles import SpecReader

Forge = Any
Held = Callable[[Path], dict[str, str]]


def contents(origin: Origin, held: Held) -> dict[str, str]:
    with origin.opened(origin.look()) as place:
        return held(place)


def faults(origin: Origin) -> list[str]:
    with origin.opened(origin.look()) as place:
        return [fault.what for fault in SpecReader(place).read().faults]


def forged(forge: Forge, rows: list[tuple[str, str, bytes]]) -> None:
    """Push a commit whose tree has exactly these rows of mode, object and name, as no `git add` would make it."""
    raw = b"".join(f"{mode} ".encode() + name + b"\0" + bytes.fromhex(made) for mode, made, name in rows)
    arguments = ["git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally"]
    done = subprocess.run(arguments, cwd=forge.work, input=raw, capture_output=True, check=True)
    commit = forge.git("commit-tree", "-m", "forged", done.stdout.decode().strip())
    forge.push(f"{commit}:refs/heads/main")


def blob(forge: Forge, text: str) -> str:
    done = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=forge.work, input=text, text=True, capture_output=True, check=True
    )
    return done.stdout.strip()


def tree(forge: Forge, row: str) -> str:
    done = subprocess.run(["git", "mktree"], cwd=forge.work, input=row, text=True, capture_output=True, check=True)
    return done.stdout.strip()


def test_hooks_and_filters_of_the_repository_do_not_run(
    forge: Forge, held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sprung = tmp_path / "sprung"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {sprung}\ncat\n")
    trap.chmod(0o755)
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    hooks = ("reference-transaction", "post-checkout", "pre-auto-gc", "post-update", "fsmonitor-watchman", "post-merge")
    for name in hooks:
        (template / name).write_bytes(trap.read_bytes())
        (template / name).chmod(0o755)
    # Even with a filter and a template that the machine itself is set up with.
    settings = tmp_path / "gitconfig"
    settings.write_text(
        f'[init]\ntemplateDir = {template.parent}\n[filter "evil"]\nsmudge = {trap}\nclean = {trap}\nprocess = {trap}\n'
        f"[core]\nfsmonitor = {trap}\nhooksPath = {template}\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    attributes = "*.yaml filter=evil diff=evil merge=evil export-subst\n"
    forge.commit({"specs/.gitattributes": attributes, ".gitattributes": attributes, "specs/a.yaml": "task: a\n"})
    forge.commit({"specs/a.yaml": "task: $Format:%H$\n"})
    sprung.unlink(missing_ok=True)
    assert contents(forge.origin(), held) == {"a.yaml": "task: $Format:%H$\n"}
    assert not sprung.exists()


def test_submodules_are_neither_fetched_nor_made(forge: Forge, held: Held) -> None:
    first = forge.commit({"specs/a.yaml": "task: a\n"})
    forge.commit({".gitmodules": '[submodule "x"]\n\tpath = specs/x\n\turl = --upload-pack=touch sprung\n'}, push=False)
    forge.git("update-index", "--add", "--cacheinfo", f"160000,{first},specs/x")
    forge.git("commit", "--quiet", "-m", "with a submodule")
    forge.push("HEAD")
    assert contents(forge.origin(), held) == {"a.yaml": "task: a\n"}
    assert not list(forge.here.rglob("sprung"))


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../../../../../etc/passwd", "..", "../files.json", "../repository.git/config", "none"]
)
def test_a_link_that_leaves_is_the_reader_s_fault_to_name(forge: Forge, target: str) -> None:
    forge.commit({"specs/a.yaml": "task: a\n"})
    (forge.work / "specs" / "b.yaml").symlink_to(target)
    forge.commit({})
    (fault,) = faults(forge.origin())
    assert "is a link that" in fault


def test_links_within_the_specs_are_followed(forge: Forge) -> None:
    forge.commit({"specs/one/a.yaml": "task: a\n"})
    (forge.work / "specs" / "b.yaml").symlink_to("one/a.yaml")
    (forge.work / "specs" / "two").symlink_to("one")
    forge.commit({})
    origin = forge.origin()
    with origin.opened(origin.look()) as place:
        assert [one.path for one in SpecReader(place).read().specs] == ["b.yaml", "one/a.yaml"]


def test_nothing_is_ever_written_through_a_link(forge: Forge, held: Held, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    forge.commit({"specs/a.yaml": "task: a\n"}, push=False)
    (forge.work / "specs" / "d").symlink_to(outside)
    (forge.work / "specs" / "e.yaml").symlink_to(outside / "e.yaml")
    forge.commit({})
    origin = forge.origin()
    contents(origin, held)
    (forge.work / "specs" / "d").unlink()
    (forge.work / "specs" / "e.yaml").unlink()
    forge.commit({"specs/d/x.yaml": "task: x\n", "specs/e.yaml": "task: e\n"})
    assert contents(origin, held) == {"a.yaml": "task: a\n", "d/x.yaml": "task: x\n", "e.yaml": "task: e\n"}
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", [b"..", b".", b".git", b".GIT", b"git~1", b".g\xe2\x80\x8cit", b"../../x.yaml"])
def test_names_that_lead_elsewhere_are_left_out_or_refused(
    forge: Forge, held: Held, tmp_path: Path, name: bytes
) -> None:
    made = blob(forge, "task: evil\n")
    inner = tree(forge, f"100644 blob {made}\tevil.yaml\n")
    is_file = name.endswith(b".yaml")
    good = ("100644", made, b"a.yaml")
    forged(
        forge, sorted([good, ("100644" if is_file else "40000", made if is_file else inner, name)], key=lambda r: r[2])
    )
    before = {path for path in tmp_path.rglob("*") if "remote.git" not in path.parts and ".git" not in path.parts}
    try:
        assert contents(forge.origin(path="."), held) == {"a.yaml": "task: evil\n"}
    except ReconcilerError as error:
        assert "\n" not in str(error)
    grown = {
        path for path in tmp_path.rglob("*") if "remote.git" not in path.parts and ".git" not in path.parts
    } - before
    assert all(path.is_relative_to(forge.here / ".reconciler") for path in grown)
    assert [path.name for path in grown if path.name in ("evil.yaml", "x.yaml")] == []


def test_a_name_that_is_a_file_and_a_directory_is_refused(forge: Forge, held: Held) -> None:
    made = blob(forge, "task: evil\n")
    inner = tree(forge, f"100644 blob {made}\tevil.yaml\n")
    forged(forge, [("100644", made, b"a.yaml"), ("40000", inner, b"a.yaml")])
    with pytest.raises(ReconcilerError, match="as a file and as a directory"):
        contents(forge.origin(path="."), held)


@pytest.mark.parametrize("name", [b"a\nb.yaml", b"a\x1b[31mb.yaml", b"\xff.yaml", b"a b.yaml", b"-rf.yaml"])
def test_odd_names_arrive_as_they_are(forge: Forge, name: bytes) -> None:
    forge.commit({"specs/a.yaml": "task: a\n"}, push=False)
    Path(os.fsdecode(os.fsencode(forge.work / "specs") + b"/" + name)).write_text("task: b\n")
    forge.commit({})
    origin = forge.origin()
    with origin.opened(origin.look()) as place:
        found = {os.fsencode(path.name) for path in place.iterdir()}
        assert found == {b"a.yaml", name}
        read = SpecReader(place).read()
        assert len(read.faults) + len(read.specs) >= 2
    with origin.opened(origin.look()) as place:
        assert {os.fsencode(path.name) for path in place.iterdir()} == found


def test_a_file_too_large_for_a_spec_is_not_loaded_and_the_reader_says_so(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.gitrepo import export

    loaded: list[str] = []
    real = export.contents

    def contents_of(git: Any, objects: Any) -> Any:
        loaded.extend(objects)
        return real(git, loaded)

    monkeypatch.setattr(export, "contents", contents_of)
    forge.commit({"specs/a.yaml": "task: a\n", "specs/b.yaml": "x" * (3 * 1024 * 1024)})
    (fault,) = faults(forge.origin())
    assert "is 3145728 bytes large" in fault
    assert len(loaded) == 1
    kept = forge.kept() / "files" / "b.yaml"
    assert kept.stat().st_blocks * 512 < 1024 * 1024


def test_a_link_made_of_a_large_file_is_refused(forge: Forge, held: Held) -> None:
    made = blob(forge, "x" * 5000)
    forged(forge, [("120000", made, b"a.yaml")])
    with pytest.raises(ReconcilerError, match=r"the link 'a\.yaml' leads nowhere: remove it"):
        contents(forge.origin(path="."), held)


def test_a_program_that_the_environment_names_for_another_repository_is_not_asked(
    forge: Forge, held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.commit({"specs/a.yaml": "task: a\n"})
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.hooksPath=/nowhere'")
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "ext")
    assert contents(forge.origin(), held) == {"a.yaml": "task: a\n"}
    assert not (tmp_path / "trace").exists()


def test_a_protocol_that_is_not_allowed_is_not_used(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text(
        f'[url "ext::touch {tmp_path}/sprung "]\ninsteadOf = https://forge.example/\n[protocol "ext"]\nallow = always\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    with pytest.raises(ReconcilerError, match="not allowed"):
        forge.origin(repo="https://forge.example/x").look()
    assert not (tmp_path / "sprung").exists()
