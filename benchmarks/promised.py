"""What is promised about speed, beside what was measured and what the stores and Python alone allow: one table.

A row names a line of the figures, and nothing is worked out but shares.
"""

from __future__ import annotations

from dataclasses import dataclass

from figures import Figures, shown

THROUGHPUT, INSTANT, LAG = "throughput: async no-op", "instant: all ticks", "lag: 100 a second, spread"
NEW, SAME = "sync: apply, all new", "sync: apply, nothing changed"
PASS, SAVED = "sync: in the service, nothing changed", "sync: in the service, saved until in both stores"
DECIDED, COMMIT = ("floor: decide and finish around an asyncio no-op", "per_s"), ("floor: commit", "p50_ms")


@dataclass(frozen=True, slots=True)
class Promise:
    """`at_most` and `at_least` are in the unit of the field; `floor` is a case and its field, the best
    of its sizes. To a duration a rate is the time that all `n` take at it.
    """

    what: str
    case: str
    n: int | None
    field: str
    at_least: float | None = None
    at_most: float | None = None
    floor: tuple[str, str] | None = None

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"≤ {shown(self.field, self.at_most)}" if self.at_most else "none"
        return f"≥ {shown(self.field, self.at_least)}" if self.at_least is not None else ""

    def is_met(self, value: float) -> bool:
        return value <= self.at_most if self.at_most is not None else value >= (self.at_least or 0)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that one command makes."""

    command: str
    rows: tuple[Promise, ...]


PARTS = (
    Part(
        "throughput.py",
        (
            Promise("10,000 async no-ops due at once", THROUGHPUT, 10_000, "per_s", at_least=10_000, floor=DECIDED),
            Promise("the same with 100,000", THROUGHPUT, 100_000, "per_s", floor=DECIDED),
            Promise(
                "10,000 with the default of 100 at once", f"{THROUGHPUT}, 100 at once", 10_000, "per_s", floor=DECIDED
            ),
            Promise("CPU time of 1,000 of them, all processes", THROUGHPUT, 10_000, "cpu_s_per_1000"),
            Promise("a backlog of few names", f"{THROUGHPUT}, backlog of few names", 10_000, "per_s", floor=DECIDED),
            Promise("sync no-ops in 2 worker processes", "throughput: sync no-op in worker processes", 2000, "per_s"),
            Promise(
                "tasks of 100 ms, share of what the slots allow",
                "throughput: async, sleeps 100 ms",
                5000,
                "share_of_ceiling",
            ),
        ),
    ),
    Part(
        "instant.py",
        (
            Promise("10,000 at one second: not started", INSTANT, 10_000, "missed", at_most=0),
            Promise("median start", INSTANT, 10_000, "p50_ms", at_most=500),
            Promise("last start", INSTANT, 10_000, "max_ms", at_most=1000, floor=DECIDED),
        ),
    ),
    Part(
        "lag.py",
        (
            Promise("start lag, 10,000 held, 100 a second: p99", LAG, 10_000, "p99_ms", at_most=25, floor=COMMIT),
            Promise("the same with 1,000 a second", LAG.replace("100 a", "1000 a"), 10_000, "p99_ms", floor=COMMIT),
            Promise("100,000 held, 100 a second: p99", LAG, 100_000, "p99_ms", floor=COMMIT),
            Promise("memory of a runner that holds 10,000", LAG, 10_000, "rss_mb"),
            Promise("of one that holds 100,000", LAG, 100_000, "rss_mb"),
        ),
    ),
    Part(
        "sync.py",
        (
            Promise("apply of 10,000 new specs", NEW, 10_000, "seconds", at_most=3),
            Promise("its peak memory", NEW, 10_000, "rss_mb", at_most=250),
            Promise("apply of 10,000, nothing changed", SAME, 10_000, "seconds", at_most=0.8),
            Promise("a pass of the service over 10,000", PASS, 10_000, "seconds", at_most=0.1),
            Promise("a pass of the service over 100,000", PASS, 100_000, "seconds", at_most=1),
            Promise("one of 10,000 saved, until in both stores", SAVED, 10_000, "seconds", at_most=0.15),
        ),
    ),
    Part(
        "startup.py",
        (
            Promise("`reconciler --help`", "startup: --help", None, "p50_ms", at_most=120),
            Promise(
                "`reconciler validate` of ten files", "startup: validate of ten files", None, "p50_ms", at_most=350
            ),
            Promise("`reconciler status`", "startup: status", None, "p50_ms", at_most=400),
        ),
    ),
    Part(
        "schedule.py",
        (Promise("`next_after` of one schedule", "schedule: next_after */5 * * * *", None, "per_s", at_least=100_000),),
    ),
)


def promised(figures: Figures) -> str:
    """The table, in Markdown."""
    head = [
        "| what | measured | wanted | met | the floor | share | `python benchmarks/…` |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(head + [row(figures, part.command, promise) for part in PARTS for promise in part.rows])


def floors(figures: Figures) -> str:
    """All floors by themselves; CPU time is that of this process and the server."""
    head = ["| floor | in one statement | rate | median | CPU time of 1,000 |", "|---" * 5 + "|"]
    lines = [line for line in figures.lines if line["case"].startswith("floor: ")]
    for line in lines:
        spent = [value for field, value in line.items() if field.endswith("cpu_s_per_1000")]
        cells = [line["case"].removeprefix("floor: "), f"{line['n']:,}"]
        cells += [shown(field, line.get(field)) for field in ("per_s", "p50_ms")]
        head.append(f"| {' | '.join([*cells, shown('cpu_s_per_1000', sum(spent) if spent else None)])} |")
    return "\n".join(head) if lines else ""


def row(figures: Figures, command: str, promise: Promise) -> str:
    value, floor = figures.value(promise.case, promise.n, promise.field), floor_of(figures, promise)
    met, share = "", ""
    if value is not None and promise.target:
        met = "yes" if promise.is_met(value) else "**no**"
    if value and floor:
        share = f"{value / floor if promise.field == 'per_s' else floor / value:.0%}"
    limit = shown(promise.field, floor) if promise.floor else ""
    cells = [promise.what, shown(promise.field, value), promise.target, met, limit, share, f"`{command}`"]
    return f"| {' | '.join(cells)} |"


def floor_of(figures: Figures, promise: Promise) -> float | None:
    """In the unit of the field."""
    if promise.floor is None:
        return None
    case, field = promise.floor
    if field == promise.field or field != "per_s":
        return figures.value(case, None, field, best=max if field == "per_s" else min)
    rate = figures.value(case, None, field)
    return 1000 * (promise.n or 0) / rate if rate else None
