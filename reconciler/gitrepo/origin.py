"""Where a source's specs come from, whichever kind of place it is: `Origin`, and which one a source's settings mean."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from reconciler.gitrepo.revision import Descended, Removal, Revision

if TYPE_CHECKING:
    from reconciler.settings import SourceSettings


class Origin(Protocol):
    """A directory, or a repository elsewhere. Every method blocks for as long as git takes."""

    @property
    def place(self) -> str:
        """Where it is, as a person reads it, without a secret."""

    def look(self) -> Revision:
        """What is there now; a repository is fetched. ReconcilerError in one line when that cannot be told."""

    def opened(self, revision: Revision) -> AbstractContextManager[Path]:
        """The specs of that revision as a directory, whole and still while open; ReconcilerError, never an empty one.

        Of a plain directory it is what lies there now.
        """

    def descent(self, last: str, revision: Revision, *, deepen: bool) -> Descended:
        """How `revision` stands to the commit `last`; with `deepen` the network may be asked for what is missing."""

    def removals(self, last: str | None, revision: Revision, paths: Collection[str]) -> dict[str, Removal]:
        """By path, relative to the specs' directory: who removed it; what cannot be told is absent."""


def origin_of(source: SourceSettings, directory: Path, path: Path | None = None) -> Origin:
    """Where that source's specs are: below `directory`, where the settings lie, or at `path` instead of its own."""
    from reconciler.gitrepo.workingtree import DirectoryOrigin

    if source.repo is None or path is not None:
        return DirectoryOrigin(source, directory, path)
    from reconciler.gitrepo.repository import RepositoryOrigin

    return RepositoryOrigin(source, directory)
