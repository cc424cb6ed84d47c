"""Files shared out among processes: the answers are those of one process, whatever becomes of the others."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconciler.specfiles import SpecReader, shares

# In a process of its own, since this one may have threads and is not forked then.
SCRIPT = """
import os, sys
from reconciler.specfiles import shares
shares.WORTH = 3
shares._processors = lambda: 3
parent = os.getpid()

def here(number):
    return number, os.getpid() == parent

def dies(number):
    if os.getpid() != parent and number > 40:
        os._exit(9)
    return number, True

def cannot_be_sent(number):
    return number, True, (lambda: number) if os.getpid() != parent else None

def raises(number):
    if os.getpid() != parent:
        raise MemoryError
    return number, True

said = []
work = globals()[sys.argv[1]]
answers = shares.shared_out(lambda some: [work(number) for number in some], range(60), said.append)
assert [answer[0] for answer in answers] == list(range(60)), answers
assert said[-1] == 60 and said == sorted(said), said
print(sum(not answer[1] for answer in answers))
"""


@pytest.mark.parametrize(("work", "elsewhere"), [("here", 38), ("dies", 0), ("cannot_be_sent", 0), ("raises", 0)])
def test_answers_come_in_order_and_what_a_child_does_not_bring_is_done_here(work: str, elsewhere: int) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, work], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) == elsewhere


READ = """
import sys
from pathlib import Path
from reconciler.specfiles import SpecReader, shares
from reconciler.registry.catalogue import check_of
shares.WORTH = 2
shares._processors = lambda: int(sys.argv[2])
check = check_of({}, is_partial=True)
reader = SpecReader(Path(sys.argv[1]), check=check, cache=Path(sys.argv[1]).parent / f"cache{sys.argv[2]}")
for _ in range(2):
    found = reader.read()
    print([(one.name, one.path, one.line, one.digest, one.spec.document()) for one in found.specs])
    print(found.faults, found.warnings, found.held, sorted(check.left))
    Path(sys.argv[1], "f3.yaml").touch()
    Path(sys.argv[1], "f9.yaml").write_text("task: other\\nparams: {a: 3}\\n")
"""


def test_a_directory_reads_alike_with_one_process_and_with_several(tmp_path: Path) -> None:
    told = []
    for processes in ("1", "3"):
        root = tmp_path / processes / "specs"
        (root / "team").mkdir(parents=True)
        (root / "team/_defaults.yaml").write_text("queue: q\n")
        for number in range(20):
            (root / f"f{number}.yaml").write_text(
                f"task: t{number % 3}\nparams: {{a: {number}}}\nschedule: '@hourly'\n"
            )
            (root / f"team/g{number}.yaml").write_text(f"task: t\n---\nname: h{number // 2}\ntask: 7\njitter: 5m\n")
        done = subprocess.run(
            [sys.executable, "-c", READ, root, processes], capture_output=True, text=True, check=True, timeout=60
        )
        told.append(done.stdout.replace(str(root.parent), ""))
    assert told[0] == told[1]
    assert "'t2'" in told[0]


def test_a_process_with_threads_is_never_forked() -> None:
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    try:
        assert shares._processors() == 1
    finally:
        leave.set()
        thread.join()


def test_how_far_it_has_come_is_told_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"f{number}.yaml").write_text("task: t\n")
    said: list[tuple[int, int]] = []
    SpecReader(tmp_path, progress=lambda done, total: said.append((done, total))).read()
    assert said == []  # it took less than the time between two words
    monkeypatch.setattr("reconciler.specfiles.specfiles.BETWEEN", 0.0)
    monkeypatch.setattr("reconciler.specfiles.shares.TOGETHER", 2)
    SpecReader(tmp_path, progress=lambda done, total: said.append((done, total))).read()
    assert said == [(2, 5), (4, 5), (5, 5)]
