"""The peers of the same run beside us: a table a case, a row a peer, and what a picture needs of it.

Whatever did not get to the end says so in its own row.
"""

from __future__ import annotations

from collections.abc import Sequence

from drawing import Bar, bars
from figures import Figures, Line, shown

THROUGHPUT, TOGETHER, SYNC = "peers: throughput", "peers: many at one instant", "peers: sync"
OWN = "reconciler"
COLUMNS = {
    THROUGHPUT: {
        "per_s": "rate",
        "durable_rows": "a row each",
        "cpu_s_per_1000": "CPU time of 1,000",
        "rss_mb": "memory",
    },
    TOGETHER: {"missed": "not started", "p50_ms": "median start", "p99_ms": "p99", "max_ms": "last start"},
    SYNC: {"seconds": "time", "rss_mb": "memory"},
}
TITLES = {
    THROUGHPUT: "Throughput: no-op tasks that are there, or due, at once",
    TOGETHER: "Due together, every 5 s",
    SYNC: "Sync: objects from YAML files",
}


def tables(figures: Figures) -> str:
    """All of them, in Markdown; a case that nobody measured has none."""
    return "\n\n".join(table(figures, case) for case in COLUMNS if lines_of(figures, case))


def table(figures: Figures, case: str) -> str:
    columns, lines = COLUMNS[case], lines_of(figures, case)
    has_notes = any(remark(line) for line in lines)
    names = ["n", "program", *columns.values(), *(["remarks"] if has_notes else [])]
    rows = [f"**{TITLES[case]}**", "", f"| {' | '.join(names)} |"]
    rows.append("|---" * len(names) + "|")
    for line in lines:
        step = line["case"].removeprefix(case).removeprefix(", ")
        cells = [f"{line['n']:,}", label(line) + (f", {step}" if step else "")]
        cells += [cell(line, field) for field in columns]
        rows.append(f"| {' | '.join([*cells, *([remark(line)] if has_notes else [])])} |")
    return "\n".join(rows)


def lines_of(figures: Figures, case: str) -> list[Line]:
    """Those of the case and of its steps: by size, ours first of each."""
    found = [line for line in figures.lines if line["case"].startswith(case) and line.get("peer")]
    return sorted(found, key=lambda line: (line["n"], line["case"], not is_own(line), str(line["peer"])))


def is_own(line: Line) -> bool:
    return str(line["peer"]).startswith(OWN)


def label(line: Line) -> str:
    """`Celery, RedBeat (5.4.0)`"""
    return f"{line['peer']} ({line['version']})" if line.get("version") else str(line["peer"])


def remark(line: Line) -> str:
    return "; ".join(str(line[field]).replace("|", "/") for field in ("failed", "note") if line.get(field))


def cell(line: Line, field: str) -> str:
    if field == "durable_rows":
        return "yes" if line.get(field) else "no"
    return missed(line) if field == "missed" else shown(field, line.get(field))


def missed(line: Line) -> str:
    if line.get("missed") is None:
        return "–"
    return f"{line['missed']:,} ({line['missed'] / due(line):.0%})" if line["missed"] else "none"


def due(line: Line) -> int:
    return line["n"] * line["instants"]


def throughput_picture(figures: Figures) -> str | None:
    """Of the largest size that was run."""
    lines = [line for line in largest(lines_of(figures, THROUGHPUT)) if line.get("per_s")]
    rows = [Bar(str(line["peer"]), line["per_s"], shown("per_s", line["per_s"]), is_own(line)) for line in lines]
    rows.sort(key=lambda bar: -bar.value)
    return bars(f"No-op tasks a second, {lines[0]['n']:,} of them", "tasks a second", rows) if rows else None


def together_picture(figures: Figures) -> str | None:
    lines = [line for line in largest(lines_of(figures, TOGETHER)) if line.get("missed") is not None]
    rows = [Bar(str(line["peer"]), 100 * line["missed"] / due(line), missed(line), is_own(line)) for line in lines]
    title = f"{lines[0]['n']:,} due at one second, every 5 s: not started" if lines else ""
    return bars(title, "% of what was due", sorted(rows, key=lambda bar: bar.value)) if rows else None


def largest(lines: Sequence[Line]) -> list[Line]:
    most = max((line["n"] for line in lines), default=0)
    return [line for line in lines if line["n"] == most]
