"""Reading specs in a process of its own, so that whatever a file or a task module does costs that process alone.

`ReaderProcess` is the service's end; `python -m reconciler.specfiles.reader` is the other, in `readerchild`. A line of
JSON asks for a pass, a line of JSON answers. New task code is picked up by a new process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.errors import ReconcilerError
from reconciler.spec import Fault, LocatedSpec, SpecSet, TaskSpec
from reconciler.spec.by_digest import spec_of
from reconciler.specfiles.mentions import Outside

LONGEST_ANSWER = 1 << 30


@dataclass(slots=True)
class _Received:
    """The last answer about one question; its specs by digest, since the child sends no document twice."""

    read: SpecSet = field(default_factory=SpecSet)
    specs: dict[str, TaskSpec] = field(default_factory=dict)
    module_faults: tuple[str, ...] = ()


class ReaderProcess:
    """A child that reads specs; started when first asked, and again after it died. One question at a time.

    `timeout` (seconds) is for one pass, `memory` (bytes) for the child; what exceeds them is killed and is one line.
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
    ) -> SpecSet:
        """The specs below `root` as they are now, checked against the tasks of `modules` below `directory`.

        The same object as before where nothing has changed. ReconcilerError if the root cannot be read, or the child
        died, hung or grew too large over it; the next call starts another.
        """
        question = json.dumps(
            {
                "root": os.fspath(root),
                "environment": environment,
                "modules": list(modules),
                "directory": os.fspath(directory),
                "outside": [None if outside.targets is None else sorted(outside.targets), outside.has_other_sources],
            }
        )
        async with self._turn:
            line = await self._asked(question, os.fspath(root))
            received = await asyncio.to_thread(_received, line, self._received.get(question, _Received()))
            self._received[question] = received
            self.module_faults = received.module_faults
            return received.read

    async def restart(self) -> None:
        """Read with fresh task code from the next question on."""
        async with self._turn:
            await self._end()

    async def close(self) -> None:
        """End the child; nothing of it is left."""
        await self._end()

    async def _asked(self, question: str, root: str) -> bytes:
        process = self._process or await self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            async with asyncio.timeout(self.timeout):
                with contextlib.suppress(ConnectionError):  # its exit code says more
                    process.stdin.write(question.encode() + b"\n")
                    await process.stdin.drain()
                line = await process.stdout.readline()
                if line.endswith(b"\n"):
                    return line
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
            received.read = SpecSet()
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # Not `wait()` alone: pipes that are never read to their end would keep it waiting.
        assert process.stdout is not None and process.stdin is not None
        process.stdin.close()
        await process.communicate()


def _received(line: bytes, before: _Received) -> _Received:
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise ReconcilerError(answer["error"])
    if answer.get("unchanged"):
        return before
    located = []
    for path, number, digest, document in answer["specs"]:
        spec = before.specs.get(digest) or spec_of(digest, document)
        located.append(LocatedSpec(spec, path, number, digest))
    return _Received(
        SpecSet(
            tuple(located),
            tuple(Fault(*fault) for fault in answer["faults"]),
            tuple(Fault(*fault) for fault in answer["warnings"]),
            answer["files"],
        ),
        {one.digest: one.spec for one in located},
        tuple(answer["module_faults"]),
    )


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
