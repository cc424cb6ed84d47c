"""A directory of this machine as a place of specs, with the commit that is checked out there.

Nothing of the repository is run and its files are not touched; only `deepen` adds history that a shallow clone lacks.
A directory without git is no error: it has no revision, and the reason says why.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError
from reconciler.gitrepo import history
from reconciler.gitrepo.command import MOST_OUTPUT, Git, Trouble
from reconciler.gitrepo.revision import Descended, Removal, Revision

if TYPE_CHECKING:
    from reconciler.settings import SourceSettings

TIMEOUT: Final = 5.0
DEEPENING: Final = 60.0
DEEPER: Final = 200
HEAD: Final = ("log", "-1", "--no-color", "--no-decorate", "--format=%H%x00%an%x00%s")
STATUS: Final = ("status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=all", "--", ".")
MOST_STATUS: Final = 64 * 1024 * 1024


def revision_of(directory: Path) -> Revision:
    """The commit checked out where `directory` lies, and whether what lies below it differs from that commit.

    Blocks for as long as git takes, some 10 ms, 5 s at the most: call it in a thread where a loop waits.
    """
    git = Git(_folder(directory))
    try:
        # Both at once: each start costs as much as its answer.
        with git.start(*HEAD, seconds=TIMEOUT) as head, git.start(*STATUS, seconds=TIMEOUT) as status:
            text, changes = head.out.read(MOST_OUTPUT), status.out.read(1)
            told = head.answer(text)
            # One line of the status says enough; without one it may also have failed.
            if not changes and not told.code and (differing := status.answer()).code:
                told = differing
    except Trouble as error:
        return Revision(reason=str(error))
    if told.code:
        return Revision(reason=_reason(told.reason))
    commit, author, subject = told.text.split("\0", 2)
    return Revision(commit, bool(changes), history.shown(author), history.shown(subject))


def _reason(complaint: str) -> str:
    if "dubious ownership" in complaint:
        return "git refuses a repository of another user: git config --global --add safe.directory DIRECTORY"
    return complaint


def _folder(place: Path) -> Path:
    return place.parent if place.is_file() else place


class DirectoryOrigin:
    """A directory, or one file, inside a working tree or not. `place` is as the settings have it, or the caller."""

    def __init__(self, source: SourceSettings, directory: Path, path: Path | None = None) -> None:
        self.root = path if path is not None else directory / source.path
        self.place = source.place if path is None else str(path)
        self._source = source
        self._directory = directory
        self._signers: dict[tuple[str, bytes], str] = {}

    def look(self) -> Revision:
        """The commit and whether files differ; ReconcilerError only where a signature is required and missing."""
        revision = revision_of(self.root)
        if self._source.require_signed is None:
            return revision
        from reconciler.gitrepo.signatures import Signers

        where = f"source '{self._source.name}'"
        if revision.commit is None:
            raise ReconcilerError(f"{where}: {revision.reason}: a signed commit is required")
        if revision.is_dirty:
            raise ReconcilerError(f"{where}: {self.root}: files differ from the signed commit: commit them, signed")
        if (unsigned := self._unsigned()) is not None:
            raise ReconcilerError(
                f"{where}: {self.root}: {unsigned!a} is not of the signed commit: commit or remove it"
            )
        signers = Signers(self._source, self._directory, self._signers)
        return replace(revision, signer=signers.of(Git(_folder(self.root)), revision.commit, None))

    @contextmanager
    def opened(self, revision: Revision) -> Iterator[Path]:
        """What lies there now; ReconcilerError if nothing does, or if signed files were changed meanwhile."""
        if not self.root.exists():
            raise ReconcilerError(
                f"{self.root}: there is no such directory: make it, or set path to where the specs are"
            )
        yield self.root
        if self._source.require_signed is None:
            return
        if revision_of(self.root).label != revision.commit or self._unsigned() is not None:
            where = f"source '{self._source.name}': {self.root}"
            raise ReconcilerError(f"{where}: changed while it was read: commit it, signed, and try again")

    def _unsigned(self) -> str | None:
        """A file that would be read and that no status speaks of: ignored, of a submodule, or marked as unchanged."""
        from reconciler.gitrepo.tree import may_be_read

        folder = _folder(self.root)
        try:
            listing = Git(folder).told("ls-files", "-v", "-z", "--", ".", most=MOST_STATUS).output
        except Trouble as error:
            raise ReconcilerError(f"source '{self._source.name}': {self.root}: {error}: try again") from error
        rows = listing.decode(errors="surrogateescape").split("\0")
        tracked = {row[2:] for row in rows if row.startswith("H ")}
        if self.root.is_file():
            return None if self.root.name in tracked else self.root.name
        for place, _, names in os.walk(folder):
            for path in (Path(place, name).relative_to(folder).as_posix() for name in names):
                if may_be_read(path) and path not in tracked:
                    return path
        return None

    def descent(self, last: str, revision: Revision, *, deepen: bool) -> Descended:
        git = Git(_folder(self.root))
        found = history.descent(git, last, revision.commit)
        if found.why != history.SHALLOW or not deepen or revision.commit is None:
            return found
        return self._deepened(git, last, revision.commit)

    def _deepened(self, git: Git, last: str, commit: str) -> Descended:
        """The answer once the history is here; some of it is mostly enough, else all."""
        remote = replace(git, protocols=("https", "ssh", *(("file",) if self._source.allow_file else ())))
        try:
            name = _remote(git)
            for depth in (f"--deepen={DEEPER}", "--unshallow"):
                quiet = ("--quiet", "--no-tags", "--no-write-fetch-head")
                remote.tell("fetch", *quiet, depth, "--end-of-options", name, commit, seconds=DEEPENING)
                found = history.descent(git, last, commit)
                if found.why != history.SHALLOW:
                    return found
        except Trouble as error:
            return Descended("unknown", f"{history.SHALLOW} (fetching the rest failed: {error})")
        return Descended("unknown", history.SHALLOW)

    def removals(self, last: str | None, revision: Revision, paths: Collection[str]) -> dict[str, Removal]:
        if revision.commit is None or not paths:
            return {}
        git = Git(_folder(self.root))
        wanted = set(paths)
        here = self._uncommitted(git, wanted) if revision.is_dirty else {}
        try:
            prefix = git.tell("rev-parse", "--show-prefix")
        except Trouble:
            return here
        below = history.Below(prefix, ".")
        return here | history.removals(git, below, last, revision.commit, wanted - here.keys())

    def _uncommitted(self, git: Git, paths: set[str]) -> dict[str, Removal]:
        """Those of the paths that differ from the commit, and whether the file is gone."""
        try:
            prefix = git.tell("rev-parse", "--show-prefix")
            changed = git.told(*STATUS[:-2], "-z", "--no-renames", *STATUS[-2:], most=MOST_STATUS).output
        except Trouble:
            return {}
        lines = changed.decode(errors="surrogateescape").split("\0")
        below = {line[3:].removeprefix(prefix) for line in lines if line[3:].startswith(prefix)}
        folder = _folder(self.root)
        return {path: Removal("", "", "", not (folder / path).exists()) for path in paths & below}


def _remote(git: Git) -> str:
    """The remote that the branch checked out follows, else `origin`, else the only one; Trouble without one."""
    branch = git.ask("symbolic-ref", "--quiet", "--short", "HEAD").text
    followed = git.ask("config", "--get", f"branch.{branch}.remote").text if branch else ""
    names = git.tell("remote").splitlines()
    candidates = [followed, "origin", *names] if len(names) == 1 else [followed, "origin"]
    for name in candidates:
        if name in names and not name.startswith("-"):
            return name
    raise Trouble("no remote is set up to fetch it from")
