"""Which spec files lie under a directory, and their bytes: without blocking, leaving the directory, or growing large.

A file is looked at before it is opened, so a pipe or a device never is. What the bytes mean is not known here.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import NamedTuple

from reconciler.errors import ReconcilerError

MOST_FILES = 200_000
MOST_LEVELS = 32
SUFFIXES = (".yaml", ".yml")
DEFAULTS = ("_defaults.yaml", "_defaults.yml")
# A change within a file system's clock tick leaves no trace in its times; some count whole seconds.
FINE_TICK_NS, COARSE_TICK_NS = 100_000_000, 2_000_000_000

Stamp = tuple[int, int, int, int, int]


class Unreadable(Exception):
    """The file cannot be read; the text says why and what to do."""


class Found(NamedTuple):
    """A spec file: its path below the root, where its bytes are (links resolved), and what tells that it changed."""

    path: str
    place: str
    stamp: Stamp


_found = partial(tuple.__new__, Found)  # a third of the time


class Amiss(NamedTuple):
    """Something below the root that is no readable file or directory."""

    path: str
    what: str
    is_folder: bool = False


@dataclass(slots=True)
class Walk:
    """All spec files in order of their paths, the folders' defaults among them, and what could not be looked into."""

    root: str
    files: list[Found] = field(default_factory=list)
    amiss: list[Amiss] = field(default_factory=list)


def walk(root: str) -> Walk:
    """Every `*.yaml` and `*.yml` below `root`, hidden ones left out; ReconcilerError if it is no readable directory."""
    found = _Walker(os.path.realpath(root))
    try:
        found.enter(found.walk.root, "", 0)
        found.follow_folders()
    except _Full:
        found.walk.amiss.append(Amiss("", f"holds more than {MOST_FILES} spec files; split it into sources"))
    except OSError as error:
        raise ReconcilerError(f"{root}: {reason(error)}: the specs' directory has to be readable") from error
    found.walk.files.sort(key=itemgetter(0))
    return found.walk


def alone(file: str) -> Found:
    """One file that was named by hand; ReconcilerError if it is no readable file."""
    try:
        place = os.path.realpath(file, strict=True)
        return Found(os.path.basename(file), place, stamp_of(Path(place).stat()))  # noqa: PTH119
    except OSError as error:
        raise ReconcilerError(f"{file}: {reason(error)}: name a spec file or a directory of them") from error


class _Full(Exception):
    """There are more files than one source may have."""


class _Walker:
    def __init__(self, root: str) -> None:
        self.walk = Walk(root)
        self.below = root if root.endswith("/") else f"{root}/"
        self.entered: dict[tuple[int, int], str] = {}
        # Looked into last, so that a directory is read under its own path where it has one.
        self.links: list[tuple[str, str, int]] = []

    def enter(self, directory: str, path: str, level: int) -> None:
        """Look into one directory, `path` being its own with a slash; OSError if it cannot be listed."""
        about = Path(directory).stat()
        self.entered[about.st_dev, about.st_ino] = path or "."
        with os.scandir(directory) as entries:
            visible = sorted((entry for entry in entries if entry.name[0] != "."), key=attrgetter("name"))
        files = self.walk.files
        for entry in visible:
            inner = f"{path}{entry.name}"
            try:
                # Nearly all there is, so without a step more than it takes; whatever else it is, `take` sees to it.
                if inner.endswith(SUFFIXES) and entry.is_file(follow_symlinks=False) and len(files) < MOST_FILES:
                    files.append(_found((inner, entry.path, stamp_of(entry.stat(follow_symlinks=False)))))
                else:
                    self.take(entry, inner, level + 1)
            except OSError as error:
                self.walk.amiss.append(Amiss(inner, reason(error), os.path.isdir(entry.path)))  # noqa: PTH112

    def take(self, entry: os.DirEntry[str], path: str, level: int) -> None:
        if entry.is_file(follow_symlinks=False):
            if path.endswith(SUFFIXES):
                self.add(path, entry.path, entry.stat(follow_symlinks=False))
        elif entry.is_symlink():
            self.follow(entry, path, level)
        elif entry.is_dir(follow_symlinks=False):
            self.descend(entry.path, path, level)
        elif path.endswith(SUFFIXES):
            self.add(path, entry.path, entry.stat(follow_symlinks=False))

    def follow(self, entry: os.DirEntry[str], path: str, level: int) -> None:
        is_spec = entry.name.endswith(SUFFIXES)
        try:
            place = os.path.realpath(entry.path, strict=True)
            about = Path(place).stat()
        except OSError as error:
            if is_spec:
                self.walk.amiss.append(Amiss(path, f"is a link that leads nowhere, {reason(error)}; remove it"))
            return
        is_folder = stat.S_ISDIR(about.st_mode)
        if not (is_spec or is_folder):
            return
        if not f"{place}/".startswith(self.below):
            self.walk.amiss.append(
                Amiss(path, "is a link that leaves the specs' directory; put a copy here", is_folder)
            )
        elif is_folder:
            self.links.append((place, path, level))
        else:
            self.add(path, place, about)

    def follow_folders(self) -> None:
        for place, path, level in self.links:  # grows while it is walked
            about = Path(place).stat()
            known = self.entered.get((about.st_dev, about.st_ino))
            if known is None:
                self.descend(place, path, level)
            else:
                self.walk.amiss.append(Amiss(path, f"is a link to a directory that is read already, '{known}'", True))

    def descend(self, directory: str, path: str, level: int) -> None:
        if level > MOST_LEVELS:
            self.walk.amiss.append(Amiss(path, f"is deeper than {MOST_LEVELS} directories; move it up", True))
        else:
            self.enter(directory, f"{path}/", level)

    def add(self, path: str, place: str, about: os.stat_result) -> None:
        files = self.walk.files
        if len(files) >= MOST_FILES:
            raise _Full
        if stat.S_ISREG(about.st_mode):
            files.append(Found(path, place, stamp_of(about)))
        else:
            self.walk.amiss.append(Amiss(path, f"is {_kind(about.st_mode)}, not a file; remove it or rename it"))


# Device, number, size, and when its content and anything of it changed.
stamp_of: Callable[[os.stat_result], Stamp] = attrgetter("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")


def is_settled(stamp: Stamp) -> bool:
    """Whether any later change of the file would show in its stamp."""
    changed = stamp[4]  # not the time of the content: that one can be set at will
    tick = FINE_TICK_NS if changed % 1_000_000_000 else COARSE_TICK_NS
    return abs(time.time_ns() - changed) > tick


def content(place: str, limit: int) -> bytes:
    """The file's bytes, at most one more than `limit`; Unreadable, never waiting for a pipe or a device."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Unreadable("is not a file any more; remove it")
            return b"".join(_parts(descriptor, max(found.st_size + 1, 4096), limit + 1))
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise Unreadable("vanished while it was read; the next pass sees what is there then") from None
    except OSError as error:
        raise Unreadable(reason(error)) from error


def _parts(descriptor: int, size: int, most: int) -> Iterator[bytes]:
    """What is there, in reads of `size`: a buffer much larger than a file costs more than reading it."""
    while most > 0:
        part = os.read(descriptor, min(most, size))
        if not part:
            return
        most -= len(part)
        yield part


def reason(error: OSError) -> str:
    """Why the system refused, in its own words."""
    return f"cannot be read: {(error.strerror or str(error)).lower()}"


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISDIR, "a directory"))
    return next((name for test, name in kinds if test(mode)), "a device")
