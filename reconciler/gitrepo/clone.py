"""A bare repository that follows a remote: blob-filtered, never shallow, made anew when it is broken.

It has no working tree, no hook, no attributes and no index, so nothing that is committed can have an effect.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from reconciler.failpoints import failpoint
from reconciler.gitrepo import refs
from reconciler.gitrepo.command import REMOTE, Git, TookTooLong, Trouble

ASKING = 60.0
FETCHING = 600.0
TIDYING = 120.0
POLL = 0.02
QUIET = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--recurse-submodules=no")
FILTER = "--filter=blob:none"
MOST_LISTING = 64 * 1024 * 1024
OURS = "refs/reconciler/"
EVERYTHING = (f"+{refs.BRANCH}*:{OURS}heads/*", f"+{refs.TAG}*:{OURS}tags/*")


class Away(Trouble):
    """The remote did not answer, or did not let us in."""


class Clone:
    """The repository below `directory`. `remote` is git as it may speak to `url`; local calls never do."""

    def __init__(self, directory: Path, url: str, remote: Git) -> None:
        self.directory = directory
        self.url = url
        self.place = directory / "repository.git"
        self.git = Git(directory, self.place)
        self.remote = replace(remote, directory=directory, git_dir=self.place)

    def prepare(self) -> None:
        """Have an empty repository, unless one is there; OSError or Trouble where that is not possible.

        Whoever calls it holds the lock of this repository.
        """
        self._sweep()
        if not (self.place / "HEAD").is_file():
            beside = self._make()
            shutil.rmtree(self.place, ignore_errors=True)
            beside.rename(self.place)

    def _make(self) -> Path:
        """An empty repository beside this one."""
        place = self.directory / "repository.new"
        shutil.rmtree(place, ignore_errors=True)
        made = Git(self.directory, place)
        made.tell("init", "--quiet", "--bare", "--template=", str(place))
        made.tell("config", f"remote.{REMOTE}.url", self.url)
        return place

    def there(self, patterns: Sequence[str]) -> dict[str, str]:
        """The remote's refs that match, with their objects; Away if it does not say."""
        # Asked from nowhere, so that a broken repository here is not mistaken for a remote that is away.
        nowhere = replace(self.remote, git_dir=Path(os.devnull))
        arguments = ("ls-remote", "--quiet", "--end-of-options", self.url, *patterns)
        try:
            return refs.listed(nowhere.told(*arguments, seconds=ASKING, most=MOST_LISTING).text)
        except Trouble as error:
            raise Away(str(error)) from error

    def held(self, name: str) -> str | None:
        """The object that one of our own refs names."""
        answer = self.git.ask("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        return answer.text if answer.code == 0 else None

    def has_commit(self, commit: str) -> bool:
        return self.git.ask("cat-file", "-e", f"{commit}^{{commit}}").code == 0

    def commit_of(self, name: str) -> str:
        """The whole commit that a ref, a tag or an abbreviation names; Trouble when there is none, or several."""
        return self.git.tell("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")

    def fetch(self, *wanted: str) -> None:
        """Fetch these refspecs. A repository that turns out to be broken is made anew, once; Trouble if that fails."""
        try:
            self._fetch(self.remote, wanted)
        except TookTooLong:
            raise
        except Trouble as error:
            try:
                self.remake(wanted)
            except Trouble:
                raise error from None
        failpoint("after-fetch")
        with suppress(Trouble):
            self.git.tell("-c", "gc.auto=6700", "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet", seconds=TIDYING)

    def remake(self, wanted: Sequence[str], *, is_whole: bool = False) -> None:
        """Fetch into a new repository, which then takes the place of this one; Trouble leaves all as it was.

        `is_whole`: with every version of every file, for a remote that does not give away single ones.
        """
        beside = self._make()
        try:
            self._fetch(replace(self.remote, git_dir=beside), wanted, is_whole=is_whole)
            aside = self.directory / "repository.old"
            shutil.rmtree(aside, ignore_errors=True)
            self.place.rename(aside)
            beside.rename(self.place)
            shutil.rmtree(aside, ignore_errors=True)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _fetch(self, git: Git, wanted: Sequence[str], *, is_whole: bool = False) -> None:
        some = () if is_whole else (FILTER,)
        # A remote that is shallow itself makes this one so too, and then it is known that history is missing.
        options = (*QUIET, "--prune", "--update-shallow", *some)
        git.tell("fetch", *options, "--end-of-options", REMOTE, *wanted, seconds=FETCHING)

    def bring(self, objects: Iterable[str]) -> None:
        """Fetch these objects, all in one request: those that a blob-filtered fetch has left out."""
        feed = (f"{made}\n".encode() for made in objects)
        # As git itself does it; without the first the remote would be told of every commit that is here.
        alone = ("-c", "fetch.negotiationAlgorithm=noop")
        arguments = ("fetch", *QUIET, FILTER, "--stdin", "--end-of-options", REMOTE)
        self.remote.tell(*alone, *arguments, feed=feed, seconds=FETCHING)

    def _sweep(self) -> None:
        """Remove what was left by those that were ended: each time it may be as large as the repository."""
        for left in ("repository.old", "repository.new"):
            shutil.rmtree(self.directory / left, ignore_errors=True)
        with suppress(FileNotFoundError), os.scandir(self.place / "objects" / "pack") as packs:
            for row in packs:
                if row.name.startswith(("tmp_", ".tmp-")):
                    Path(row.path).unlink(missing_ok=True)


@contextmanager
def locked(file: Path, seconds: float) -> Iterator[None]:
    """Hold the lock of that file; Trouble if somebody else still has it after that time. A killed holder has none."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Trouble(f"another process has held {file} for {seconds:.0f} s") from None
                time.sleep(POLL)
        yield
    finally:
        os.close(descriptor)
