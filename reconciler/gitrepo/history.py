"""How two commits stand to each other, and which commit removed a file. Nothing is fetched here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from reconciler.gitrepo.command import Git, Trouble
from reconciler.gitrepo.revision import Descended, Removal, Revision

SECONDS = 20.0
LONGEST_SUBJECT = 200
SHALLOW = (
    "the clone is shallow: set fetch-depth: 0 (GitHub), GIT_DEPTH: 0 (GitLab), or run git fetch --unshallow before it"
)


def descent(git: Git, last: str, commit: str | None) -> Descended:
    """How `commit` stands to `last` (its label is good too), from what this repository holds.

    In a complete clone a `last` that is not there is no ancestor. In a shallow one it is not known.
    """
    before = last.removesuffix("-dirty")
    if commit is None:
        return Descended("unknown", "no revision is known here: run it where the commit is checked out, with git")
    if before == commit:
        return Descended("same")
    if not re.fullmatch(r"[0-9a-f]{7,64}", before):
        return Descended("unknown", f"the last applied revision, '{before}', is no commit")
    try:
        if is_ancestor(git, before, commit):
            return Descended("descends")
        if git.ask("cat-file", "-e", f"{commit}^{{commit}}").code:
            return Descended("unknown", f"the commit {commit[:7]} is not here any more: try again")
        if is_ancestor(git, commit, before):
            return Descended("rewinds")
        if not is_shallow(git):
            # Git takes a commit that it cannot read for one without parents.
            git.told("rev-list", "--count", commit, "--", seconds=SECONDS)
            return Descended("rewinds")
    except Trouble as error:
        return Descended("unknown", f"{error}: see whether git works here")
    return Descended("unknown", SHALLOW)


def is_ancestor(git: Git, before: str, after: str) -> bool:
    """Whether `after` is known to descend from `before`; False too where one of them is not here."""
    answer = git.ask("merge-base", "--is-ancestor", before, after, seconds=SECONDS)
    if answer.code not in (0, 1, 128):
        raise Trouble(answer.reason)
    return answer.code == 0


def is_shallow(git: Git) -> bool:
    return git.tell("rev-parse", "--is-shallow-repository") == "true"


def described(git: Git, commit: str) -> Revision:
    """The commit with its author and subject; Trouble when it is not here."""
    text = git.tell("log", "-1", "--no-color", "--no-decorate", "--format=%H%x00%an%x00%s", commit, "--")
    found, author, subject = text.split("\0", 2)
    return Revision(found, False, shown(author), shown(subject))


def shown(text: str) -> str:
    """What somebody wrote into a commit, as one line that does nothing to a terminal or a database."""
    whole = text.encode(errors="surrogateescape").decode(errors="replace")
    return "".join(char if char.isprintable() else "\ufffd" for char in whole)[:LONGEST_SUBJECT]


@dataclass(frozen=True, slots=True)
class Below:
    """The specs' directory: as git shows paths relative to it, and as a path that git looks below."""

    prefix: str
    place: str

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*((f"--relative={self.prefix}",) if self.prefix else ()), "--", self.place)


def removals(git: Git, below: Below, last: str | None, commit: str, paths: Collection[str]) -> dict[str, Removal]:
    """For each path the newest commit that removed it, or touched it: after `last` if there is one, else ever.

    What took longer than 20 s to find is absent, and so is what a shallow clone does not know.
    """
    wanted = set(paths)
    found: dict[str, Removal] = {}
    before = (last or "").removesuffix("-dirty")
    ranges = [f"{before}..{commit}"] if re.fullmatch(r"[0-9a-f]{7,64}", before) else []
    with suppress(Trouble):
        # The first commits of a shallow clone look as if they had made everything.
        is_cut = is_shallow(git)
        for commits in (*ranges, commit):
            if wanted:
                with suppress(Trouble):
                    _newest(git, below, commits, is_cut, wanted, found)
    return found


def _newest(git: Git, below: Below, commits: str, is_cut: bool, wanted: set[str], found: dict[str, Removal]) -> None:
    """Walk back from the newest commit until each of `wanted` is moved to `found`."""
    root = ("-c", f"log.showRoot={'false' if is_cut else 'true'}")
    # No renames: a moved file is gone from where it was, and to look for renames would read every file.
    shape = ("--no-renames", "--no-color", "--no-decorate", "--no-ext-diff", "--name-status", "-z")
    arguments = (*root, "log", *shape, "--format=%x01%H%x00%an%x00%s", commits, *below.arguments)
    with git.start(*arguments, seconds=SECONDS) as running:
        for status, path, commit, author, subject in _touched(running.out):
            if path in wanted:
                wanted.remove(path)
                found[path] = Removal(commit, shown(author), shown(subject), status == "D")
            if not wanted:
                return
        answer = running.answer()
        if answer.code:
            raise Trouble(answer.reason)


def _touched(out: IO[bytes]) -> Iterator[tuple[str, str, str, str, str]]:
    """Status, path, commit, author and subject of everything that `git log --name-status -z` tells."""
    words = _words(out)
    commit, author, subject = "", "", ""
    for word in words:
        if word.startswith("\x01"):
            commit, author, subject = word[1:], next(words, ""), next(words, "")
        elif word.strip():
            yield word.strip(), next(words, ""), commit, author, subject


def _words(out: IO[bytes]) -> Iterator[str]:
    rest = b""
    while part := out.read1(65_536):  # type: ignore[attr-defined]
        *whole, rest = (rest + part).split(b"\0")
        for word in whole:
            yield word.decode(errors="surrogateescape")
