"""How a table comes to fit a terminal: which columns go, which are said shorter, and which are cut.

It knows neither what the columns mean nor where they are printed.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import click

from reconciler.cli.output import Column, width

GAP = "  "
NARROWEST = 8


def fitted(rows: Sequence[Any], columns: Sequence[Column], room: int) -> Iterator[str]:
    """The lines of the table, its titles first: one line a row, within `room` cells where that can be."""
    kept = list(columns)
    cells = [[_flat(column.text(row)) for row in rows] for column in kept]
    widths = _widths(kept, cells)
    for index in reversed(range(len(kept))):
        if _excess(widths, room) > 0 and set(cells[index]) == {kept[index].usual}:
            del kept[index], cells[index], widths[index]
    if _excess(widths, room) > 0:
        kept = [replace(column, title=column.short_title or column.title) for column in kept]
        cells = [
            [_flat(column.short(row)) for row in rows] if column.short else given
            for column, given in zip(kept, cells, strict=True)
        ]
        widths = _widths(kept, cells)
    widths = _narrowed(kept, widths, _excess(widths, room))
    yield _line([column.title for column in kept], widths, ["bold"] * len(kept))
    for row, texts in zip(rows, zip(*cells, strict=True), strict=True):
        yield _line(texts, widths, [column.style(row) for column in kept])


def _flat(text: str) -> str:
    return " ".join(text.split())


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(width(text) for text in (column.title, *texts)) for column, texts in zip(columns, cells, strict=True)]


def _excess(widths: Sequence[int], room: int) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1) - room


def _narrowed(columns: Sequence[Column], widths: list[int], excess: int) -> list[int]:
    """The widest of those that give gives first."""
    widths = list(widths)
    for _ in range(max(0, excess)):
        giving = [i for i, column in enumerate(columns) if column.gives and widths[i] > NARROWEST]
        if not giving:
            break
        widths[max(giving, key=lambda i: widths[i])] -= 1
    return widths


def cut(text: str, room: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if width(text) <= room:
        return text
    kept, used = "", 1
    for char in text:
        used += width(char)
        if used > room and not unicodedata.combining(char):
            break
        kept += char
    return kept.rstrip() + "…"


def _line(texts: Sequence[str], widths: Sequence[int], styles: Sequence[str]) -> str:
    parts = []
    for number, (text, size, style) in enumerate(zip(texts, widths, styles, strict=True), 1):
        text = cut(text, size)
        padding = "" if number == len(texts) else " " * (size - width(text))
        parts.append(_styled(text, style) + padding)
    return GAP.join(parts).rstrip()


def _styled(text: str, style: str) -> str:
    if not style or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, bold=True) if style == "bold" else click.style(text, fg=style)
