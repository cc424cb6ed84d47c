"""Runners, passes, stores and people on a pretended clock: whatever happens to them, each instant has one verdict.

`RECONCILER_SIMULATION_SEEDS=100000` runs more seeds, `RECONCILER_SIMULATION_SEED=7` one of them, with its trace.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from simulated.story import Story

COUNT = int(os.environ.get("RECONCILER_SIMULATION_SEEDS", "1200"))
ONE = os.environ.get("RECONCILER_SIMULATION_SEED")
KEPT = [
    int(line.split()[0])
    for line in Path(__file__).with_name("kept.txt").read_text().splitlines()
    if not line.startswith("#")
]
# So many tests share the seeds, for whoever runs tests side by side.
SHARES = 8
SHOWN = 60


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.timeout(0)
def test_every_instant_has_one_verdict_whatever_happens(share: int) -> None:
    if ONE is not None:
        pytest.skip("one seed was asked for")
    with rarely_collected() as collect:
        for seed in range(share, COUNT, SHARES):
            check(seed)
            collect(seed)


@pytest.mark.parametrize("seed", KEPT if ONE is None else [int(ONE)])
def test_a_seed_that_failed_once_holds(seed: int) -> None:
    check(seed)


TRACED = """
import sys
from simulated.story import Story
for seed in map(int, sys.argv[1:]):
    story = Story(seed)
    story.run()
    print(*story.trace, sep="\\n")
"""


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    seeds = [str(seed) for seed in range(5)]
    forwards, backwards = _traces(seeds, "1"), _traces(seeds[::-1], "2")
    assert forwards == backwards[::-1]


def _traces(seeds: Sequence[str], hashing: str) -> list[str]:
    environ = {**os.environ, "PYTHONHASHSEED": hashing, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", TRACED, *seeds], env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.split("   0.000  begins\n")[1:]


def check(seed: int) -> None:
    """Fails with what did not hold, the end of the trace, and how to run it again."""
    story = Story(seed)
    faults = story.run()
    if faults:
        trace = story.trace if ONE is not None else story.trace[-SHOWN:]
        again = f"RECONCILER_SIMULATION_SEED={seed} {Path(sys.executable).name} -m pytest {Path(__file__).parent}"
        pytest.fail("\n".join([f"seed {seed}: {faults[0]}", *faults[1:10], "", *trace, "", again]), pytrace=False)


@contextmanager
def rarely_collected() -> Iterator[Callable[[int], object]]:
    """A story leaves circles behind; to look for them at each step would cost as much as the story."""
    gc.disable()
    try:
        yield lambda number: gc.collect() if number % 200 < SHARES else None
    finally:
        gc.enable()
        gc.collect()
