"""A runner whose control loop stands still does not stay and look alive."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import itertools, time
from reconciler.runner.beating import Watchdog
ticks = {ticks}
dog = Watchdog(ticks, 0.8)
dog.start()
time.sleep({seconds})
dog.stop()
print("alive")
"""


def watched(ticks: str, seconds: float) -> subprocess.CompletedProcess[str]:
    code = CODE.format(ticks=ticks, seconds=seconds)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_a_control_loop_that_stands_still_ends_the_process() -> None:
    done = watched("lambda: 1.0", 50)
    assert done.returncode == 70
    assert "its control loop stands still" in done.stderr


def test_one_that_ticks_is_left_alone() -> None:
    done = watched("itertools.count().__next__", 2)
    assert (done.returncode, done.stdout) == (0, "alive\n")
