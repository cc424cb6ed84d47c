"""A repository elsewhere as a place of specs: fetched below the settings' directory, read from git's own objects.

What was fetched once stays: a remote that is away, a ref that is gone or a refused signature changes nothing here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError
from reconciler.gitrepo import history, refs
from reconciler.gitrepo.clone import EVERYTHING, OURS, Clone, locked
from reconciler.gitrepo.command import Git, TookTooLong, Trouble
from reconciler.gitrepo.credentials import credentials_of
from reconciler.gitrepo.export import Export
from reconciler.gitrepo.refs import NoSuchRef, Target
from reconciler.gitrepo.revision import Descended, Removal, Revision
from reconciler.gitrepo.signatures import Signers
from reconciler.gitrepo.tree import Unfit, tree_of
from reconciler.urls import redacted

if TYPE_CHECKING:
    from reconciler.settings import SourceSettings

WAIT_TO_FETCH = 120.0
WAIT_TO_READ = 60.0
GOES_ON = "what runs goes on, and the next pass tries again"
TO_DO = (
    (
        r"Authentication failed|could not read (Username|Password)|40[13]|Permission denied",
        "may it read there? give it",
    ),
    (r"Host key verification|host key", "put the host's key into known_hosts"),
    (r"error: 30\d|redirect", "set repo to the address that it has now"),
    (r"not found|does not exist|does not appear to be", "check repo, and whether what is given for it may read it"),
    (r"transport '.*' not allowed", "use https or ssh, or set allow_file = true for a file"),
)


class RepositoryOrigin:
    """A source with `repo`. What it keeps lies in `<directory>/.reconciler/sources/<name>-<hash of the address>/`."""

    def __init__(self, source: SourceSettings, directory: Path) -> None:
        assert source.repo is not None
        self.place = source.place
        self._source = source
        self._directory = directory
        self._url = _absolute(source.repo, directory)
        mark = hashlib.sha256(self._url.encode()).hexdigest()[:12]
        self._kept = directory.absolute() / ".reconciler" / "sources" / f"{_word(source.name)}-{mark}"
        self._own = f"{OURS}followed/{hashlib.sha256(source.ref.encode()).hexdigest()[:16]}"
        self._export = Export(self._kept)
        self._signers: dict[tuple[str, bytes], str] = {}
        self._known: dict[Target, Revision] = {}
        self._trees: dict[str, str] = {}

    def look(self) -> Revision:
        """What the ref names now: fetched, and its signature good where one is required."""
        with self._worded("cannot be fetched"):
            self._path()
            clone = self._clone()
            with locked(self._kept / "fetch.lock", WAIT_TO_FETCH):
                clone.prepare()
                return self._looked(clone)

    @contextmanager
    def opened(self, revision: Revision) -> Iterator[Path]:
        """The specs of that commit, held still against every other process that follows this repository from here."""
        commit = revision.commit
        if commit is None:
            raise ReconcilerError(f"source '{self._source.name}': no revision is known: look again")
        with ExitStack() as held:
            with self._worded("cannot be read"):
                path = self._path()
                clone = self._clone()
                held.enter_context(locked(self._kept / "files.lock", WAIT_TO_READ))
                with locked(self._kept / "fetch.lock", WAIT_TO_FETCH):
                    clone.prepare()
                    self._bring(clone, commit, path)
            yield self._export.files

    def descent(self, last: str, revision: Revision, *, deepen: bool) -> Descended:
        """From what was fetched, which is as whole as the remote has it: nothing can be deepened."""
        found = history.descent(self._local(), last, revision.commit)
        if found.why != history.SHALLOW:
            return found
        to_do = f"push all of its history there, then remove {self._kept}"
        return replace(found, why=f"{redacted(self._url)} is shallow itself: {to_do}")

    def removals(self, last: str | None, revision: Revision, paths: Collection[str]) -> dict[str, Removal]:
        if revision.commit is None or not paths:
            return {}
        try:
            path = self._path()
        except Unfit:
            return {}
        below = history.Below(f"{path}/" if path else "", path or ".")
        return history.removals(self._local(), below, last, revision.commit, paths)

    def _local(self) -> Git:
        return Git(self._kept, self._kept / "repository.git")

    def _clone(self) -> Clone:
        """The repository below our directory, and git as it is let into the remote, by credentials read just now."""
        let_in = credentials_of(self._source, self._directory)
        protocols = ("https", "ssh", *(("file",) if self._source.allow_file else ()))
        remote = Git(self._kept, None, protocols, let_in.environment, let_in.secrets)
        self._kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(OSError):  # it is there, or the directory is read only
            ignore = self._kept.parent.parent / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        return Clone(self._kept, self._url, remote)

    def _path(self) -> str:
        """The specs' directory as git names it, "" for the whole repository."""
        parts = [part for part in self._source.path.split("/") if part not in ("", ".")]
        if ".." in parts or self._source.path.startswith("/") or "\0" in self._source.path:
            raise Unfit(f"path '{self._source.path}' leaves the repository: name a directory inside it")
        return "/".join(parts)

    def _looked(self, clone: Clone) -> Revision:
        target = self._target(clone)
        if target in self._known and self._source.require_signed is None:
            return self._known[target]
        try:
            found = history.described(clone.git, clone.commit_of(target.made))
        except TookTooLong:
            raise
        except Trouble:
            # What has just been fetched is not there: then the repository is broken.
            clone.remake(self._wanted(target))
            found = history.described(clone.git, clone.commit_of(target.made))
        if self._source.require_signed is not None:
            commit = found.commit or ""
            tag = (target.tag, target.made) if target.tag is not None and target.made != commit else None
            signer = Signers(self._source, self._directory, self._signers).of(clone.git, commit, tag)
            found = replace(found, signer=signer)
        self._known = {target: found}
        return found

    def _target(self, clone: Clone) -> Target:
        """What the ref names, its objects here from now on."""
        ref = self._source.ref
        if fault := refs.fault_of(ref):
            raise NoSuchRef(f"ref: {fault}: write main, v1.2.3, or semver:>=1.2,<2")
        if refs.is_commit(ref):
            return self._commit(clone, ref)
        target = refs.target(ref, clone.there(refs.patterns(ref)))
        if target is None:
            return self._abbreviated(clone, ref)
        if target not in self._known and clone.held(self._own) != target.made:
            clone.fetch(*self._wanted(target))
            # It may have moved on since the remote was asked.
            target = replace(target, made=clone.held(self._own) or target.made)
        return target

    def _wanted(self, target: Target) -> tuple[str, ...]:
        return EVERYTHING if refs.may_be_commit(target.name) else (f"+{target.name}:{self._own}",)

    def _commit(self, clone: Clone, commit: str) -> Target:
        if not clone.has_commit(commit):
            with suppress(Trouble):  # some remotes give away no more than branches and tags
                clone.fetch(f"+{commit}:{self._own}")
        if not clone.has_commit(commit):
            clone.fetch(*EVERYTHING)
        if not clone.has_commit(commit):
            raise NoSuchRef(f"there is no commit {commit}: push it to a branch")
        return Target(commit, clone.commit_of(commit))

    def _abbreviated(self, clone: Clone, ref: str) -> Target:
        """A commit that `ref` is the beginning of; which there are is only known with all of them here."""
        if refs.may_be_commit(ref):
            with suppress(Trouble):
                return Target(ref, clone.commit_of(ref))
            clone.fetch(*EVERYTHING)
            with suppress(Trouble):
                return Target(ref, clone.commit_of(ref))
        raise refs.unknown(ref, clone.there((f"{refs.BRANCH}*", f"{refs.TAG}*")))

    def _bring(self, clone: Clone, commit: str, path: str) -> None:
        try:
            self._brought(clone, commit, path)
        except TookTooLong:
            raise
        except Trouble:
            self._trees.clear()
            self._known.clear()
            self._again(clone, commit, path)

    def _again(self, clone: Clone, commit: str, path: str) -> None:
        """From a new repository; and if its remote does not give away single files, from a whole one."""
        clone.remake(EVERYTHING)
        if not clone.has_commit(commit):
            raise Unfit(f"there is no commit {commit[:7]} any more: look again")
        try:
            self._brought(clone, commit, path)
        except TookTooLong:
            raise
        except Trouble:
            clone.remake(EVERYTHING, is_whole=True)
            self._brought(clone, commit, path)

    def _brought(self, clone: Clone, commit: str, path: str) -> None:
        if commit not in self._trees:
            if not clone.has_commit(commit):
                clone.fetch(*EVERYTHING)
            if not clone.has_commit(commit):
                raise Trouble(f"the commit {commit[:7]} is not here")
            self._trees = {commit: tree_of(clone.git, commit, path)}
        self._export.bring_to(self._trees[commit], clone)

    @contextmanager
    def _worded(self, what: str) -> Iterator[None]:
        """What git, the file system or the repository has against it as one line for a person."""
        where = f"source '{self._source.name}'"
        place = redacted(self._url)
        try:
            yield
        except (NoSuchRef, Unfit) as error:
            raise ReconcilerError(f"{where}: {place}: {error}") from error
        except OSError as error:
            raise ReconcilerError(f"{where}: {self._kept}: {error.strerror}: it keeps what it fetches there") from error
        except Trouble as error:
            raise ReconcilerError(f"{where}: {place} {what}: {error}: {self._to_do(str(error))}") from error

    def _to_do(self, reason: str) -> str:
        for pattern, to_do in TO_DO:
            if re.search(pattern, reason):
                if not to_do.endswith("give it"):
                    return to_do
                return "give it a token that may read there" if self._url.startswith("https:") else "give it an ssh_key"
        return GOES_ON


def _absolute(repo: str, directory: Path) -> str:
    """A path on this machine is relative to the settings, as every other path in them."""
    if "://" in repo or re.match(r"^[\w.-]+@[\w.-]+:", repo):
        return repo
    return str((directory / Path(repo).expanduser()).absolute())


def _word(name: str) -> str:
    """The source's name as a part of a file's name."""
    return re.sub(r"[^\w.-]", "_", name)[:60].lstrip(".") or "_"
