"""A service without the task modules: by what it checks the specs that it syncs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from reconciler.db import runners
from reconciler.db.link import Link
from reconciler.errors import ReconcilerError
from reconciler.registry.catalogue import as_text
from reconciler.settings import Settings
from reconciler.specfiles.reader import ReaderProcess
from reconciler.sync.borrowing import Borrowing

BUILD = {"additionalProperties": False, "parameters": [["rows", False, {"type": "int"}]]}
WRONG = "params.rows: 'x' is not a whole number"


@pytest.fixture
async def reader() -> AsyncIterator[ReaderProcess]:
    one = ReaderProcess()
    yield one
    await one.close()


async def faults(reader: ReaderProcess, settings: Settings, catalogue: dict[str, Any] | None) -> list[str]:
    specs = settings.directory / "specs"
    found = await reader.read(specs, None, settings.task_modules, settings.directory, catalogue=catalogue)
    return [f"{fault.field}: {fault.what}" for fault in found.faults]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "a.yaml").write_text("task: reports.build\nparams: {rows: x}\n")
    return Settings(directory=tmp_path, task_modules=("jobs",))


async def test_the_code_then_the_file_then_the_runners_then_nothing(settings: Settings, link: Link) -> None:
    borrowing = Borrowing(settings, link)
    assert await borrowing.catalogue() == {}
    await runners.register(link, uuid4(), host="h", pid=1, queues=["default"], tasks={"t": {}}, lease=2)
    assert await borrowing.catalogue() == {"t": {}}
    (settings.directory / "tasks.json").write_text(as_text({"reports.build": BUILD}))
    with_file = settings.model_copy(update={"catalogue": "tasks.json"})
    assert await Borrowing(with_file, link).catalogue() == {"reports.build": BUILD}
    (settings.directory / "jobs.py").touch()
    assert await Borrowing(with_file, link).catalogue() is None


async def test_a_file_that_is_no_catalogue_is_an_error_and_not_nothing(settings: Settings, link: Link) -> None:
    with pytest.raises(ReconcilerError, match=r"tasks.json: cannot be read: No such file .*schema --catalogue"):
        await Borrowing(settings.model_copy(update={"catalogue": "tasks.json"}), link).catalogue()


async def test_the_process_that_reads_goes_by_what_it_is_given_and_by_the_next_one(
    reader: ReaderProcess, settings: Settings
) -> None:
    assert await faults(reader, settings, {}) == []  # the runner decides
    assert reader.module_faults == ()
    assert await faults(reader, settings, {"reports.build": BUILD}) == [WRONG]
    [fault] = await faults(reader, settings, {"reports.biuld": {}})
    assert fault == "task: no task named 'reports.build'; did you mean 'reports.biuld'?"
    assert await faults(reader, settings, {}) == []


async def test_with_code_the_process_that_reads_goes_by_the_code(reader: ReaderProcess, settings: Settings) -> None:
    (settings.directory / "jobs.py").write_text(
        "from reconciler.registry import task\n\n@task('reports.build')\ndef build(rows: int) -> None: ...\n"
    )
    assert await faults(reader, settings, None) == [WRONG]
