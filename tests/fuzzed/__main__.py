"""Coverage-guided fuzzing: `python -m fuzzed [TARGET ...] [--seconds N]`, with `tests/` on the path.

Each target has a process of its own, so that a crash of one is told and the others go on; two run at a time. They
begin from the kept corpus; what is new is thrown away, unless `--keep` makes a new, smallest corpus of it. A finding
is left in `.reconciler/fuzz`, and `--once FILE` gives it to the target again. Findings that are mended lie in
`found/TARGET/`, where a test reads them on every machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzzed.corpus import keep, unpack
from fuzzed.targets import TARGETS

FINDINGS = Path(".reconciler/fuzz")
TOGETHER = 2
# Seconds that one input may take, MiB, bytes of an input.
LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=4096")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzzed", description="Fuzz what reads other people's bytes.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=60, help="for all of them together (60)")
    parser.add_argument("--keep", action="store_true", help="make what comes to new lines a part of the kept corpus")
    parser.add_argument("--once", metavar="FILE", type=Path, help="give this to the target, and nothing else")
    asked = parser.parse_args()
    names = asked.targets or list(TARGETS)
    if unknown := sorted(set(names) - TARGETS.keys()):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if asked.once:
        TARGETS[names[0]](asked.once.read_bytes())
        return 0
    together = min(TOGETHER, len(names))
    seconds = max(1, asked.seconds * together // len(names))
    with ThreadPoolExecutor(together) as pool:
        are_sound = list(pool.map(lambda name: is_sound(name, seconds, is_kept=asked.keep), names))
    return 0 if all(are_sound) else 1


def is_sound(name: str, seconds: int, *, is_kept: bool) -> bool:
    """Whether so many seconds of fuzzing found nothing."""
    FINDINGS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        known = unpack(name, Path(scratch))
        places = [f"-max_total_time={seconds}", f"-artifact_prefix={FINDINGS}/{name}-", scratch]
        done = child(name, "-print_final_stats=1", *LIMITS, *places)
        print(f"{name}: {said(done.stderr)}, {known} kept", flush=True)
        if done.returncode:
            lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if not line.startswith("INFO: ")]
            print("\n".join(lines)[-6000:], file=sys.stderr)
        elif is_kept:
            with tempfile.TemporaryDirectory(prefix="fuzz-") as smallest:
                child(name, *LIMITS, "-merge=1", smallest, scratch).check_returncode()
                print(f"{name}: {keep(name, Path(smallest))} kept now")
        return done.returncode == 0


def child(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fuzzed.child", *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def said(text: str) -> str:
    """`12345 inputs tried, 321 of them new`."""
    figures = dict(line.removeprefix("stat::").split(":") for line in text.splitlines() if line.startswith("stat::"))
    tried, new = (figures.get(key, "0").strip() for key in ("number_of_executed_units", "new_units_added"))
    return f"{tried} inputs tried, {new} came to new lines"


if __name__ == "__main__":
    sys.exit(main())
