"""The process that reads specs: what it answers, and that nothing that happens to it reaches the service."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reconciler.errors import ReconcilerError
from reconciler.spec.specset import SpecSet
from reconciler.specfiles import Outside
from reconciler.specfiles.reader import ReaderProcess

TASKS = """
from reconciler.registry import task
print("a line that is no answer")
@task
def build(region: str): ...
"""


class Project:
    """A directory with task modules and specs of its own; its modules have names that no other test has imported."""

    def __init__(self, directory: Path, reader: ReaderProcess) -> None:
        self.directory = directory
        self.reader = reader
        self.specs = directory / "specs"
        self.code("reports", TASKS)
        self.spec("a", "task: reports.build\nparams: {region: eu}\n")

    def spec(self, name: str, text: str) -> None:
        self.specs.mkdir(exist_ok=True)
        (self.specs / f"{name}.yaml").write_text(text)

    def code(self, name: str, text: str) -> None:
        package = self.directory / "readertasks"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
        (package / f"{name}.py").write_text(text)

    async def read(self, environment: str | None = None) -> SpecSet:
        return await self.reader.read(self.specs, environment, ["readertasks"], self.directory)


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    reader = ReaderProcess(timeout=60)
    yield Project(tmp_path, reader)
    await reader.close()


def child(project: Project) -> int:
    process = project.reader._process
    assert process is not None
    return process.pid


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while not is_gone(pid) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return is_gone(pid)


async def test_specs_come_with_their_documents_checked_against_the_tasks(project: Project) -> None:
    project.spec("b", "task: reports.biuld\n")
    project.spec("c", "task: reports.build\nparams: {regoin: eu}\nmissed_limit: 5\n")
    found = await project.read()
    first = found.specs[0]
    assert (first.spec.name, first.path, first.line, first.spec.digest) == ("a", "a.yaml", 1, first.digest)
    assert [str(fault).partition(": ")[0] for fault in found.faults] == [
        "specs/b.yaml:1:7",
        "specs/c.yaml:2:9",
        "specs/c.yaml:2:10",
    ]
    assert "did you mean 'reports.build'?" in found.faults[0].what
    assert [warning.field for warning in found.warnings] == ["missed_limit"]
    assert found.files == 3


async def test_what_specs_name_of_each_other_and_of_the_settings_is_judged_there_too(project: Project) -> None:
    project.spec("b", "task: reports.build\nparams: {region: eu}\nafter: [c]\nnotify: {to: [ops]}\n")
    project.spec("c", "task: reports.build\nparams: {region: eu}\nafter: [b, d]\n")
    found = await project.read()
    assert [f"{fault.path}: {fault.field}: {fault.what}" for fault in found.faults] == [
        "specs/b.yaml: after[0]: b -> c -> b goes round in a circle; remove one of these",
        "specs/c.yaml: after[1]: no spec 'd'; it has to be the name of a spec here",
    ]
    outside = Outside(frozenset({"dev"}), has_other_sources=True)
    read = await project.reader.read(project.specs, None, ["readertasks"], project.directory, outside)
    assert [fault.field for fault in read.faults] == ["after[0]", "notify.to[0]"]
    assert [warning.field for warning in read.warnings] == ["after[1]"]


async def test_nothing_changed_is_the_same_answer_and_a_change_is_seen(project: Project) -> None:
    first = await project.read()
    assert await project.read() is first
    project.spec("b", "task: reports.build\nparams: {region: us}\n")
    second = await project.read()
    assert [one.spec.name for one in second.specs] == ["a", "b"]
    assert second.specs[0].spec is first.specs[0].spec  # its document was not sent again
    (project.specs / "a.yaml").unlink()
    assert [one.spec.name for one in (await project.read()).specs] == ["b"]
    project.spec("a", "task: reports.build\nparams: {region: eu}\n")
    assert [one.spec.name for one in (await project.read()).specs] == ["a", "b"]


async def test_many_files_come_in_parts_and_what_is_held_comes_with_them(project: Project) -> None:
    for number in range(1_100):
        project.spec(f"n{number:04}", "task: reports.build\nparams: {region: eu}\n")
    project.spec("x", "task: reports.biuld\nname: moved\n")
    first = await project.read()
    assert [one.name for one in first.specs] == ["a", *(f"n{number:04}" for number in range(1_100))]
    assert first.held == ("x.yaml",)
    (project.specs / "team").mkdir()
    (project.specs / "n0007.yaml").rename(project.specs / "team/n0007.yaml")
    second = await project.read()
    assert second.specs[-1].path == "team/n0007.yaml"
    assert second.specs[-1].spec is first.specs[8].spec  # moved, and its document was not sent again
    assert len(second.specs) == len(first.specs)
    await project.reader.restart()
    assert (await project.read()).specs == second.specs


async def test_each_environment_has_its_own_answers(project: Project) -> None:
    project.spec("a", "task: reports.build\nparams: {region: eu}\nenvironments: {prod: {queue: q}}\n")
    queues = [(await project.read(environment)).specs[0].spec.queue for environment in (None, "prod", None, "prod")]
    assert queues == ["default", "q", "default", "q"]


async def test_a_broken_task_module_is_one_line_and_the_others_stay(project: Project) -> None:
    project.code("broken", "1 / 0\n")
    found = await project.read()
    assert found.faults == ()
    (line,) = project.reader.module_faults
    assert "broken" in line and "ZeroDivisionError" in line


async def test_new_task_code_is_used_after_a_restart(project: Project) -> None:
    project.spec("b", "task: more.work\n")
    assert len((await project.read()).faults) == 1
    project.code("more", "from reconciler.registry import task\n@task\ndef work(): ...\n")
    old = child(project)
    await project.reader.restart()
    assert (await project.read()).faults == ()
    assert await gone(old)


async def test_a_missing_directory_is_an_error_and_the_next_question_is_answered(project: Project) -> None:
    with pytest.raises(ReconcilerError, match=r"nowhere: cannot be read: no such file or directory"):
        await project.reader.read(project.directory / "nowhere", None, ["readertasks"], project.directory)
    assert len((await project.read()).specs) == 1


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_killed_child_is_one_line_and_the_next_question_starts_another(
    project: Project, blow: signal.Signals
) -> None:
    await project.read()
    os.kill(child(project), blow)
    with pytest.raises(ReconcilerError, match=f"the process that reads the specs died of {blow.name}: nothing is"):
        await project.read()
    assert len((await project.read()).specs) == 1


async def test_a_task_module_that_ends_the_process_is_one_line(project: Project) -> None:
    project.code("evil", "import os\nos._exit(7)\n")
    with pytest.raises(ReconcilerError, match="died of exit code 7"):
        await project.read()
    project.code("evil", "")
    assert len((await project.read()).specs) == 1


async def test_a_task_module_that_never_ends_is_stopped(project: Project) -> None:
    project.code("slow", "import time\ntime.sleep(1000)\n")
    project.reader.timeout = 1.5
    reading = asyncio.create_task(project.read())
    with pytest.raises(ReconcilerError, match=r"took longer than 1.5 seconds: nothing is applied"):
        await reading
    project.code("slow", "")
    project.reader.timeout = 60
    assert len((await project.read()).specs) == 1


async def test_a_task_module_that_eats_memory_takes_nothing_along(tmp_path: Path) -> None:
    project = Project(tmp_path, ReaderProcess(memory=256 << 20))
    project.code("hungry", "x = bytearray(1 << 30)\n")
    try:
        assert (await project.read()).faults == ()
        assert "MemoryError" in project.reader.module_faults[0]
    finally:
        await project.reader.close()


async def test_a_task_module_reads_and_prints_past_the_conversation(project: Project) -> None:
    project.code("talks", "import sys\nprint('{}')\nsys.stdout.flush()\nsys.stdin.read()\n")
    assert (await project.read()).faults == ()
    assert project.reader.module_faults == ()


async def test_a_cancelled_question_does_not_shift_the_answers(project: Project) -> None:
    first = asyncio.create_task(project.read())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len((await project.read("prod")).specs) == 1


async def test_questions_at_once_take_turns(project: Project) -> None:
    answers = await asyncio.gather(*(project.read(environment) for environment in (None, "prod", None, "prod")))
    assert [len(answer.specs) for answer in answers] == [1, 1, 1, 1]


async def test_nothing_is_left_after_closing(project: Project) -> None:
    await project.read()
    pid = child(project)
    await project.reader.close()
    assert await gone(pid)


def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    project = Project(tmp_path, ReaderProcess())
    script = (
        "import asyncio, time\nfrom reconciler.specfiles.reader import ReaderProcess\n"
        f"async def main():\n r = ReaderProcess()\n await r.read({str(project.specs)!r}, None, [], {str(tmp_path)!r})\n"
        " print(r._process.pid, flush=True)\n time.sleep(1000)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert asyncio.run(gone(pid))
