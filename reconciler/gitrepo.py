"""Which revision does a directory stand at? The `git` command says, which may be absent, slow or unwilling.

Nothing of the repository is run (no hook, no file-system monitor), nothing is written, nobody is asked for a
password. A directory without git is no error: it has no revision, and the reason says why.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TIMEOUT: Final = 5.0
LONGEST_SUBJECT: Final = 200
GIT: Final = (
    "git",
    "--no-pager",
    "--no-optional-locks",
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "gc.auto=0"),
    *("-c", "log.showSignature=false"),
)
FOREIGN: Final = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"})
HEAD: Final = ("log", "-1", "--no-color", "--no-decorate", "--format=%H%x00%an%x00%s")
STATUS: Final = ("status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=all", "--", ".")


@dataclass(frozen=True, slots=True)
class Revision:
    """`commit` None: no revision is known, and `reason` says why. `is_dirty`: files there differ from it."""

    commit: str | None = None
    is_dirty: bool = False
    author: str | None = None
    subject: str | None = None
    reason: str | None = None

    @property
    def label(self) -> str | None:
        """As it is recorded: the whole commit, with `-dirty` where the files are not the commit's."""
        return f"{self.commit}-dirty" if self.commit and self.is_dirty else self.commit

    @property
    def short(self) -> str:
        """As a person reads it: `a1b2c3d`, `a1b2c3d-dirty`, or `no revision`."""
        if self.commit is None:
            return "no revision"
        return self.commit[:7] + ("-dirty" if self.is_dirty else "")


NO_REVISION: Final = Revision(reason="nobody asked")


def revision_of(directory: Path) -> Revision:
    """The commit checked out where `directory` lies, and whether what lies below it differs from that commit.

    Blocks for as long as git takes, some 10 ms, 5 s at the most: call it in a thread where a loop waits.
    """
    directory = directory.parent if directory.is_file() else directory
    try:
        with ExitStack() as running:
            # Both at once: each start costs as much as its answer.
            head, status = (running.enter_context(_start(directory, what)) for what in (HEAD, STATUS))
            running.callback(head.kill)
            running.callback(status.kill)
            return _revision(*_answer(head), *_answer(status))
    except FileNotFoundError:
        return Revision(reason="no git command, or no such directory")
    except subprocess.TimeoutExpired:
        return Revision(reason=f"git did not answer within {TIMEOUT:.0f} s")
    except OSError as error:
        return Revision(reason=f"git cannot be run: {error.strerror}")


def _start(directory: Path, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*GIT, *arguments],
        cwd=directory,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _environment() -> dict[str, str]:
    # A hook that calls us exports the repository that it runs in, which need not be the one asked about.
    inherited = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    return inherited | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}


def _answer(process: subprocess.Popen[bytes]) -> tuple[str | None, str]:
    """What git wrote, None when it failed; and the first line of its complaint."""
    output, complaint = process.communicate(timeout=TIMEOUT)
    lines = complaint.decode(errors="replace").splitlines() or ["no reason given"]
    return output.decode(errors="replace") if process.returncode == 0 else None, lines[0]


def _revision(head: str | None, head_trouble: str, status: str | None, status_trouble: str) -> Revision:
    if head is None or status is None:
        return Revision(reason=_reason(head_trouble if head is None else status_trouble))
    commit, author, subject = head.rstrip("\n").split("\0", 2)
    return Revision(commit, bool(status), author, subject[:LONGEST_SUBJECT])


def _reason(complaint: str) -> str:
    if "dubious ownership" in complaint:
        return "git refuses a repository of another user: git config --global --add safe.directory DIRECTORY"
    return complaint.removeprefix("fatal: ")
