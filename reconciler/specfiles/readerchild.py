"""The process that reads specs for the service: `python -m reconciler.specfiles.reader PARENT MEMORY`.

It answers each question on its stdin with one line on its stdout. Task modules may print, read and loop as they like:
both are out of their reach, and the parent ends what does not answer.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from reconciler.errors import ReconcilerError
from reconciler.registry import TASKS, auto_discover_tasks
from reconciler.spec.specset import Fault, SpecSet
from reconciler.specfiles.mentions import Outside
from reconciler.specfiles.specfiles import SpecReader, check_against

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Answer until stdin ends."""
    parent, memory = (int(argument) for argument in arguments)
    _die_with(parent)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions, answers = _lines()
    answering = Answering()
    for question in questions:
        answers.write(answering.line(json.loads(question)))
        answers.flush()


@dataclass(slots=True)
class _Asked:
    """One question that is asked again and again: its reader, and what the other end knows already."""

    reader: SpecReader
    module_faults: list[str]
    answered: SpecSet | None = None
    sent: set[str] = field(default_factory=set)


class Answering:
    """Holds a reader per question, so that each pass only opens what has changed."""

    def __init__(self) -> None:
        self._asked: dict[str, _Asked] = {}

    def line(self, question: dict[str, Any]) -> bytes:
        """The answer as a line of JSON; `error` in it where the question cannot be answered."""
        try:
            answer = self._answer(question)
        except ReconcilerError as error:
            answer = {"error": str(error)}
        except MemoryError:
            answer = {"error": f"{question['root']}: reading the specs needs more memory than it may have: split them"}
        except Exception as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            answer = {"error": f"{question['root']}: the specs cannot be read: {what}: please report this"}
        return json.dumps(answer).encode() + b"\n"

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        key = json.dumps(question, sort_keys=True)
        asked = self._asked.get(key) or self._prepared(question)
        self._asked[key] = asked
        read = asked.reader.read()
        if read is asked.answered:
            return {"unchanged": True}
        answer = {
            "specs": [
                [one.path, one.line, one.digest, None if one.digest in asked.sent else one.spec.document()]
                for one in read.specs
            ],
            "faults": [_row(fault) for fault in read.faults],
            "warnings": [_row(warning) for warning in read.warnings],
            "files": read.files,
            "module_faults": asked.module_faults,
        }
        asked.answered, asked.sent = read, {one.digest for one in read.specs}
        return answer

    def _prepared(self, question: dict[str, Any]) -> _Asked:
        directory = Path(question["directory"])
        os.chdir(directory)
        faults = auto_discover_tasks(question["modules"], directory)
        targets, has_others = question["outside"]
        reader = SpecReader(
            Path(question["root"]),
            environment=question["environment"],
            check=check_against(TASKS),
            outside=Outside(None if targets is None else frozenset(targets), has_others),
        )
        return _Asked(reader, faults)


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
