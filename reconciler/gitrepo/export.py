"""The files of a commit in a directory of ours, brought up to date in place: what has not changed is not touched.

A list beside the directory says which object each file was written from, and how the file looked then. A file that
looks otherwise, or is not in the list, is written again or removed, so that an end in between, or a hand in there,
is put right at the next turn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.failpoints import failpoint
from reconciler.gitrepo.clone import Clone
from reconciler.gitrepo.tree import LONGEST_LINK, Entry, Unfit, contents, entries, fill, sizes

# What is larger is no spec: the reader says so from the size alone, so the content need not be there.
LARGEST = 1024 * 1024
MOST_BYTES = 2 * 1024 * 1024 * 1024
LARGEST_SHOWN = 1 << 40
FORMAT = 1

Stamp = tuple[int, int, int, int, int]


@dataclass(slots=True)
class Written:
    """What the list says: the tree that the files are of, and for each path its object and how it looked."""

    tree: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)
    looks: dict[str, Stamp] = field(default_factory=dict)


class Export:
    """The directory `files` of a source, and its list. Only for whoever holds the lock of it."""

    def __init__(self, directory: Path) -> None:
        self.files = directory / "files"
        self._list = directory / "files.json"
        self._read: tuple[Stamp, Written] | None = None

    def bring_to(self, tree: str, clone: Clone) -> None:
        """Make the directory hold the specs of that tree and nothing else.

        Unfit, Trouble or OSError: it is as far as it got, which the next turn sees.
        """
        before = self._known()
        there = _scan(self.files)
        if before.tree == tree and there == before.looks:
            return
        wanted = before.entries if before.tree == tree else entries(clone.git, tree)
        kept = {
            path: look
            for path, look in before.looks.items()
            if wanted.get(path) == before.entries[path] and there.get(path) == look
        }
        amiss = {path: entry for path, entry in wanted.items() if path not in kept}
        loaded = self._loads(clone, tree, amiss)
        self._clear(there.keys() - kept.keys(), wanted)
        written = self._write(clone, amiss, loaded)
        failpoint("export-written")
        self._save(Written(tree, wanted, kept | written))

    def _loads(self, clone: Clone, tree: str, amiss: Mapping[str, Entry]) -> dict[str, int]:
        """The size of each object that has to be written, all of them here from now on."""
        objects = {entry.made for entry in amiss.values()}
        if not objects:
            return {}
        fill(clone, tree, objects)
        found = sizes(clone.git, sorted(objects))
        if sum(size for size in found.values() if size <= LARGEST) > MOST_BYTES:
            raise Unfit(f"its specs are larger than {MOST_BYTES} bytes together: split it into sources")
        return found

    def _clear(self, stray: Iterable[str], wanted: Mapping[str, Entry]) -> None:
        for path in stray:
            (self.files / path).unlink(missing_ok=True)
        folders = {folder for path in wanted for folder in _above(path)}
        for root, names, _ in os.walk(self.files, topdown=False):
            for name in names:
                place = Path(root, name)
                if place.relative_to(self.files).as_posix() not in folders:
                    with suppress(OSError):
                        place.rmdir()

    def _write(self, clone: Clone, amiss: Mapping[str, Entry], loaded: Mapping[str, int]) -> dict[str, Stamp]:
        by_object: dict[str, list[tuple[str, Entry]]] = {}
        for path, entry in amiss.items():
            by_object.setdefault(entry.made, []).append((path, entry))
        for folder in sorted({folder for path in amiss for folder in _above(path)}):
            (self.files / folder).mkdir(exist_ok=True)
        links: list[tuple[str, bytes]] = []
        small = [made for made in by_object if loaded[made] <= LARGEST]
        for made, data in contents(clone.git, small):
            for path, entry in by_object[made]:
                if entry.is_link:
                    links.append((path, data))
                else:
                    _new_file(self.files / path, data, len(data))
        for made in by_object.keys() - set(small):
            for path, entry in by_object[made]:
                if entry.is_link:
                    links.append((path, b""))
                else:
                    _new_file(self.files / path, b"", loaded[made])
        # Last, so that nothing is ever written through one.
        for path, data in links:
            if len(data) > LONGEST_LINK or not data or b"\0" in data:
                raise Unfit(f"the link {path!a} leads nowhere: remove it")
            os.symlink(data, os.fsencode(self.files / path))  # noqa: PTH211 - of bytes
        return {path: _stamp((self.files / path).lstat()) for path in amiss}

    def _known(self) -> Written:
        """What the list says; nothing where it is not there or cannot be read: then all is written again."""
        try:
            stamp = _stamp(self._list.lstat())
            if self._read is None or self._read[0] != stamp:
                said = json.loads(self._list.read_bytes())
                if said["format"] != FORMAT:
                    return Written()
                rows = said["files"].items()
                made_from = {path: Entry(made, bool(link)) for path, (made, link, _) in rows}
                looks = {path: tuple(look) for path, (_, _, look) in rows}
                self._read = stamp, Written(said["tree"], made_from, looks)
            return self._read[1]
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return Written()

    def _save(self, now: Written) -> None:
        rows = {path: (entry.made, entry.is_link, now.looks[path]) for path, entry in now.entries.items()}
        beside = self._list.with_suffix(".new")
        beside.write_text(json.dumps({"format": FORMAT, "tree": now.tree, "files": rows}))
        beside.replace(self._list)
        self._read = _stamp(self._list.lstat()), now


def _above(path: str) -> Iterator[str]:
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _scan(root: Path) -> dict[str, Stamp]:
    """Everything below that is no directory, by path, and how it looks; the directory is made if need be."""
    root.mkdir(mode=0o700, exist_ok=True)
    found: dict[str, Stamp] = {}
    waiting = [""]
    while waiting:
        path = waiting.pop()
        # From within the directory: a whole path costs a lookup of each of its parts, 10,000 times.
        place = os.open(root / path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with os.scandir(place) as rows:
                for row in rows:
                    inner = f"{path}{row.name}"
                    if row.is_dir(follow_symlinks=False):
                        waiting.append(f"{inner}/")
                    else:
                        found[inner] = _stamp(row.stat(follow_symlinks=False))
        finally:
            os.close(place)
    return found


def _stamp(about: os.stat_result) -> Stamp:
    return about.st_mode, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _new_file(place: Path, data: bytes, size: int) -> None:
    """A file of that size which begins with `data`; never through a link, never into a file that is there."""
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        if size > len(data):
            file.truncate(min(size, LARGEST_SHOWN))
