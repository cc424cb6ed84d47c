"""The page about performance says what the kept figures say; the figures themselves are the benchmarks' affair."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from beside import tables
from drawing import WIDTH, Axis, Bar, axis_for, bars
from figures import KEPT, Figures, length, read
from measuring import percentiles
from pictures import PAGE, PICTURES, filled, pictures
from promised import DECIDED, PARTS, THROUGHPUT, Promise, promised, row

PROMISE = Promise("no-ops", THROUGHPUT, 10, "per_s", at_least=100, floor=DECIDED)
LINE = {"case": THROUGHPUT, "n": 10, "per_s": 120.0}


def test_the_tables_of_the_page_are_what_the_kept_figures_give() -> None:
    assert PAGE.read_text() == filled(PAGE.read_text(), read(KEPT)), "make bench-page"


def test_the_pictures_are_what_the_kept_figures_give() -> None:
    kept = {path.stem: path.read_text() for path in PICTURES.glob("*.svg")}
    assert {name: kept.get(name) for name in pictures(read(KEPT))} == pictures(read(KEPT)), "make bench-page"


def test_every_command_of_the_table_is_a_benchmark() -> None:
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    assert [part.command for part in PARTS if not (benchmarks / part.command).exists()] == []


def test_a_later_line_takes_the_place_of_an_earlier_one_of_its_case_size_and_peer() -> None:
    figures = Figures([LINE, LINE | {"peer": "other", "per_s": 3.0}, LINE | {"per_s": 90.0}])
    assert [line["per_s"] for line in figures.of(THROUGHPUT)] == [90.0, 3.0]


@pytest.mark.parametrize(
    "lines, cells",
    [
        ([], "–|≥ 100/s||–||"),
        ([LINE], "120/s|≥ 100/s|yes|–||"),
        ([LINE | {"per_s": 60}], "60/s|≥ 100/s|**no**|–||"),
        ([LINE, {"case": DECIDED[0], "n": 1, "per_s": 200}], "120/s|≥ 100/s|yes|200/s|60%|"),
    ],
)
def test_a_row_compares_with_what_was_wanted_and_with_the_floor(lines: list[dict[str, object]], cells: str) -> None:
    found = [cell.strip() for cell in row(Figures(lines), "x.py", PROMISE).split("|")]
    assert "|".join(found[2:7]) + "|" == cells


def test_a_length_of_time_is_held_against_the_time_that_the_floor_would_take() -> None:
    last = Promise("last", "instant: all ticks", 1000, "max_ms", at_most=1000, floor=DECIDED)
    figures = Figures([{"case": last.case, "n": 1000, "max_ms": 200.0}, {"case": DECIDED[0], "n": 1, "per_s": 10_000}])
    assert "| 200 ms | ≤ 1 s | yes | 100 ms | 50% |" in row(figures, "instant.py", last)


def test_every_row_of_the_table_reads_without_any_figure() -> None:
    table = promised(Figures([])).splitlines()
    assert {line.count("|") for line in table} == {8}
    assert len(table) == 2 + sum(len(part.rows) for part in PARTS)


def test_a_peer_that_broke_down_has_its_row_with_the_reason() -> None:
    case = "peers: many at one instant"
    shared = {"case": case, "n": 1000, "instants": 6, "durable_rows": False}
    broken = shared | {"peer": "Other", "version": "1.2", "missed": 3000, "failed": "50 % not started"}
    own = shared | {
        "peer": "reconciler",
        "version": "0.1",
        "missed": 0,
        "p50_ms": 80.0,
        "p99_ms": 120.0,
        "max_ms": 150.0,
    }
    lines = tables(Figures([broken, own])).splitlines()
    assert lines[-2].startswith("| 1,000 | reconciler (0.1) | none | 80 ms |")
    assert lines[-1] == "| 1,000 | Other (1.2) | 3,000 (50%) | – | – | – | 50 % not started |"


@pytest.mark.parametrize(
    "seconds, words", [(0.0003, "0.3 ms"), (0.025, "25 ms"), (0.9994, "999 ms"), (3.456, "3.46 s")]
)
def test_lengths_read_in_the_unit_that_fits(seconds: float, words: str) -> None:
    assert length(seconds) == words


@pytest.mark.parametrize(
    "values, axis",
    [
        ([6.0, 1.0], Axis(0, (0, 2, 4, 6))),
        ([0.9], Axis(0, (0, 0.2, 0.4, 0.6, 0.8, 1.0))),
        ([13_000, 200], Axis(0, (0, 5000, 10_000, 15_000))),
        ([0.5, 300], Axis(0.1, (0.1, 1, 10, 100, 1000))),
        ([0.0], Axis(0, (0, 0.5, 1.0))),
    ],
)
def test_an_axis_has_round_ticks_up_to_beyond_the_biggest(values: list[float], axis: Axis) -> None:
    found = axis_for(values)
    assert (found.is_log, found.ticks[-1]) == (axis.is_log, axis.ticks[-1])
    assert max(values) <= found.ticks[-1]


def test_a_picture_is_white_behind_and_inside_its_frame() -> None:
    drawn = ET.fromstring(
        bars("A & B", "s", [Bar("a < b", 1.0, "1 s"), Bar("c", 5.0, "5 s", False)], limit=("floor", 7))
    )
    background, *rest = drawn.iter("{http://www.w3.org/2000/svg}rect")
    assert background.get("fill") == "#fff"
    assert [float(bar.get("x", 0)) + float(bar.get("width", 0)) < WIDTH for bar in rest] == [True, True]


def test_a_percentile_is_a_value_that_was_there() -> None:
    found = percentiles([0.004, 0.001, 0.003, 0.002])
    assert found == pytest.approx({"p50_ms": 2, "p99_ms": 4, "p999_ms": 4, "max_ms": 4})
    assert percentiles([]) == {}
