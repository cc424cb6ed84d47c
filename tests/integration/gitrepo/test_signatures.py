"""Sources that require signatures: who counts as a signer, and every way in which a commit can fall short of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ReconcilerError
from reconciler.gitrepo import Origin

Forge = Any

A = {"specs/a.yaml": "task: a\n"}
SSH = ("-c", "gpg.format=ssh")


class Keys:
    """ssh keys of people, and the file of those who may sign."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.allowed = place / "allowed_signers"
        self.allowed.write_text("")
        for name in ("ada", "eve"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(place / name)]
            subprocess.run(command, check=True)
        self.allow("ada@example.org", "ada")

    def allow(self, principal: str, name: str, options: str = "") -> None:
        key = (self.place / f"{name}.pub").read_text()
        self.allowed.write_text(f"{principal} {options} {key}")

    def signing(self, name: str) -> tuple[str, ...]:
        return (*SSH, "-c", f"user.signingKey={self.place / name}")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen here")
    return Keys(tmp_path)


def signed(forge: Forge, keys: Keys, name: str, files: dict[str, str] | None = None) -> str:
    forge.commit(files or A, push=False)
    forge.git(*keys.signing(name), "commit", "--quiet", "--amend", "--no-edit", "--allow-empty", "-S")
    forge.push("HEAD")
    commit: str = forge.git("rev-parse", "HEAD")
    return commit


def ssh_origin(forge: Forge, keys: Keys, **settings: Any) -> Origin:
    origin: Origin = forge.origin(require_signed="ssh", allowed_signers=str(keys.allowed), **settings)
    return origin


def refusal(origin: Origin) -> str:
    with pytest.raises(ReconcilerError) as caught:
        origin.look()
    text = str(caught.value)
    assert text.startswith("source 'default': ")
    assert "\n" not in text
    return text


def test_a_commit_signed_by_one_who_may_is_good_and_says_who(forge: Forge, keys: Keys) -> None:
    commit = signed(forge, keys, "ada")
    found = ssh_origin(forge, keys).look()
    assert found.commit == commit
    assert found.signer and found.signer.startswith("ada@example.org SHA256:")


def test_an_unsigned_commit_is_refused(forge: Forge, keys: Keys) -> None:
    commit = forge.commit(A)
    text = refusal(ssh_origin(forge, keys))
    assert f"commit {commit[:7]}: is not signed: what runs goes on" in text


def test_an_unknown_signer_is_refused(forge: Forge, keys: Keys) -> None:
    signed(forge, keys, "eve")
    assert f"its signer is not in {keys.allowed}" in refusal(ssh_origin(forge, keys))


