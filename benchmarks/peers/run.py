"""Reconciler beside its peers, in one run on the same PostgreSQL and Redis: `python benchmarks/peers/run.py [--quick]`.

`--only celery,huey` for some of them, `--cases enqueued,together,objects` for some of the cases. One JSON line a case
and peer; a peer that breaks down is a line too, with `failed`. Each has an environment of its own under
`.reconciler/peers`, made when it is needed. Ends all that it starts.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from contents import ENQUEUED, OWN, PEERS, TOGETHER, alternatives, version
from enqueued import CASE as THROUGHPUT
from enqueued import enqueued
from measuring import report, stores
from objects import objects
from processes import on_signal
from together import together
from venvs import programs

CASES = ("enqueued", "together", "objects")


def main() -> None:
    asked = arguments()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    wanted = [peer for peer in PEERS if not asked.only or peer in asked.only]
    for peer in list(wanted):
        try:
            programs(peer)
        except (OSError, subprocess.CalledProcessError) as error:
            report(THROUGHPUT, 0, peer=peer, version=version(peer), failed=f"cannot be installed: {error}")
            wanted.remove(peer)
    with stores() as own:
        if "enqueued" in asked.cases:
            for setup in ENQUEUED:
                if setup.peer in wanted:
                    enqueued(own, setup, 2_000 if asked.quick else 10_000)
        if asked.settings:
            for setup in ENQUEUED:
                for tried in alternatives(setup) if setup.peer in wanted else ():
                    enqueued(own, tried, 2_000 if asked.quick else 10_000, "peers: settings tried")
        if "together" in asked.cases:
            for count in (1_000,) if asked.quick else (1_000, 10_000):
                for setup in TOGETHER:
                    if setup.peer in wanted:
                        together(own, setup, count, 2 if asked.quick else 6)
    if "objects" in asked.cases and OWN in wanted:
        objects(200 if asked.quick else 1_000)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, some four minutes")
    parser.add_argument(
        "--settings", action="store_true", help="only the throughput, with every setting that was tried"
    )
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"some of {','.join(PEERS)}")
    parser.add_argument("--cases", type=lambda text: text.split(","), default=CASES, help=f"some of {','.join(CASES)}")
    asked = parser.parse_args()
    asked.cases = () if asked.settings else asked.cases
    for name in asked.only or ():
        if name not in PEERS:
            parser.error(f"no peer {name!r}; there are {', '.join(PEERS)}")
    for name in asked.cases:
        if name not in CASES:
            parser.error(f"no case {name!r}; there are {', '.join(CASES)}")
    return asked


if __name__ == "__main__":
    main()
