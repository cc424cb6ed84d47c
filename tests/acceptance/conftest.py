"""What a person would have in a small repository: some tasks, some specs; and the command to run on it."""

from __future__ import annotations

from pathlib import Path

import pytest

TASKS = """
import asyncio
import time

from reconciler.registry import task


@task
def greet(name: str, times: int = 1) -> dict:
    for _ in range(times):
        print(f"hello {name}")
    return {"greeted": name}


@task
async def tick() -> None:
    await asyncio.sleep(0)


@task
def fail(why: str) -> None:
    print("about to fail")
    raise ValueError(why)


@task
def doze(seconds: float) -> None:
    time.sleep(seconds)
"""

SPECS = {
    "greet.yaml": 'task: greet\nschedule: "0 2 * * 1-5"\ntimezone: Europe/Berlin\nparams: {name: ana}\n',
    "often.yaml": 'task: tick\nschedule: "@every 1s"\n',
    "broken.yaml": "task: fail\nparams: {why: on purpose}\n",
}


@pytest.fixture
def stocked(project: Path) -> Path:
    """The project with three specs: `greet` on weekdays, `often` each second, `broken` only when triggered."""
    (project / "tasks" / "__init__.py").write_text(TASKS)
    for name, text in SPECS.items():
        (project / "specs" / name).write_text(text)
    return project
