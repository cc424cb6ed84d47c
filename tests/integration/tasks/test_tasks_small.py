"""`disk.free` and `examples.*`, and what holds for every task of the library."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.registry import TASKS, params_schema
from reconciler.registry.signature import signature_of

ROOT = Path(__file__).parents[3]
CallTask = Callable[..., Any]


def test_a_disk_with_enough_room_is_a_success(call_task: CallTask, tmp_path: Path) -> None:
    outcome = call_task("disk.free", path=str(tmp_path), at_least="1B")
    assert outcome.is_success, outcome.error
    assert outcome.result["free_bytes"] > 0
    assert 0 <= outcome.result["free_percent"] <= 100
    assert outcome.log.startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("at_least", ["100%", "1000000 TB", "100000000TiB"])
def test_a_disk_that_is_too_full_is_a_failure(call_task: CallTask, at_least: str) -> None:
    outcome = call_task("disk.free", path="/", at_least=at_least)
    assert outcome.error.startswith("DiskFullError: ")
    assert outcome.error.endswith(f" free at /, wanted {at_least}")


@pytest.mark.parametrize("at_least", ["10", "-1%", "101%", "5 gb", "", "lots", "1e9B", "9" * 400 + "B"])
def test_an_amount_that_is_neither_share_nor_size_is_one_clear_line(call_task: CallTask, at_least: str) -> None:
    outcome = call_task("disk.free", at_least=at_least)
    assert outcome.error.startswith("ValueError: at_least ")
    assert outcome.error.endswith("is neither a share nor a size; examples: '10%', '5GB', '500MiB'")


def test_a_place_that_is_not_there_is_named(call_task: CallTask) -> None:
    assert "'/no/such'" in call_task("disk.free", path="/no/such").error


def test_the_examples_do_what_they_say(call_task: CallTask) -> None:
    heartbeat = call_task("examples.heartbeat", message="hello")
    assert (heartbeat.result, heartbeat.log) == ({"message": "hello"}, "INFO task.spec: hello at 03:04:05\n")
    assert call_task("examples.wait", duration="1ms").is_success
    late = call_task("examples.wait", duration="1h", limit=0.01)
    assert late.error == "timed out after 10ms"
    words = call_task("examples.count_words", text="one two  three")
    assert (words.result, words.log) == (3, "3 words\n")
    failed = call_task("examples.fail", reason="why not")
    assert (failed.is_success, failed.error) == (False, "RuntimeError: why not")
    assert failed.log == "about to fail, as asked\n"
    assert "raise RuntimeError(reason)" in failed.traceback


def test_every_task_says_what_it_does_and_types_what_it_takes(library: None) -> None:
    assert len(TASKS) >= 10
    for task in TASKS.values():
        assert task.doc.endswith("."), task.name
        signature = inspect.signature(task.function)
        assert signature.return_annotation is not inspect.Signature.empty, task.name
        for parameter in signature_of(task).parameters.values():
            assert parameter.annotation is not Any, f"{task.name}.{parameter.name}"
        assert params_schema(task)["additionalProperties"] is False


def test_every_task_and_parameter_is_in_the_table_of_the_docs(library: None) -> None:
    text = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    for task in TASKS.values():
        section = re.search(rf"^### `{re.escape(task.name)}`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
        assert section, f"{task.name} has no section in docs/tasks.md"
        rows = re.findall(r"^\| `(\w+)`", section[1], re.MULTILINE)
        assert rows == list(signature_of(task).parameters), task.name


def test_the_specs_of_this_repository_are_without_fault(library: None) -> None:
    from reconciler.specfiles import SpecReader, check_against

    for environment in (None, "prod"):
        read = SpecReader(ROOT / "specs", environment=environment, check=check_against(TASKS)).read()
        assert [str(fault) for fault in (*read.faults, *read.warnings)] == []
        assert len(read.specs) >= 8
