"""A peer's processes: started in groups of their own, watched, and ended whatever happens."""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from venvs import ROOT

END_WITHIN = 5.0
LOOK_EVERY = 1.0


# What was started and has not been ended, for the end of the program.
_there: list[subprocess.Popen[bytes]] = []
_held = 0
_asked: list[int] = []


def on_signal(number: int, frame: object) -> None:
    """A signal handler: ends the program, but never between a start and its entry, nor in the middle of an end."""
    _asked.append(number)
    _leave_if_asked()


@contextmanager
def undisturbed() -> Iterator[None]:
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    _leave_if_asked()


def _leave_if_asked() -> None:
    if _asked and not _held:
        number = _asked[0]
        _asked.clear()
        sys.exit(128 + number)


class PeerFailed(Exception):
    """A peer could not do the job; the text is one line that says how."""


def command(words: str, programs: Path, **values: object) -> list[str]:
    """A command of the table of contents, its program from `programs`."""
    name, *rest = shlex.split(words.format(**values))
    rest = [
        str(ROOT / "benchmarks/peers/apps" / word) if word.startswith("with_") and word.endswith(".py") else word
        for word in rest
    ]
    return [str(programs / name), *rest]


def run(words: Sequence[str], directory: Path, environment: Mapping[str, str], within: float) -> None:
    """To its end. PeerFailed when it fails, or is not done in time."""
    with running([words], directory, environment) as [process]:
        try:
            code = process.wait(within)
        except subprocess.TimeoutExpired:
            raise PeerFailed(f"{_shown(words)}: not done within {within:.0f} s") from None
    if code:
        raise PeerFailed(f"{_shown(words)}: exit {code}: {last_line(directory)}")


@contextmanager
def running(
    commands: Sequence[Sequence[str]], directory: Path, environment: Mapping[str, str]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Each in a group of its own, until this is left; then none of them is there any more, nor what they started."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for words in commands:
            with undisturbed(), (directory / "said.log").open("ab") as log:
                processes.append(
                    subprocess.Popen(
                        words,
                        cwd=directory,
                        env=dict(environment),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
                _there.append(processes[-1])
        yield processes
    finally:
        with undisturbed():
            end(processes)


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Asked first, then killed with all of the group: some leave children behind."""
    for process in processes:
        with suppress(ProcessLookupError):
            process.terminate()
    until = time.monotonic() + END_WITHIN
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()))
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _there.remove(process)


atexit.register(lambda: end(list(_there)))


def check(processes: Sequence[subprocess.Popen[bytes]], directory: Path) -> None:
    """PeerFailed when one of them has ended by itself."""
    for process in processes:
        if (code := process.poll()) is not None:
            raise PeerFailed(f"{_shown(process.args)}: ended with {code}: {last_line(directory)}")


def last_line(directory: Path) -> str:
    lines = [line.strip() for line in (directory / "said.log").read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def _shown(words: object) -> str:
    return " ".join(Path(word).name for word in words[:3]) if isinstance(words, list) else str(words)


class Memory:
    """The most that process groups held at one moment, in MiB; what processes share counts once.

    Looked at once a second: what comes and goes between two looks is not seen.
    """

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self.groups = {process.pid for process in processes}
        self.peak_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> float:
        self._stop.set()
        self._thread.join()
        return self.peak_mb

    def _watch(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, self._now())
            if self._stop.wait(LOOK_EVERY):
                self.peak_mb = max(self.peak_mb, self._now())
                return

    def _now(self) -> float:
        total = 0
        for entry in Path("/proc").iterdir():
            # One may end meanwhile.
            with suppress(OSError, ValueError):
                if entry.name.isdecimal() and os.getsid(int(entry.name)) in self.groups:
                    rollup = (entry / "smaps_rollup").read_text()
                    total += int(rollup.split("Pss:")[1].split()[0])
        return total / 1024
