"""Ends what a killed runner leaves behind: `python -I -S warden.py`, told of process groups on its standard input.

`+123` is a group to end should the runner be gone, `-123` one that is over. The runner's end closes the input, also by
`kill -9`: then every group that is left is killed, with all that the tasks in it started. It imports next to nothing,
so that it costs a few MB and outlives shortages.
"""

import os
import signal
import sys


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups = set()
    for line in sys.stdin:
        number = int(line[1:])
        if line[0] == "+":
            groups.add(number)
        else:
            groups.discard(number)
    for group in groups:
        try:  # noqa: SIM105 - contextlib would be one import more
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


if __name__ == "__main__":
    main()
