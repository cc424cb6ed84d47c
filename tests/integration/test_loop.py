"""The loop, on real files and real stores."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.db import configs, syncs
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.settings import Settings
from reconciler.sync.loop import code_paths
from reconciler.sync.reconcile import Pass

SHORT = timedelta(milliseconds=100)


def write(project: Path, name: str, **fields: Any) -> Path:
    path = project / "specs" / f"{name}.yaml"
    lines = {"task": "report", "schedule": "'0 2 * * *'"} | fields
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return path


async def test_a_save_is_in_both_stores_without_waiting_for_the_interval(
    project: Path, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write(project, "nightly")
    async with running(watch=True) as loop:
        await loop.until(lambda: loop.has("nightly"))
        [key] = await configs.keys(loop.link)
        write(project, "nightly", schedule="'0 3 * * *'")

        async def is_in_force() -> bool:
            [now] = await configs.keys(loop.link)
            status = (await loop.scheduler.status([key.id])).get(key.id, {})
            return bool(now.digest != key.digest and status.get("digest") == now.digest)

        await loop.until(is_in_force)
        await loop.until(lambda: len(caplog.messages) >= 2)
    assert [line.partition(":")[2].strip() for line in caplog.messages] == [
        "1 created (nightly)",
        "1 updated (nightly)",
    ]


async def test_idle_passes_say_nothing_and_write_nothing(
    project: Path, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write(project, "nightly")
    async with running(interval=SHORT) as loop:
        await loop.until(lambda: loop.has("nightly"))
        await loop.passed()
        caplog.clear()
        await loop.passed(5)
        assert len(await syncs.listing(loop.link)) == 1
    assert caplog.messages == []


async def test_a_broken_file_is_said_once_and_the_last_good_state_stays(
    project: Path, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write(project, "nightly")
    async with running(interval=SHORT) as loop:
        await loop.until(lambda: loop.has("nightly"))
        caplog.clear()
        write(project, "broken", schedule="'60 * * * *'")
        write(project, "fine")
        await loop.until(lambda: bool(loop.passes and loop.passes[-1].faults))
        await loop.passed(4)
        assert await loop.names() == ["nightly"]
        assert len([line for line in caplog.messages if "broken.yaml" in line]) == 1
        assert len([sync for sync in await syncs.listing(loop.link) if not sync.is_success]) == 1
        write(project, "broken")
        await loop.until(lambda: loop.has("broken", "fine", "nightly"))
        await loop.passed()
    assert "specs are good again" in caplog.messages


async def test_a_directory_that_is_gone_deletes_nothing(
    project: Path, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write(project, "nightly")
    async with running(watch=True, interval=SHORT) as loop:
        await loop.until(lambda: loop.has("nightly"))
        shutil.move(project / "specs", project / "away")
        await loop.until(lambda: any("specs" in line and "applied" not in line for line in caplog.messages))
        said = len(caplog.messages)
        await loop.until(lambda: _failures(loop.link))
        assert await loop.names() == ["nightly"]
        shutil.move(project / "away", project / "specs")
        await loop.until(lambda: "specs are good again" in caplog.messages)
        assert len(caplog.messages) == said + 1
        write(project, "hourly", schedule="'@hourly'")
        await loop.until(lambda: loop.has("hourly", "nightly"))


async def _failures(link: Link) -> bool:
    return any(not sync.is_success for sync in await syncs.listing(link))


async def test_a_burst_of_files_is_a_few_passes_and_none_is_missed(project: Path, running: Any) -> None:
    write(project, "first")
    async with running(watch=True) as loop:
        await loop.until(lambda: loop.has("first"))
        before = len(loop.passes)
        names = [f"task-{number:04}" for number in range(1000)]
        for name in names:
            write(project, name)
        await loop.until(lambda: loop.has("first", *names))
        assert len(loop.passes) - before < 50


@pytest.mark.parametrize("trouble", [StoreUnavailable("postgresql: away"), ValueError("a bug")])
async def test_new_task_code_that_cannot_be_taken_over_ends_no_loop(
    project: Path, running: Any, trouble: Exception
) -> None:
    write(project, "nightly")
    async with running(watch=True) as loop:
        await loop.until(lambda: loop.has("nightly"))
        loop.trouble = trouble
        code = project / "tasks" / "__init__.py"
        code.write_text(code.read_text() + "\n# saved\n")
        await loop.until(lambda: loop.reloads > 0)
        write(project, "second")
        await loop.until(lambda: loop.has("nightly", "second"))


async def test_new_task_code_is_told_of_and_specs_are_held_against_it(project: Path, running: Any) -> None:
    write(project, "nightly", params="{shop: berlin}")
    async with running(watch=True) as loop:
        await loop.until(lambda: bool(loop.passes and loop.passes[-1].faults))
        assert loop.reloads == 0
        code = project / "tasks" / "__init__.py"
        code.write_text(code.read_text().replace("region", "shop"))
        await loop.until(lambda: loop.has("nightly"))
        await loop.until(lambda: loop.reloads == 1)


async def test_a_pass_that_fails_is_tried_again_before_the_interval(
    project: Path, running: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from reconciler.errors import StoreUnavailable
    from reconciler.sync import source as module

    write(project, "nightly")
    real, failures = module.reconcile, [StoreUnavailable("postgresql: x: refused"), KeyError("odd")]

    async def flaky(*args: Any) -> Pass:
        if failures:
            raise failures.pop(0)
        return await real(*args)

    monkeypatch.setattr(module, "reconcile", flaky)
    async with running() as loop:
        await loop.until(lambda: loop.has("nightly"))
        await loop.until(lambda: bool(loop.passes))
    assert caplog.messages[0] == "postgresql: x: refused"
    assert "postgresql: back" in caplog.messages


async def test_what_changes_during_a_pass_leads_to_one_more_and_never_to_two_at_once(
    project: Path, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.sync import source as module

    write(project, "nightly")
    real, under_way, most = module.reconcile, 0, 0

    async def slow(*args: Any) -> Pass:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if not (project / "specs" / "second.yaml").exists():
            write(project, "second")  # too late for what was read
            for _ in range(5):
                await loop.scheduler.syncing.ask("default")
        outcome = await real(*args)
        under_way -= 1
        return outcome

    monkeypatch.setattr(module, "reconcile", slow)
    async with running(watch=True) as loop:
        await loop.until(lambda: loop.has("nightly", "second"))
    assert most == 1


async def test_a_source_that_is_left_to_another_service_is_tried_again_soon(
    project: Path, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.sync import source as module

    write(project, "nightly")
    real, busy = module.reconcile, [Pass(is_busy=True), Pass(is_busy=True)]

    async def contended(*args: Any) -> Pass:
        return busy.pop() if busy else await real(*args)

    monkeypatch.setattr(module, "reconcile", contended)
    async with running() as loop:  # with an interval of an hour
        await loop.until(lambda: loop.has("nightly"))


async def test_two_services_on_one_database_apply_a_change_once(project: Path, running: Any) -> None:
    write(project, "nightly")
    async with running(interval=SHORT) as one, running(interval=SHORT) as two:
        await one.until(lambda: one.has("nightly"))
        write(project, "hourly", schedule="'@hourly'")
        await one.until(lambda: one.has("hourly", "nightly"))
        await asyncio.gather(one.passed(3), two.passed(3))
        assert sum(sync.created for sync in await syncs.listing(one.link)) == 2


async def test_task_modules_are_looked_for_where_the_settings_lie(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "single.py").touch()
    modules = ("tasks", "single", "a.b")
    settings = Settings(directory=tmp_path, task_modules=modules)
    assert code_paths(settings) == [tmp_path / "a" / "b", tmp_path / "single.py", tmp_path / "tasks"]
