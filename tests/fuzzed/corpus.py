"""Inputs that are kept: of each target a small set that comes to all lines known to be in reach, and old findings."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
LONG_AGO = (1980, 1, 1, 0, 0, 0)


def inputs(target: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every kept input of a target."""
    archive = HERE / "corpus" / f"{target}.zip"
    if archive.exists():
        with zipfile.ZipFile(archive) as file:
            for name in file.namelist():
                yield name, file.read(name)
    for found in sorted((HERE / "found" / target).glob("*")):
        yield found.name, found.read_bytes()


def unpack(target: str, into: Path) -> int:
    """Lay them out as files; how many."""
    known = list(inputs(target))
    for name, data in known:
        (into / name).write_bytes(data)
    return len(known)


def keep(target: str, directory: Path) -> int:
    """Make the files in there the target's corpus; how many. The same files give the same archive."""
    contents = {
        hashlib.sha256(data).hexdigest()[:16]: data for path in directory.iterdir() if (data := path.read_bytes())
    }
    with zipfile.ZipFile(HERE / "corpus" / f"{target}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(contents.items()):
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), data, zipfile.ZIP_DEFLATED)
    return len(contents)