def test_the_machine_s_own_settings_do_not_make_a_signer(
    forge: Forge, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = tmp_path / "everybody"
    everybody.write_text(f"eve@example.org {(keys.place / 'eve.pub').read_text()}")
    liar = tmp_path / "liar"
    liar.write_text("#!/bin/sh\necho 'Good \"git\" signature for ada@example.org with ED25519 key SHA256:x'\n")
    liar.chmod(0o755)
    settings = tmp_path / "gitconfig"
    settings.write_text(
        f'[gpg]\nminTrustLevel = never\n[gpg "ssh"]\nallowedSignersFile = {everybody}\nprogram = {liar}\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    signed(forge, keys, "eve")
    assert "its signer is not in" in refusal(ssh_origin(forge, keys))


@pytest.mark.parametrize(
    ("options", "message"),
    [('valid-before="20200101"', "has expired"), ('valid-after="20990101"', "is not valid yet")],
)
def test_a_key_outside_its_time_is_refused(forge: Forge, keys: Keys, options: str, message: str) -> None:
    keys.allow("ada@example.org", "ada", options)
    signed(forge, keys, "ada")
    assert message in refusal(ssh_origin(forge, keys))


def test_a_key_that_may_sign_other_things_is_refused(forge: Forge, keys: Keys) -> None:
    keys.allow("ada@example.org", "ada", 'namespaces="file"')
    signed(forge, keys, "ada")
    refusal(ssh_origin(forge, keys))


def tampered(forge: Forge) -> None:
    """The signed commit with another message, and the signature kept."""
    text = forge.git("cat-file", "commit", "HEAD").replace("a change", "another change") + "\n"
    arguments = ["git", "hash-object", "-t", "commit", "-w", "--stdin"]
    made = subprocess.run(arguments, cwd=forge.work, input=text, text=True, capture_output=True, check=True)
    forge.push(f"{made.stdout.strip()}:refs/heads/main")


def test_a_commit_changed_after_signing_is_refused(forge: Forge, keys: Keys) -> None:
    signed(forge, keys, "ada")
    tampered(forge)
    assert "the signature is bad: it was changed after signing" in refusal(ssh_origin(forge, keys))


def test_only_the_newest_commit_has_to_be_signed(forge: Forge, keys: Keys) -> None:
    forge.commit(A)
    commit = signed(forge, keys, "ada", {"specs/a.yaml": "task: b\n"})
    assert ssh_origin(forge, keys).look().commit == commit


def test_what_was_good_stays_readable_when_the_next_is_refused(forge: Forge, keys: Keys) -> None:
    signed(forge, keys, "ada")
    origin = ssh_origin(forge, keys)
    good = origin.look()
    forge.commit({"specs/a.yaml": "task: evil\n"})
    refusal(origin)
    with origin.opened(good) as place:
        assert (place / "a.yaml").read_text() == "task: a\n"


def test_a_signer_taken_from_the_list_is_no_signer_any_more(forge: Forge, keys: Keys) -> None:
    signed(forge, keys, "ada")
    origin = ssh_origin(forge, keys)
    origin.look()
    keys.allow("eve@example.org", "eve")
    assert "its signer is not in" in refusal(origin)


def test_the_list_of_signers_has_to_be_there(forge: Forge, keys: Keys) -> None:
    signed(forge, keys, "ada")
    keys.allowed.unlink()
    assert "allowed_signers: " in refusal(ssh_origin(forge, keys))


def tag(forge: Forge, keys: Keys, name: str, signer: str | None) -> None:
    how = ("-s",) if signer else ("-a",)
    forge.git(*(keys.signing(signer) if signer else ()), "tag", *how, "-m", name, name)
    forge.push(f"refs/tags/{name}")


def test_a_signed_tag_counts_for_an_unsigned_commit(forge: Forge, keys: Keys) -> None:
    commit = forge.commit(A)
    tag(forge, keys, "v1.0.0", "ada")
    for ref in ("v1.0.0", "refs/tags/v1.0.0", "semver:^1"):
        found = ssh_origin(forge, keys, ref=ref).look()
        assert (found.commit, (found.signer or "").split(" ")[0]) == (commit, "ada@example.org")
    assert "is not signed" in refusal(ssh_origin(forge, keys, ref="main"))
    assert "is not signed" in refusal(ssh_origin(forge, keys, ref=commit))


def test_an_unsigned_tag_leaves_it_to_the_commit(forge: Forge, keys: Keys) -> None:
    commit = signed(forge, keys, "ada")
    tag(forge, keys, "v1", None)
    assert ssh_origin(forge, keys, ref="v1").look().commit == commit
    forge.commit({"specs/a.yaml": "task: b\n"})
    tag(forge, keys, "v2", None)
    assert "is not signed" in refusal(ssh_origin(forge, keys, ref="v2"))


def test_a_tag_signed_by_another_is_refused_whoever_signed_the_commit(forge: Forge, keys: Keys) -> None:
    signed(forge, keys, "ada")
    tag(forge, keys, "v1", "eve")
    assert "tag v1: its signer is not in" in refusal(ssh_origin(forge, keys, ref="v1"))


def test_a_signed_tag_moved_to_another_name_is_refused(forge: Forge, keys: Keys) -> None:
    forge.commit(A)
    tag(forge, keys, "v1", "ada")
    forge.push("refs/tags/v1:refs/tags/v2")
    assert "tag v2: was signed under another name" in refusal(ssh_origin(forge, keys, ref="v2"))


def test_a_working_tree_has_to_be_signed_and_clean(forge: Forge, keys: Keys) -> None:
    settings = {"require_signed": "ssh", "allowed_signers": str(keys.allowed)}
    commit = signed(forge, keys, "ada")
    origin = forge.checkout(**settings)
    found = origin.look()
    assert found.commit == commit
    assert found.signer
    (forge.work / "specs" / "b.yaml").write_text("task: b\n")
    assert "files differ from the signed commit" in refusal(origin)
    with pytest.raises(ReconcilerError, match="changed while it was read"), origin.opened(found):
        pass
    forge.commit({})
    assert "is not signed" in refusal(origin)


@pytest.mark.parametrize("harm", ["ignored", "assume-unchanged", "skip-worktree", "submodule"])
def test_what_no_status_speaks_of_is_not_signed(forge: Forge, keys: Keys, harm: str) -> None:
    forge.commit({".gitignore": "*.local.yaml\n", "specs/a.yaml": "task: a\n"})
    if harm == "submodule":
        forge.git("init", "--quiet", "specs/sub")
        forge.git("commit", "--quiet", "--allow-empty", "-m", "inner", at=forge.work / "specs" / "sub")
    signed(forge, keys, "ada")
    origin = forge.checkout(require_signed="ssh", allowed_signers=str(keys.allowed))
    specs = forge.work / "specs"
    (specs / "notes.md").write_text("no spec\n")
    (forge.work / ".git" / "info" / "exclude").write_text("*.md\n")
    found = origin.look()
    if harm == "ignored":
        (specs / "b.local.yaml").write_text("task: evil\n")
    elif harm == "submodule":
        (specs / "sub" / "b.yaml").write_text("task: evil\n")
    else:
        forge.git("update-index", f"--{harm}", "specs/a.yaml")
        (specs / "a.yaml").write_text("task: evil\n")
    assert "is not of the signed commit: commit or remove it" in refusal(origin)
    with pytest.raises(ReconcilerError, match="changed while it was read"), origin.opened(found):
        pass


def test_without_git_nothing_is_signed(forge: Forge, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    (forge.work / "specs").mkdir()
    assert "a signed commit is required" in refusal(
        forge.checkout(require_signed="ssh", allowed_signers=str(keys.allowed))
    )


@pytest.fixture
def gpg(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Ada's own GnuPG, by which the commits are signed; calling it with a name makes a key and a keyring of it."""
    if shutil.which("gpg") is None:
        pytest.skip("there is no gpg here")
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))

    def run(*arguments: str) -> str:
        command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def make(name: str, until: str = "0") -> Path:
        faked = ("--faked-system-time", "20200101T000000!") if until != "0" else ()
        run(*faked, "--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", until)
        ring = home / f"{name}.asc"
        ring.write_text(run("--export", "--armor", f"{name}@example.org"))
        return ring

    make.run = run  # type: ignore[attr-defined]
    yield make
    subprocess.run(["gpgconf", "--kill", "all"], env=os.environ | {"GNUPGHOME": str(home)}, check=False)


def gpg_signed(forge: Forge, name: str, *settings: str) -> str:
    forge.commit(A, push=False)
    forge.git(
        *settings,
        "-c",
        f"user.signingKey={name}@example.org",
        "commit",
        "--quiet",
        "--amend",
        "--no-edit",
        "--allow-empty",
        "-S",
    )
    forge.push("HEAD")
    commit: str = forge.git("rev-parse", "HEAD")
    return commit


def gpg_origin(forge: Forge, ring: Path, **settings: Any) -> Origin:
    origin: Origin = forge.origin(require_signed="gpg", keyring=str(ring), **settings)
    return origin


def test_gpg_trusts_the_keyring_and_nobody_else(forge: Forge, gpg: Any) -> None:
    ada, eve = gpg("ada"), gpg("eve")
    commit = gpg_signed(forge, "ada")
    found = gpg_origin(forge, ada).look()
    assert found.commit == commit
    assert found.signer and found.signer.startswith("ada <ada@example.org> ")
    # The key is in the keyring of whoever runs this, which counts for nothing.
    assert f"is not in {eve}" in refusal(gpg_origin(forge, eve))


def test_gpg_refuses_what_is_unsigned_or_changed(forge: Forge, gpg: Any) -> None:
    ada = gpg("ada")
    forge.commit(A)
    assert "is not signed" in refusal(gpg_origin(forge, ada))
    gpg_signed(forge, "ada")
    tampered(forge)
    assert "is bad: it was changed after signing" in refusal(gpg_origin(forge, ada))


def test_gpg_refuses_a_key_that_has_expired(forge: Forge, gpg: Any, tmp_path: Path) -> None:
    ring = gpg("ada", "1d")
    program = tmp_path / "gpg-of-2020"
    program.write_text('#!/bin/sh\nexec gpg --faked-system-time 20200101T010000 "$@"\n')
    program.chmod(0o755)
    gpg_signed(forge, "ada", "-c", f"gpg.program={program}")
    assert "the key of ada <ada@example.org> has expired" in refusal(gpg_origin(forge, ring))


def test_gpg_refuses_a_key_that_was_revoked(forge: Forge, gpg: Any) -> None:
    ring = gpg("ada")
    gpg_signed(forge, "ada")
    home = ring.parent
    (revocation,) = (home / "openpgp-revocs.d").glob("*.rev")
    text = revocation.read_text().replace(":-----BEGIN", "-----BEGIN")
    revocation.write_text(text)
    gpg.run("--import", str(revocation))
    ring.write_text(gpg.run("--export", "--armor", "ada@example.org"))
    assert "the key of ada <ada@example.org> was revoked" in refusal(gpg_origin(forge, ring))


def test_a_signed_tag_counts_with_gpg_too(forge: Forge, gpg: Any) -> None:
    ring = gpg("ada")
    commit = forge.commit(A)
    forge.git("-c", "user.signingKey=ada@example.org", "tag", "-s", "-m", "v1", "v1")
    forge.push("refs/tags/v1")
    assert gpg_origin(forge, ring, ref="v1").look().commit == commit


def test_a_signature_of_the_other_kind_does_not_count(forge: Forge, keys: Keys, gpg: Any) -> None:
    ring = gpg("ada")
    signed(forge, keys, "ada")
    assert "is signed, but not with gpg" in refusal(gpg_origin(forge, ring))
    gpg_signed(forge, "ada")
    assert "is signed, but not with ssh" in refusal(ssh_origin(forge, keys))


def test_a_keyring_that_is_none_is_said_so(forge: Forge, gpg: Any) -> None:
    ring = gpg("ada")
    gpg_signed(forge, "ada")
    ring.write_text("nonsense\n")
    assert "gpg cannot read it: export the keys with" in refusal(gpg_origin(forge, ring))


def test_gpg_is_asked_also_where_the_directory_for_temporary_files_has_a_long_name(
    forge: Forge, gpg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    ring = gpg("ada")
    gpg_signed(forge, "ada")
    place = tmp_path / ("long" * 25)
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert gpg_origin(forge, ring).look().signer


def test_gpg_leaves_nothing_behind(
    forge: Forge, gpg: Any, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    ring = gpg("ada")
    gpg_signed(forge, "ada")
    place = short_directory / "t"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    gpg_origin(forge, ring).look()
    assert list(place.iterdir()) == []
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(place) not in running
