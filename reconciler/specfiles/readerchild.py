"""The process that reads specs for the service: `python -m reconciler.specfiles.reader PARENT MEMORY`.

It answers each question on its stdin with lines on its stdout: files with their specs, as far as the parent does not
have them as they are now, and a last line about all of them. Task modules may print, read and loop as they like: both
are out of their reach, and the parent ends what does not answer.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import to_json

from reconciler.errors import ReconcilerError
from reconciler.registry import TASKS, auto_discover_tasks
from reconciler.registry.catalogue import catalogue_of, check_of
from reconciler.registry.discover import without_absent
from reconciler.spec.specset import Fault, LocatedSpec, SpecSet
from reconciler.specfiles.mentions import Outside
from reconciler.specfiles.specfiles import Check, SpecReader, check_against

PR_SET_PDEATHSIG = 1
# So many files a line, so that neither end holds much more than the specs themselves.
BATCH = 500
_Files = Mapping[str, tuple[LocatedSpec, ...]]


def main(arguments: list[str]) -> None:
    """Answer until stdin ends."""
    parent, memory = (int(argument) for argument in arguments)
    _die_with(parent)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions, answers = _lines()

    def say(line: bytes) -> None:
        answers.write(line + b"\n")
        answers.flush()

    answering = Answering(say)
    for question in questions:
        for line in answering.lines(json.loads(question)):
            say(line)


@dataclass(slots=True)
class _Asked:
    """One question that is asked again and again: its reader, and what the other end knows already."""

    reader: SpecReader
    module_faults: list[str]
    catalogue: dict[str, Any] | None = None
    answered: SpecSet | None = None
    serial: int = 0
    sent: dict[str, tuple[LocatedSpec, ...]] = field(default_factory=dict)


class Answering:
    """Holds a reader per question, so that each pass only opens what has changed."""

    def __init__(self, say: Callable[[bytes], None]) -> None:
        self._say = say
        self._asked: dict[str, _Asked] = {}

    def lines(self, question: dict[str, Any]) -> Iterator[bytes]:
        """The answer as lines of JSON; `error` in the last one where the question cannot be answered."""
        try:
            yield from self._answer(question, question.pop("have"))
            return
        except ReconcilerError as error:
            answer = {"error": str(error)}
        except MemoryError:
            answer = {"error": f"{question['root']}: reading the specs needs more memory than it may have: split them"}
        except Exception as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            answer = {"error": f"{question['root']}: the specs cannot be read: {what}: please report this"}
        yield json.dumps(answer).encode()

    def _answer(self, question: dict[str, Any], have: int) -> Iterator[bytes]:
        catalogue = question.pop("catalogue", None)
        key = json.dumps(question, sort_keys=True)
        asked = self._asked.get(key)
        if asked is None or asked.catalogue != catalogue:
            asked = self._asked[key] = self._prepared(question, catalogue)
        read = asked.reader.read()
        if have != asked.serial:
            asked.answered, asked.sent = None, {}
        if read is asked.answered:
            yield json.dumps({"unchanged": True}).encode()
            return
        before, asked.sent = asked.sent, _by_path(read.specs)
        asked.answered, asked.serial = read, asked.serial + 1
        yield from _told(before, asked.sent)
        last = {
            "serial": asked.serial,
            "is_whole": not before,
            "gone": [path for path in before if path not in asked.sent],
            "faults": [_row(fault) for fault in read.faults],
            "warnings": [_row(warning) for warning in read.warnings],
            "files": read.files,
            "held": read.held,
            "module_faults": asked.module_faults,
        }
        yield json.dumps(last).encode()

    def _prepared(self, question: dict[str, Any], catalogue: dict[str, Any] | None) -> _Asked:
        directory = Path(question["directory"])
        os.chdir(directory)
        faults = auto_discover_tasks(question["modules"], directory)
        targets, has_others = question["outside"]
        reader = SpecReader(
            Path(question["root"]),
            environment=question["environment"],
            check=_check(catalogue),
            outside=Outside(None if targets is None else frozenset(targets), has_others),
            progress=lambda done, total: self._say(json.dumps({"done": done, "total": total}).encode()),
        )
        return _Asked(reader, faults if catalogue is None else without_absent(faults), catalogue)


def _check(catalogue: dict[str, Any] | None) -> Check:
    """By the code here, by a catalogue, or where that is empty by what the library alone knows."""
    if catalogue is None:
        return check_against(TASKS)
    return check_of(catalogue or catalogue_of(TASKS), is_partial=not catalogue)


def _by_path(specs: Iterable[LocatedSpec]) -> dict[str, tuple[LocatedSpec, ...]]:
    found: dict[str, tuple[LocatedSpec, ...]] = {}
    for one in specs:
        path = one.path
        found[path] = (*found[path], one) if path in found else (one,)
    return found


def _told(before: _Files, now: _Files) -> Iterator[bytes]:
    """Lines with the files that hold something else than before; a spec that stood elsewhere without its document."""
    changed = [path for path, found in now.items() if before.get(path) != found]
    known = {one.digest for found in before.values() for one in found} if changed and before else set()
    for start in range(0, len(changed), BATCH):
        batch = {
            path: [[one.line, one.digest, None if one.digest in known else one.spec] for one in now[path]]
            for path in changed[start : start + BATCH]
        }
        yield to_json({"specs": batch})


def _row(fault: Fault) -> list[str | int]:
    return [fault.path, fault.line, fault.column, fault.field, fault.what]


def _lines() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the parent, moved away from where a task module would find them."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return questions, answers


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask
        sys.exit(1)
