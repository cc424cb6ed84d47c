"""The kept figures: the newest line of each case, size and peer, in `docs/figures.jsonl`.

It knows the file and how a figure reads, and not what any case means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
KEPT = DOCS / "figures.jsonl"
Line = Mapping[str, Any]


class Figures:
    """Lines by case, size and peer; a later one takes the place of an earlier one."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = list({(line["case"], line["n"], line.get("peer")): line for line in lines}.values())

    def of(self, case: str, n: int | None = None) -> list[Line]:
        """All lines of that case, in the order of their sizes; with `n` those of one size."""
        found = [line for line in self.lines if line["case"] == case and n in (None, line["n"])]
        return sorted(found, key=lambda line: line["n"])

    def value(self, case: str, n: int | None, field: str, *, best: Any = max) -> float | None:
        """One figure; of several lines the `best`. None: not measured."""
        found = [float(line[field]) for line in self.of(case, n) if line.get(field) is not None]
        return best(found) if found else None


def read(*paths: Path) -> Figures:
    return Figures(json.loads(text) for path in paths for text in path.read_text().splitlines() if text.strip())


def keep(figures: Figures) -> None:
    """Write them down, in an order that a difference is easy to read in."""
    ordered = sorted(figures.lines, key=lambda line: (line["case"], str(line.get("peer", "")), line["n"]))
    KEPT.write_text("".join(json.dumps(line) + "\n" for line in ordered))


def shown(field: str, value: float | None) -> str:
    """A figure as it reads in a table, by the name of its field."""
    if value is None:
        return "–"
    if field.endswith("_ms"):
        return length(value / 1000)
    if field.endswith("seconds"):
        return length(value)
    if field.endswith("per_s"):
        return f"{value:,.0f}/s"
    if field.endswith("_mb"):
        return f"{value:,.0f} MiB"
    if field.endswith("per_1000"):
        return f"{value:.2g} s"
    if field.startswith("share"):
        return f"{value:.0%}"
    return f"{value:,.0f}"


def length(seconds: float) -> str:
    """In milliseconds up to a second."""
    if seconds < 0.01:
        return f"{seconds * 1000:.2g} ms"
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.3g} s"
