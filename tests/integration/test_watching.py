"""What a real file system tells of changes."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from reconciler.sync.watching import changes

DEADLINE = 10.0


class Watch:
    """A watch under way; `count` bursts so far."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self.path = path
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for _ in changes(self.path):
            self.count += 1

    async def next_after(self, act: Callable[[], object]) -> None:
        """Until a burst is told of that began with `act`."""
        before = self.count
        act()
        async with asyncio.timeout(DEADLINE):
            while self.count == before:
                await asyncio.sleep(0.005)


@pytest.fixture
async def watch(tmp_path: Path) -> AsyncIterator[Watch]:
    root = tmp_path / "specs"
    (root / "reports").mkdir(parents=True)
    watch = Watch(root)
    await settled(watch)
    yield watch
    watch.task.cancel()
    await asyncio.gather(watch.task, return_exceptions=True)


async def settled(watch: Watch) -> None:
    """Until the watch is known to work: a change that is made again and again has been seen."""
    probe = watch.path / "probe.yaml"
    async with asyncio.timeout(DEADLINE):
        while not watch.count:
            probe.write_text(str(time.monotonic_ns()))
            await asyncio.sleep(0.1)
    await asyncio.sleep(0.3)


def rename_over(path: Path, text: str) -> None:
    path.with_suffix(".tmp").write_text(text)
    path.with_suffix(".tmp").rename(path)


async def test_a_saved_file_is_told_of(watch: Watch) -> None:
    await watch.next_after(lambda: (watch.path / "a.yaml").write_text("task: a"))
    await watch.next_after(lambda: rename_over(watch.path / "a.yaml", "task: b"))
    await watch.next_after(lambda: (watch.path / "a.yaml").unlink())


async def test_a_new_directory_and_what_is_saved_in_it_later_are_told_of(watch: Watch) -> None:
    new = watch.path / "v1.2" / "deep"
    await watch.next_after(lambda: new.mkdir(parents=True))
    await watch.next_after(lambda: (new / "a.yaml").write_text("task: a"))
    await watch.next_after(lambda: shutil.rmtree(watch.path / "v1.2"))


async def test_a_burst_of_a_thousand_files_is_a_few_changes(watch: Watch) -> None:
    before = watch.count

    def burst() -> None:
        for number in range(1000):
            (watch.path / "reports" / f"{number}.yaml").write_text("task: a")

    await watch.next_after(lambda: burst())
    await asyncio.sleep(0.5)
    assert watch.count - before <= 20


async def test_a_directory_that_is_replaced_is_watched_again(watch: Watch) -> None:
    other = watch.path.with_name("other")
    other.mkdir()

    def swap() -> None:
        watch.path.rename(watch.path.with_name("old"))
        other.rename(watch.path)

    await watch.next_after(swap)
    await settled_again(watch)


async def test_a_directory_that_is_gone_and_comes_back_is_watched_again(watch: Watch) -> None:
    await watch.next_after(lambda: shutil.rmtree(watch.path))
    await watch.next_after(lambda: watch.path.mkdir())
    await settled_again(watch)


async def test_a_link_that_is_switched_to_another_directory_is_followed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "specs"
    link.symlink_to("one")
    watch = Watch(link)
    await settled(watch)

    def switch() -> None:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(link)

    await watch.next_after(switch)
    await settled_again(watch)
    watch.task.cancel()
    await asyncio.gather(watch.task, return_exceptions=True)


async def test_a_single_file_is_watched_through_renames(tmp_path: Path) -> None:
    path = tmp_path / "tasks.py"
    path.write_text("x = 1")
    watch = Watch(path)
    await asyncio.sleep(0.3)
    await watch.next_after(lambda: rename_over(path, "x = 2"))
    await watch.next_after(lambda: rename_over(path, "x = 3"))
    watch.task.cancel()
    await asyncio.gather(watch.task, return_exceptions=True)


async def test_a_watch_ends_soon_after_it_is_cancelled(watch: Watch) -> None:
    watch.task.cancel()
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(watch.task, return_exceptions=True)


async def settled_again(watch: Watch) -> None:
    """Saves below the path are seen, however long the new watch took to stand."""
    watch.count = 0
    await settled(watch)
