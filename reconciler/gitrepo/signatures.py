"""Who signed a commit or a tag, by git's own verification against one file of those who may. Nobody else is trusted."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError
from reconciler.gitrepo.command import Answer, Git, Trouble
from reconciler.gitrepo.credentials import placed

if TYPE_CHECKING:
    from reconciler.settings import SourceSettings

SECONDS = 20.0
MARKS = {"ssh": b"-----BEGIN SSH SIGNATURE-----", "gpg": b"-----BEGIN PGP SIGNATURE-----"}
LONGEST_HOME = 60
GPG_CONF = "trust-model always\nno-auto-key-retrieve\nno-auto-key-locate\nno-autostart\nbatch\nno-tty\n"
GOOD_SSH = re.compile(r'^Good "git" signature for (.+) with \S+ key (\S+)$')
GPG_FAULTS = {
    "EXPKEYSIG": "the key of {who} has expired",
    "REVKEYSIG": "the key of {who} was revoked",
    "EXPSIG": "the signature of {who} has expired",
    "BADSIG": "the signature in the name of {who} is bad: it was changed after signing",
    "ERRSIG": "the key {who} is not in {file}",
}


class Signers:
    """Those who may sign for one source. `known` remembers whose signature each commit was found to bear."""

    def __init__(
        self, source: SourceSettings, directory: Path, known: MutableMapping[tuple[str, bytes], str] | None = None
    ) -> None:
        self._kind = source.require_signed or "ssh"
        self._where = f"source '{source.name}'"
        key, file = ("allowed_signers", source.allowed_signers)
        if self._kind == "gpg":
            key, file = ("keyring", source.keyring)
        self._file = placed(file or "", directory)
        self._what = f"{self._where}: {key}: {self._file}"
        self._known = known if known is not None else {}

    def of(self, git: Git, commit: str, tag: tuple[str, str] | None) -> str:
        """Who signed: the tag (its name and object) if it is signed itself, else the commit. ReconcilerError if nobody.

        Git judges an ssh key by the time of the commit, gpg by the time of asking.
        """
        try:
            allowed = self._file.read_bytes()
        except OSError as error:
            raise ReconcilerError(
                f"{self._what}: {error.strerror}: the file of who may sign has to be there"
            ) from error
        key = (f"{tag} {commit}", hashlib.sha256(allowed).digest())
        if key not in self._known:
            try:
                self._known[key] = self._checked(git, commit, tag, allowed)
            except Trouble as error:
                raise ReconcilerError(f"{self._where}: the signature cannot be checked: {error}: try again") from error
        return self._known[key]

    def _checked(self, git: Git, commit: str, tag: tuple[str, str] | None, allowed: bytes) -> str:
        if tag is not None:
            name, made = tag
            text = git.told("cat-file", "tag", made).output
            # A signed tag moved to another name says something that its signer never said.
            if any(mark in text for mark in MARKS.values()):
                if f"\ntag {name}\n".encode() not in text.partition(b"\n\n")[0] + b"\n":
                    raise self._refused(f"tag {name}", "was signed under another name", f"sign a tag named {name}")
                return self._verified(git, "verify-tag", made, f"tag {name}", text, allowed)
        text = git.told("cat-file", "commit", commit).output.partition(b"\n\n")[0]
        return self._verified(git, "verify-commit", commit, f"commit {commit[:7]}", text, allowed)

    def _verified(self, git: Git, verb: str, made: str, what: str, text: bytes, allowed: bytes) -> str:
        own = MARKS[self._kind]
        if own not in text:
            other = any(mark in text for mark in MARKS.values())
            how = f"is signed, but not with {self._kind}" if other else "is not signed"
            raise self._refused(what, how, f"{self._kind}-sign it, with a key that is in {self._file}")
        with self._only(allowed) as (settings, environment):
            asked = replace(git, environment={**git.environment, **environment})
            answer = asked.ask(*settings, verb, "--raw", made, seconds=SECONDS)
        fault, who = (_ssh if self._kind == "ssh" else _gpg)(answer, self._file)
        if fault:
            raise self._refused(what, fault, "have somebody sign who may, or add the key there")
        return who

    def _refused(self, what: str, how: str, to_do: str) -> ReconcilerError:
        return ReconcilerError(f"{self._where}: {what}: {how}: what runs goes on; {to_do}")

    @contextmanager
    def _only(self, allowed: bytes) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
        """How git is asked so that it believes the bytes that were read, and no key of whoever runs this."""
        with TemporaryDirectory(prefix="reconciler-", dir=_short()) as place:
            if self._kind == "ssh":
                file = Path(place, "allowed")
                file.write_bytes(allowed)
                own = [f"gpg.ssh.allowedSignersFile={file}", "gpg.ssh.program=ssh-keygen", "gpg.minTrustLevel=fully"]
                yield _settings(*own, "gpg.program=false", "gpg.openpgp.program=false", "gpg.x509.program=false"), {}
            else:
                Path(place, "gpg.conf").write_text(GPG_CONF)
                self._import(place, allowed)
                own = ["gpg.program=gpg", "gpg.openpgp.program=gpg", "gpg.minTrustLevel=never"]
                yield _settings(*own, "gpg.ssh.program=false", "gpg.x509.program=false"), {"GNUPGHOME": place}

    def _import(self, home: str, keys: bytes) -> None:
        try:
            command = ["gpg", "--homedir", home, "--quiet", "--import"]
            done = subprocess.run(command, input=keys, capture_output=True, timeout=SECONDS, check=False)
        except FileNotFoundError as error:
            raise ReconcilerError(f"{self._where}: there is no gpg command here: install GnuPG") from error
        except subprocess.TimeoutExpired as error:
            raise ReconcilerError(f"{self._what}: gpg did not read it within {SECONDS:.0f} s: try again") from error
        if done.returncode:
            raise ReconcilerError(f"{self._what}: gpg cannot read it: export the keys with gpg --export --armor")


def _short() -> str | None:
    """Where a home of gpg can be: it makes a socket there, whose path may not be long."""
    return None if len(gettempdir()) <= LONGEST_HOME else "/tmp"


def _settings(*settings: str) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("-c", setting))


def _ssh(answer: Answer, file: Path) -> tuple[str, str]:
    """What is wrong with the signature ("" if nothing), and whose it is."""
    text = (*answer.complaint, *answer.text.splitlines())
    good = next((found for line in text if (found := GOOD_SSH.match(line))), None)
    if answer.code == 0 and good:
        return "", f"{good[1]} {good[2]}"
    for line in text:
        if "key has expired" in line or "key is not yet valid" in line:
            return f"the signer's key {'has expired' if 'expired' in line else 'is not valid yet'} in {file}", ""
        if "cannot run" in line or "ssh-keygen -Y" in line:
            return "there is no ssh-keygen here that can check signatures", ""
    if any(line.startswith('Good "git" signature with') for line in text):
        return f"its signer is not in {file}", ""
    return "the signature is bad: it was changed after signing", ""


def _gpg(answer: Answer, file: Path) -> tuple[str, str]:
    lines = [line.removeprefix("[GNUPG:] ") for line in (*answer.complaint, *answer.text.splitlines())]
    words = {line.split(" ")[0]: line.split(" ")[1:] for line in lines if line}
    for name, fault in GPG_FAULTS.items():
        if name in words:
            who = " ".join(words[name][1:]) if name != "ERRSIG" else words[name][0]
            return fault.format(who=who, file=file), ""
    if answer.code == 0 and "GOODSIG" in words and "VALIDSIG" in words:
        return "", f"{' '.join(words['GOODSIG'][1:])} {words['VALIDSIG'][0]}"
    return "the signature is bad: gpg does not accept it", ""
