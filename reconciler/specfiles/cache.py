"""What spec files held when a process read them last, kept on disk: the next process parses only what has changed.

It holds names, places and digests, and no spec: one that is needed is parsed from its file. A cache that is missing,
broken, of another version or somebody else's is no cache, and one that cannot be written is not written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pydantic

from reconciler import __version__
from reconciler.spec import TaskSpec
from reconciler.spec.specset import Fault, LocatedSpec
from reconciler.specfiles.mentions import Mention
from reconciler.specfiles.onefile import Held, Named
from reconciler.specfiles.onepass import Known
from reconciler.specfiles.walk import COARSE_TICK_NS, Stamp, stamp_of
from reconciler.specfiles.yamlgate import VERSION as YAML_VERSION

FORMAT = 2
LARGEST = 256 * 1024 * 1024
MOST_CACHES = 16

# Finds the spec of a path, a name and a digest.
Fetch = Callable[[str, str, str], TaskSpec]


@dataclass(frozen=True, slots=True)
class SpecCache:
    """One file below `directory`. `about` is all that its content depends on besides the files themselves."""

    directory: Path
    about: tuple[str, ...]

    @property
    def place(self) -> Path:
        return self.directory / f"specs-{hashlib.sha256(json.dumps(self.about).encode()).hexdigest()[:32]}.json"

    def load(self, fetch: Fetch) -> dict[str, Known]:
        """What each file held, by its path; nothing where there is no cache that can be used."""
        try:
            checksum, _, text = _own_bytes(self.place).partition(b"\n")
            if checksum != _checksum(text):
                return {}
            kept = json.loads(text)
            if kept["about"] != [*_program(), *self.about]:
                return {}
            return {path: _known(path, entry, fetch) for path, entry in kept["files"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            return {}

    def save(self, known: Mapping[str, Known], loaded: Mapping[str, Known], began: int) -> None:
        """Keep what each file without a fault holds, if that is not what was `loaded`.

        `began` is when the reading of the files did, in ns since 1970.
        """
        kept = {path: one for path, one in known.items() if _is_kept(one)}
        if all(one is loaded.get(path) for path, one in kept.items()) and kept.keys() >= loaded.keys():
            return
        files = {path: _entry(one, began) for path, one in kept.items()}
        text = json.dumps({"about": [*_program(), *self.about], "files": files}, separators=(",", ":"))
        with contextlib.suppress(OSError):
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.directory / ".gitignore").write_text("*\n")
            self._replace(_checksum(text.encode()) + b"\n" + text.encode())
            by_age = sorted(self.directory.glob("specs-*"), key=lambda path: path.stat().st_mtime)
            for old in by_age[:-MOST_CACHES]:
                old.unlink()

    def drop(self) -> None:
        """Forget it: something in it turned out to be wrong."""
        with contextlib.suppress(OSError):
            self.place.unlink()

    def _replace(self, data: bytes) -> None:
        descriptor, name = tempfile.mkstemp(prefix="specs-", dir=self.directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(name).replace(self.place)
        except BaseException:
            Path(name).unlink()
            raise


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _own_bytes(place: Path) -> bytes:
    """The bytes of a file that nobody but this user could have written; OSError for any other."""
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        is_own = stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o022
        if not is_own or about.st_size > LARGEST:
            raise PermissionError(place)
        return file.read(LARGEST)


def _is_kept(known: Known) -> bool:
    """Files with a fault are read again by everybody, and so are defaults, which are few."""
    held = known.held
    return not held.faults and known.layer is None and bool(held.named) and all(one.spec for one in held.named)


def _entry(known: Known, began: int) -> list[Any]:
    # git's racy rule: what changed just before it was read may change again and leave no trace in its times.
    is_settled = known.is_settled and began - known.stamp[4] > COARSE_TICK_NS
    named = [[one.name, one.begins, one.line, one.column, one.spec.digest] for one in known.held.named if one.spec]
    warnings = [[one.path, one.line, one.column, one.field, one.what] for one in known.held.warnings]
    return [
        known.stamp,
        is_settled,
        known.digest,
        known.defaults,
        known.calendars,
        named,
        warnings,
        sorted(known.held.environments),
        known.held.mentions,
    ]


def _known(path: str, entry: list[Any], fetch: Fetch) -> Known:
    stamp, is_settled, digest, defaults, calendars, rows, warnings, environments, mentions = entry
    named = []
    for name, begins, line, column, spec_digest in rows:
        located = LocatedSpec(partial(fetch, path, name, spec_digest), path, begins, spec_digest, name)
        named.append(Named(name, begins, line, column, located))
    warned, mentioned = [Fault(*warning) for warning in warnings], tuple(Mention(*one) for one in mentions)
    held = Held(named, [], warned, set(environments), mentioned)
    return Known(tuple(stamp), is_settled is True, digest, held, None, tuple(defaults), dict(calendars))


def _program() -> list[str]:
    """What reads the specs: another version may read them in another way."""
    return [str(FORMAT), __version__, pydantic.VERSION, YAML_VERSION, sys.version, str(_newest())]


@cache
def _newest() -> int:
    """When this program's own code changed last, as this process found it."""
    return max(path.stat().st_mtime_ns for path in Path(__file__).parents[1].rglob("*.py"))


def catalogue_of(functions: Mapping[str, Callable[..., Any]]) -> str | None:
    """What tells two sets of task functions apart: their names, and the files of their packages as they are now.

    None where a file has just changed: what was imported may be what stood there before.
    """
    found = sorted(_files({function.__module__ for function in functions.values()}))
    if any(time.time_ns() - stamp[4] <= COARSE_TICK_NS for _, stamp in found):
        return None
    return hashlib.sha256(json.dumps([sorted(functions), found]).encode()).hexdigest()


def _files(modules: set[str]) -> Iterator[tuple[str, Stamp]]:
    """Everything imported from where the tasks come from: their parameters may be typed by a neighbour's class."""
    files = [file for name in modules if (file := getattr(sys.modules.get(name), "__file__", None))]
    folders = tuple({f"{os.path.dirname(file)}/" for file in files})  # noqa: PTH120
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.startswith(folders):
            with contextlib.suppress(OSError):
                yield file, stamp_of(Path(file).stat())
