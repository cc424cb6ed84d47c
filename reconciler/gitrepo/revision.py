"""What is said of a commit: which it is, how it stands to another, and what it removed. Git is not asked here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Descent = Literal["same", "descends", "rewinds", "unknown"]


@dataclass(frozen=True, slots=True)
class Revision:
    """`commit` None: no revision is known, and `reason` says why. `is_dirty`: files there differ from it.

    `signer`: who signed it, where signatures are required.
    """

    commit: str | None = None
    is_dirty: bool = False
    author: str | None = None
    subject: str | None = None
    reason: str | None = None
    signer: str | None = None

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


@dataclass(frozen=True, slots=True)
class Descended:
    """How a commit stands to the last applied one; for `unknown`, `why` says what keeps it so and what to do."""

    kind: Descent
    why: str = ""


@dataclass(frozen=True, slots=True)
class Removal:
    """The last commit that removed a file, or else touched it; `commit` "" where nobody has committed that yet."""

    commit: str
    author: str
    subject: str
    is_whole_file: bool
