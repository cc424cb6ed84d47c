"""Figures to pages: `python benchmarks/pictures.py [FILE ...]`.

Takes the lines of these files, which benchmarks wrote, into `docs/figures.jsonl`; draws the pictures of
`docs/pictures/` and writes the tables of `docs/performance.md` from all that is kept there. So page and figures never
differ. It measures nothing.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from beside import tables, throughput_picture, together_picture
from drawing import Bar, bars
from figures import DOCS, KEPT, Figures, keep, read, shown
from promised import DECIDED, floors, promised

PAGE, PICTURES = DOCS / "performance.md", DOCS / "pictures"
# What stands for a picture where it cannot be seen.
ALT = {
    "throughput": "Runs a second, by case",
    "instant": "How late many starts at one second are",
    "lag": "How late starts among many schedules are",
    "sync": "From files to both stores",
    "peers-throughput": "Tasks a second, beside others",
    "peers-instant": "Not started of what was due at one second, beside others",
}
PERCENTILES = {"p50_ms": "median", "p99_ms": "p99", "p999_ms": "p99.9", "max_ms": "last"}


def main(files: list[Path]) -> None:
    keep(read(*[path for path in (KEPT, *files) if path in files or path.exists()]))
    figures = read(KEPT)
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.svg"):
        if old.stem in ALT:
            old.unlink()
    for name, drawn in pictures(figures).items():
        (PICTURES / f"{name}.svg").write_text(drawn)
    PAGE.write_text(filled(PAGE.read_text(), figures))


def filled(page: str, figures: Figures) -> str:
    """The page with what the figures say between its markers."""
    shown = [f"![{ALT[name]}](pictures/{name}.svg)" for name in pictures(figures)]
    peers = [link for link in shown if "(pictures/peers-" in link]
    parts = {
        "machine": machine(figures),
        "promised": promised(figures),
        "floors": floors(figures),
        "pictures": "\n\n".join(link for link in shown if link not in peers),
        "beside": "\n\n".join(filter(None, [*peers, tables(figures)])),
    }
    for name, text in parts.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        page = between.sub(lambda found, text=text: f"{found[1]}{text}\n{found[2]}", page)
    return page


def machine(figures: Figures) -> str:
    said = "{n} cores of an {cpu}, {memory_gb} GiB, {system}; "
    said += "Python {python}, PostgreSQL {postgresql}, Redis {redis}; {day}."
    return "".join(said.format(**line) for line in figures.of("machine")[:1]) or "Not measured."


def pictures(figures: Figures) -> dict[str, str]:
    """By name of the file; one whose figures are not there is missing."""
    drawn = {
        "throughput": throughput(figures),
        "instant": by_percentile(figures, "instant: all ticks", "Due at the same second, every 5 s: how late"),
        "lag": by_percentile(figures, "lag: ", "Starts among many schedules: how late"),
        "sync": sync(figures),
        "peers-throughput": throughput_picture(figures),
        "peers-instant": together_picture(figures),
    }
    return {name: picture for name, picture in drawn.items() if picture}


def throughput(figures: Figures) -> str | None:
    rows = of_field(figures, "throughput: ", "per_s")
    floor = figures.value(DECIDED[0], None, DECIDED[1])
    limit = ("decide and finish alone", floor) if floor else None
    return bars("Due, decided, run, committed", "runs a second", rows, limit=limit) if rows else None


def sync(figures: Figures) -> str | None:
    rows = of_field(figures, "sync: ", "seconds")
    return bars("From files to both stores", "seconds", rows) if rows else None


def of_field(figures: Figures, begins: str, field: str) -> list[Bar]:
    """That field of each case that begins so: case by case, each by size."""
    return [
        Bar(f"{line['case'].removeprefix(begins)} ({line['n']:,})", line[field], shown(field, line[field]))
        for line in figures.lines
        if line["case"].startswith(begins) and field in line
    ]


def by_percentile(figures: Figures, begins: str, title: str) -> str | None:
    """Three bars for each case that begins so, by size."""
    lines = [line for line in figures.lines if line["case"].startswith(begins) and "p50_ms" in line]
    rows = []
    for line in sorted(lines, key=lambda line: (line["n"], line["case"])):
        words = ": ".join(filter(None, [f"{line['n']:,}", line["case"].removeprefix(begins)]))
        fields = [field for field in PERCENTILES if field in line][:3]
        rows += [Bar(f"{words}, {PERCENTILES[field]}", line[field], shown(field, line[field])) for field in fields]
    return bars(title, "milliseconds", rows) if rows else None


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
