"""Bars and lines as SVG: small, the same for the same figures, readable on a dark page as well as on a light one.

It knows nothing of what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LABELS, VALUES = 840, 340, 110
BAR, GAP, TOP, FOOT, STRIP = 16, 8, 52, 44, 48
OWN, OTHER, LIMIT, GRID, INK = "#1d4ed8", "#9ca3af", "#b45309", "#e5e7eb", "#374151"


@dataclass(frozen=True, slots=True)
class Bar:
    """`shown` stands behind it; what is not ours is grey."""

    label: str
    value: float
    shown: str
    is_own: bool = True


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to the last of its ticks; logarithmic where what is shown differs a hundredfold."""

    low: float
    ticks: tuple[float, ...]

    @property
    def is_log(self) -> bool:
        return self.low > 0

    def place(self, value: float) -> float:
        """How far to the right, in the units of the picture."""
        high = self.ticks[-1]
        share = math.log(max(value, self.low) / self.low) / math.log(high / self.low) if self.is_log else value / high
        return round(LABELS + (WIDTH - LABELS - VALUES) * share, 1)


def bars(title: str, unit: str, rows: Sequence[Bar], *, limit: tuple[str, float] | None = None) -> str:
    """A picture with one bar a row, from the top; `limit`: a line across all of them, with its name."""
    axis = axis_for([row.value for row in rows] + ([limit[1]] if limit else []))
    bottom = TOP + len(rows) * (BAR + GAP)
    height = bottom + FOOT
    unit += ", logarithmic" if axis.is_log else ""
    parts = _begun(title, axis, bottom)
    for number, row in enumerate(rows):
        parts += _bar(row, TOP + GAP // 2 + number * (BAR + GAP), axis)
    if limit:
        parts.append(_line(axis.place(limit[1]), bottom, f'stroke="{LIMIT}" stroke-dasharray="4 3"'))
        parts.append(_text(axis.place(limit[1]), TOP - 8, limit[0], f'text-anchor="middle" fill="{LIMIT}"'))
    parts.append(_text((LABELS + WIDTH - VALUES) / 2, height - 10, unit, 'text-anchor="middle"'))
    return "\n".join([*parts, "</svg>", ""])


def axis_for(values: Sequence[float]) -> Axis:
    """Round numbers, up to the first that no value exceeds."""
    high = max(values, default=0) or 1.0
    low = min((value for value in values if value > 0), default=high)
    if high / low > 100:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        return Axis(10.0 ** powers[0], tuple(10.0**power for power in powers))
    step = 10.0 ** math.floor(math.log10(high / 2))
    step = next(step * factor for factor in (1, 2, 5, 10) if high / (step * factor) <= 5)
    return Axis(0, tuple(round(step * number, 9) for number in range(math.ceil(high / step) + 1)))


def _begun(title: str, axis: Axis, bottom: float) -> list[str]:
    """A white sheet with the title and the lines of the axis, down to `bottom`."""
    height = bottom + FOOT
    box = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12" fill="{INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(12, 22, title, 'font-size="14" font-weight="bold"'),
    ]
    for tick in axis.ticks:
        parts.append(_line(axis.place(tick), bottom, f'stroke="{GRID}"'))
        parts.append(_text(axis.place(tick), bottom + 14, f"{tick:,g}", 'text-anchor="middle"'))
    return parts


def _bar(row: Bar, top: float, axis: Axis) -> list[str]:
    left, right = axis.place(axis.low), axis.place(row.value)
    wide, middle = max(round(right - left, 1), 1), top + BAR - 4
    return [
        _text(LABELS - 8, middle, row.label, 'text-anchor="end"'),
        f'<rect x="{left}" y="{top}" width="{wide}" height="{BAR}" fill="{OWN if row.is_own else OTHER}"/>',
        _text(left + wide + 6, middle, row.shown),
    ]


def _line(x: float, bottom: float, style: str) -> str:
    return f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}" {style}/>'


def _text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{round(x, 1)}" y="{y}"{" " * bool(style)}{style}>{escape(words)}</text>'


def lines(title: str, unit: str, rows: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    """One strip a quantity over the same time, from nothing to a little above its most, its last value behind it."""
    end = max(at for _, points in rows for at, _ in points)
    bottom = TOP + len(rows) * STRIP
    axis = axis_for([end])
    parts = _begun(title, axis, bottom)
    for number, (label, points) in enumerate(rows):
        foot, most = TOP + (number + 1) * STRIP, max(value for _, value in points) or 1.0
        places = (f"{axis.place(at)},{round(foot - (STRIP - GAP) * value / most / 1.1, 1)}" for at, value in points)
        parts.append(_text(LABELS - 8, foot - STRIP // 2 + 4, label, 'text-anchor="end"'))
        parts.append(f'<line x1="{LABELS}" x2="{axis.place(end)}" y1="{foot}" y2="{foot}" stroke="{GRID}"/>')
        parts.append(f'<polyline points="{" ".join(places)}" fill="none" stroke="{OWN}"/>')
        parts.append(_text(axis.place(end) + 6, foot - STRIP // 2 + 4, f"{round(points[-1][1], 1):,g}"))
    parts.append(_text((LABELS + WIDTH - VALUES) / 2, bottom + FOOT - 10, unit, 'text-anchor="middle"'))
    return "\n".join([*parts, "</svg>", ""])
