"""The benchmarks at a tiny size: that they get to their end and say what they are asked, not what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import instant
import lag
import measuring
import pytest
import schedule
import simulate
import startup
import sync
import throughput

SIZE = 20
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def own() -> Iterator[measuring.Stores]:
    """What each case has for itself otherwise."""
    with measuring.stores() as found:
        yield found


@pytest.fixture
def on_own(own: measuring.Stores, monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], None]:
    """Has a benchmark work on these stores."""
    own.ask("delete from task_executions")
    return lambda module: monkeypatch.setattr(module, "stores", lambda: nullcontext(own))


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lines:
    """What was reported."""
    file = tmp_path / "figures.jsonl"
    monkeypatch.setattr(measuring, "OUT", str(file))
    return lambda: [json.loads(text) for text in file.read_text().splitlines()]


def test_stores_of_a_benchmark_are_durable_and_its_own(own: measuring.Stores) -> None:
    settings = ("fsync", "synchronous_commit", "full_page_writes", "max_connections")
    assert [own.ask(f"show {name}")[0][0] for name in settings] == ["on", "on", "on", str(measuring.CONNECTIONS)]
    assert "postgres" in Path(f"/proc/{own.postgres_pid}/comm").read_text()
    assert "redis" in Path(f"/proc/{own.redis_pid}/comm").read_text()


def test_what_a_backend_used_counts_when_it_has_gone(own: measuring.Stores) -> None:
    used = measuring.Usage(own.postgres_pid)
    own.ask("select count(*) from generate_series(1, 1000000)")
    assert used.cpu() > 0
    assert measuring.Usage(os.getpid()).rss_mb() > 10


def test_throughput_counts_from_the_instant_to_the_last_row(
    own: measuring.Stores, on_own: Callable[[ModuleType], None], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_own(throughput)
    monkeypatch.setattr(throughput, "AHEAD", 3)
    throughput.due_at_once("throughput: async no-op", "own.nothing", SIZE)
    [line] = lines()
    assert (line["case"], line["n"]) == ("throughput: async no-op", SIZE)
    assert line["per_s"] == pytest.approx(SIZE / line["seconds"], rel=0.02)
    assert {"cpu_s_per_1000", "runner_cpu_s_per_1000", "postgresql_cpu_s_per_1000", "rss_mb"} <= line.keys()
    assert "failed" not in line


def test_a_backlog_is_made_up_for_as_a_whole(on_own: Callable[[ModuleType], None], lines: Lines, own: Any) -> None:
    on_own(throughput)
    throughput.backlog("throughput: async no-op, backlog of few names", SIZE * throughput.CATCH_UP)
    [line] = lines()
    assert line["n"] == SIZE * throughput.CATCH_UP
    assert own.ask("select count(*) from task_executions where is_success") == [(line["n"],)]


def test_each_tick_of_many_at_one_instant_has_a_line(
    on_own: Callable[[ModuleType], None], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_own(instant)
    monkeypatch.setattr(instant, "EVERY", timedelta(seconds=1))
    instant.measure(SIZE, 2)
    assert [line["case"] for line in lines()] == ["instant: tick 1", "instant: tick 2", "instant: all ticks"]
    assert [line["due"] for line in lines()] == [SIZE, SIZE, 2 * SIZE]
    assert all(0 <= line["missed"] <= line["due"] for line in lines())


def test_lag_is_told_of_all_that_was_due(
    on_own: Callable[[ModuleType], None], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_own(lag)
    monkeypatch.setattr(lag, "WARM", timedelta(seconds=1))
    lag.measure(SIZE, 10, 2, lag.JITTER)
    [line] = lines()
    assert line["due"] == 20
    assert 0 <= line["p50_ms"] <= line["p99_ms"] <= line["p999_ms"] <= line["max_ms"]


def test_sync_is_told_of_commands_and_of_a_service(
    on_own: Callable[[ModuleType], None], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_own(sync)
    monkeypatch.setattr(sync, "PASSES", 1)
    sync.main([SIZE])
    cases = {line["case"]: line for line in lines()}
    assert {line["n"] for line in cases.values()} == {SIZE}
    assert {case.partition(":")[0] for case in cases} == {"sync"}
    assert cases["sync: apply, all new"].keys() >= {"seconds", "rss_mb", "cpu_s_per_1000"}
    assert cases["sync: in the service, saved until in both stores"]["seconds"] > 0
    assert cases["sync: plan, first word on a terminal"]["p50_ms"] > 0


def test_startup_is_told_by_command_with_where_its_imports_went(
    on_own: Callable[[ModuleType], None], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_own(startup)
    monkeypatch.setattr(startup, "FILES", SIZE)  # as many as another case has left in the same stores
    startup.main(1)
    found = {line["case"]: line for line in lines()}
    assert all(0 < found[case]["p50_ms"] <= found[case]["max_ms"] for case in startup.CASES)
    assert all(found[f"{case}: imports: all"]["self_ms"] > 0 for case in startup.CASES)


def test_what_needs_no_stores_is_told_by_case(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "COUNT", 200)
    monkeypatch.setattr(simulate, "CASES", {"spread over the hour": simulate.CASES["spread over the hour"]})
    schedule.main()
    simulate.main([2])
    assert [line["case"].partition(":")[0] for line in lines()] == ["schedule"] * 4 + ["simulate"]


def test_one_case_that_fails_keeps_no_other_from_its_turn(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise SystemExit("it does not work")

    turns: list[str] = []
    with pytest.raises(SystemExit, match="1"):
        measuring.each(fail, lambda: turns.append("second"))
    assert turns == ["second"]
    assert capsys.readouterr().err == "it does not work\n"
