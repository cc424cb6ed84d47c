"""Reading specs in a process of its own, so that whatever a file or a task module does costs that process alone.

`ReaderProcess` is the service's end; `python -m reconciler.specfiles.reader` is the other, in `readerchild`. A line of
JSON asks for a pass, lines of JSON answer with what has changed. New task code is picked up by a new process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from reconciler.errors import ReconcilerError
from reconciler.spec import Fault, LocatedSpec, SpecSet, TaskSpec
from reconciler.spec.by_digest import spec_of
from reconciler.specfiles.mentions import Outside

LONGEST_ANSWER = 1 << 30


@dataclass(slots=True)
class _Received:
    """All that was answered to one question so far. `serial` tells the child which answer that was; 0: none."""

    read: SpecSet = field(default_factory=SpecSet)
    files: dict[str, tuple[LocatedSpec, ...]] = field(default_factory=dict)
    serial: int = 0
    module_faults: tuple[str, ...] = ()


class _Answer:
    """What the lines of one answer come to, together with what was known before."""

    def __init__(self, before: _Received) -> None:
        self.before = before
        self._specs: dict[str, TaskSpec] | None = None
        self._files: dict[str, tuple[LocatedSpec, ...]] = {}
        self._last: dict[str, Any] = {}
        self._error: ReconcilerError | None = None

    def take(self, line: bytes) -> bool:
        """Understand one line; whether it was the last one."""
        said: dict[str, Any] = from_json(line)
        if "done" in said:
            return False
        if "specs" not in said:
            self._last = said
            return True
        try:
            for path, found in said["specs"].items():
                self._files[path] = tuple(self._located(path, *one) for one in found)
        except ReconcilerError as error:  # the rest is read all the same, or it would answer the next question
            self._error = error
        return False

    def result(self) -> _Received:
        """ReconcilerError where the question could not be answered."""
        last, before = self._last, self.before
        if "error" in last:
            raise ReconcilerError(last["error"])
        if self._error:
            raise self._error
        if last.get("unchanged"):
            return before
        files = {**({} if last["is_whole"] else before.files), **self._files}
        for path in last["gone"]:
            del files[path]
        read = SpecSet(
            tuple(one for path in sorted(files) for one in files[path]),
            tuple(Fault(*fault) for fault in last["faults"]),
            tuple(Fault(*fault) for fault in last["warnings"]),
            last["files"],
            tuple(last["held"]),
        )
        return _Received(read, files, last["serial"], tuple(last["module_faults"]))

    def _located(self, path: str, line: int, digest: str, document: dict[str, Any] | None) -> LocatedSpec:
        spec = spec_of(digest, document) if document is not None else self._known(digest)
        return LocatedSpec(spec, path, line, digest)

    def _known(self, digest: str) -> TaskSpec:
        """One that came with an earlier answer, wherever it stood then."""
        if self._specs is None:
            self._specs = {one.digest: one.spec for found in self.before.files.values() for one in found}
        return self._specs.get(digest) or spec_of(digest, {})


class ReaderProcess:
    """A child that reads specs; started when first asked, and again after it died. One question at a time.

    `timeout` (seconds) is for how long it says nothing over a pass, `memory` (bytes) for the child; what exceeds them
    is killed and is one line.
    `module_faults`: the task modules that could not be imported, as of the last answer, one line each.
    """

    def __init__(self, *, timeout: float = 120.0, memory: int = 4 << 30) -> None:
        self.timeout = timeout
        self.memory = memory
        self.module_faults: tuple[str, ...] = ()
        self._process: Process | None = None
        self._received: dict[str, _Received] = {}
        self._turn = asyncio.Lock()

    async def read(
        self,
        root: Path | str,
        environment: str | None,
        modules: Sequence[str],
        directory: Path | str,
        outside: Outside = Outside(),  # noqa: B008 - frozen
        catalogue: Mapping[str, Any] | None = None,
    ) -> SpecSet:
        """The specs below `root` as they are now, checked against the tasks of `modules` below `directory`.

        With a `catalogue`, none of these modules being there: against that one; an empty one lets any task pass.
        The same object as before where nothing has changed. ReconcilerError if the root cannot be read, or the child
        died, hung or grew too large over it; the next call starts another.
        """
        about = json.dumps(
            {
                "root": os.fspath(root),
                "environment": environment,
                "modules": list(modules),
                "directory": os.fspath(directory),
                "outside": [None if outside.targets is None else sorted(outside.targets), outside.has_other_sources],
            }
        )
        question = json.dumps({**json.loads(about), "catalogue": catalogue}) if catalogue is not None else about
        async with self._turn:
            answer = _Answer(self._received.get(about, _Received()))
            await self._ask(question, answer, os.fspath(root))
            received = self._received[about] = answer.result()
            self.module_faults = received.module_faults
            return received.read

    async def restart(self) -> None:
        """Read with fresh task code from the next question on."""
        async with self._turn:
            await self._end()

    async def close(self) -> None:
        """End the child; nothing of it is left."""
        await self._end()

    async def _ask(self, question: str, answer: _Answer, root: str) -> None:
        process = self._process or await self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            async with asyncio.timeout(self.timeout) as patience:
                with contextlib.suppress(ConnectionError):  # its exit code says more
                    process.stdin.write(b'%s, "have": %d}\n' % (question[:-1].encode(), answer.before.serial))
                    await process.stdin.drain()
                while (line := await process.stdout.readline()).endswith(b"\n"):
                    if await asyncio.to_thread(answer.take, line):
                        return
                    patience.reschedule(asyncio.get_running_loop().time() + self.timeout)  # it is at it
                why = f"died of {_cause(await process.wait())}"
        except TimeoutError:
            why = f"took longer than {self.timeout:g} seconds"
        except BaseException:
            # Cancelled in the middle: its answer would be taken for that to the next question.
            await self._end()
            raise
        await self._end()
        raise ReconcilerError(
            f"{root}: the process that reads the specs {why}: nothing is applied; look at what was changed last"
        )

    async def _start(self) -> Process:
        # A session of its own: Ctrl-C in the terminal is the service's to handle, and one kill ends all it started.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "reconciler.specfiles.reader",
            str(os.getpid()),
            str(self.memory),
            stdin=PIPE,
            stdout=PIPE,
            limit=LONGEST_ANSWER,
            start_new_session=True,
        )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        for received in self._received.values():
            received.serial = 0
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # Not `wait()` alone: pipes that are never read to their end would keep it waiting.
        assert process.stdout is not None and process.stdin is not None
        process.stdin.close()
        await process.communicate()


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


if __name__ == "__main__":
    from reconciler.specfiles.readerchild import main

    main(sys.argv[1:])
