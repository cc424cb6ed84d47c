"""Where does a fault lie, for somebody who knows the repository and not where its files were written out here?"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from reconciler.settings import SourceSettings
from reconciler.spec.specset import Fault, SpecSet


def as_in_repository(read: SpecSet, source: SourceSettings, root: Path, directory: Path) -> SpecSet:
    """The same specs, with paths in faults and warnings as the repository has them: `specs/a.yaml`.

    `root` is where they were read, `directory` what paths may be relative to. Of a source without a repository, and
    where there is nothing to say, it is the very set.
    """
    if source.repo is None or not (read.faults or read.warnings):
        return read
    here = dict.fromkeys((str(root), os.path.relpath(root, directory), os.path.relpath(root)))
    inside = source.path.strip("/").removeprefix("./")

    def said(text: str) -> str:
        for place in here:
            text = text.replace(f"{place}/", "" if inside in ("", ".") else f"{inside}/")
        return text

    def shown(faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        return tuple(replace(fault, path=said(fault.path), what=said(fault.what)) for fault in faults)

    return replace(read, faults=shown(read.faults), warnings=shown(read.warnings))
