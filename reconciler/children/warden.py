"""Ends what a killed runner leaves behind: `python -I -S warden.py`, told of process groups on its standard input.

`+123 MARK` is a group to end should the runner be gone, `-123` one that is over. The runner's end closes the input,
also by `kill -9`: then every group that is left is killed, with all that the tasks in it started. It imports next to
nothing, so that it costs a few MB and outlives shortages.
"""

import os
import signal
import sys
import time

ROUNDS = 5
PAUSE = 0.01


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: dict[str, bytes] = {}
    for line in sys.stdin:
        number, _, mark = line[1:].strip().partition(" ")
        if line[0] == "+":
            groups[number] = mark.encode()
        else:
            groups.pop(number, None)
    for group in groups:
        try:  # noqa: SIM105 - contextlib would be one import more
            os.killpg(int(group), signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    if groups:
        end_strays(list(groups.values()))


def end_strays(marks: list[bytes]) -> None:
    """Kill the processes, of any session, that have one of `marks` in their environment. It takes milliseconds.

    A process that leaves its session is in no group of ours, and once its parent ends it is given to another, so that
    nothing tells whose it was; but the environment that it was started with stays with it. Linux only: elsewhere
    nothing is found.
    """
    for turn in range(ROUNDS):
        # Again until none is found: one may have started another while we looked.
        if not [pid for pid in _processes() if _has_one(pid, marks) and _is_killed(pid)]:
            return
        time.sleep(PAUSE * 2**turn)


def _processes() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - pathlib is an import more
    except OSError:
        return []


def _has_one(pid: str, marks: list[bytes]) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            environment = file.read()
    except OSError:  # it has ended, or belongs to somebody else
        return False
    return any(mark in environment for mark in marks)


def _is_killed(pid: str) -> bool:
    try:
        os.kill(int(pid), signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
