"""How a service speaks: one line a fact."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from reconciler.cli.loglines import Console, Json


def record(level: int, message: str, name: str = "reconciler.runner", *, raised: bool = False) -> logging.LogRecord:
    info = None
    if raised:
        try:
            raise ValueError("boom")
        except ValueError:
            info = sys.exc_info()
    return logging.LogRecord(name, level, __file__, 1, message, None, info)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (record(logging.INFO, "heartbeat: succeeded in 12 ms"), "heartbeat: succeeded in 12 ms"),
        (record(logging.WARNING, "beat: failed"), "warning: beat: failed"),
        (record(logging.ERROR, "lost", "redis.client"), "error: redis.client: lost"),
        (record(logging.WARNING, "x: failed: one\n  two\r\nthree\n"), "warning: x: failed: one two three"),
    ],
)
def test_a_person_reads_the_time_and_the_fact(line: logging.LogRecord, text: str) -> None:
    time, _, rest = Console().format(line).partition(" ")
    assert len(time) == len("12:00:03")
    assert rest == text


def test_a_program_reads_one_object_a_line() -> None:
    text = Json().format(record(logging.ERROR, "lost\nit", raised=True))
    assert "\n" not in text
    line = json.loads(text)
    assert (line["level"], line["logger"], line["message"]) == ("error", "reconciler.runner", "lost\nit")
    assert line["time"].endswith("Z")
    assert "ValueError: boom" in line["traceback"]
