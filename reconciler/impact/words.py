"""How an impact reads: a few lines for each change, a small picture of the load, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from reconciler.impact.model import ChangeImpact, Impact, Minute, Side

MOST_CLOCK_CHANGES: Final = 4
BAR: Final = 40


def change_words(change: ChangeImpact) -> list[str]:
    """When it runs before and after, how often, and what a clock change does; no instants where none changes."""
    if not change.is_retimed and change.before and change.after:
        return _warned(change)
    lines = [f"{label} {runs(side)}".lstrip() for label, side in _labelled(change) if side]
    if any(side and side.upcoming for side in (change.before, change.after)):
        lines.append(f"fires per day: {per_day(change)}{at_once(change)}")
    shown = change.clock_changes[:MOST_CLOCK_CHANGES]
    lines += [f"clock change: {text}" for text in shown]
    if len(change.clock_changes) > len(shown):
        lines.append(f"clock change: {len(change.clock_changes) - len(shown)} more in the next year")
    return [*lines, *_warned(change)]


def at_once(change: ChangeImpact) -> str:
    return "" if change.after is None else f"; {change.at_once:,} fire at once"


def per_day(change: ChangeImpact) -> str:
    """`1 -> 24`, `0.14`: one number where the task was not there before, or is not there any more."""
    sides = [_side_rate(side) for side in (change.before, change.after) if side]
    if change.after is None:
        return f"{sides[0]} -> 0"
    return " -> ".join(sides)


def runs(side: Side) -> str:
    """`2026-11-25 02:00, 2026-11-26 02:00 Europe/Berlin`, or why it does not run by itself."""
    if side.how:
        return side.how
    if not side.upcoming:
        return "never"
    zone = ZoneInfo(side.timezone)
    return f"{', '.join(_instant(moment, zone) for moment in side.upcoming)} {side.timezone}"


def total_words(impact: Impact) -> list[str]:
    """The load where it grows, with its picture, and the fires of all tasks together."""
    lines: list[str] = []
    if peaks := [minute for minute in impact.load if minute.is_peak]:
        lines += ["tasks that start in the same minute, # before and + more:", *picture(impact.load)]
        lines += [peak_words(minute) for minute in peaks]
    if impact.more:
        lines.append(f"when they run was looked up for the first {len(impact.changes):,} changes")
    if impact.per_day is not None:
        lines.append(f"fires per day: {total_rate(impact)}; {impact.at_once:,} fire at once")
    return lines


def total_rate(impact: Impact) -> str:
    """`412 -> 415.5 over the next 28 days`; empty where nobody counted."""
    if impact.per_day is None:
        return ""
    before, after = (rate(value) for value in impact.per_day)
    return f"{'' if impact.is_exact else 'about '}{before} -> {after} over the next 28 days"


def peak_words(minute: Minute) -> str:
    """``Wed 03:00 Europe/Berlin goes from 12 to 57 tasks; `H 3 * * *` would spread them``."""
    what = f"{_clock(minute)} {minute.timezone} goes from {minute.before:,} to {minute.after:,} tasks"
    return f"{what}; {minute.advice}" if minute.advice else what


def picture(load: Sequence[Minute], room: int = BAR) -> list[str]:
    """One bar a minute: `#` for what started there before, `+` for what comes, `-` for what goes."""
    most = max((max(minute.before, minute.after) for minute in load), default=0)
    return [f"  {_clock(minute)}  {_bar(minute, most, room)}  {minute.before:,} -> {minute.after:,}" for minute in load]


def _bar(minute: Minute, most: int, room: int) -> str:
    before, after = (-(-count * room // max(1, most)) for count in (minute.before, minute.after))
    mark = "+" if after > before else "-"
    return "#" * min(before, after) + mark * abs(after - before)


def _clock(minute: Minute) -> str:
    return f"{minute.at.astimezone(ZoneInfo(minute.timezone)):%a %H:%M}"


def _labelled(change: ChangeImpact) -> list[tuple[str, Side | None]]:
    if change.after is None:
        return [("" if change.before and change.before.how else "no longer:", change.before)]
    if change.before is None:
        return [("" if change.after.how else "next:", change.after)]
    return [("next before:", change.before), ("next after: ", change.after)]


def _warned(change: ChangeImpact) -> list[str]:
    return [f"warning: {text}" for text in change.warnings]


def _instant(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    text = local.strftime("%Y-%m-%d %H:%M:%S" if local.second else "%Y-%m-%d %H:%M")
    is_twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    return text + (local.strftime("%z") if is_twice else "")


def _side_rate(side: Side) -> str:
    return f"{'' if side.is_exact else 'about '}{rate(side.per_day)}"


def rate(value: float) -> str:
    """`1`, `0.14`, `86,400`, `<0.01`: as many figures as say something."""
    if 0 < value < 0.01:
        return "<0.01"
    text = f"{value:,.2f}" if value < 100 else f"{value:,.1f}"
    return text.rstrip("0").rstrip(".")


def as_json(impact: Impact) -> dict[str, Any]:
    """Instants in UTC; `fires_per_day` is null where no instant changes."""
    rates = impact.per_day
    return {
        "fires_per_day": None if rates is None else {"before": round(rates[0], 4), "after": round(rates[1], 4)},
        "is_exact": impact.is_exact,
        "at_once": impact.at_once,
        "load": [
            {
                "minute": _utc(minute.at),
                "timezone": minute.timezone,
                "before": minute.before,
                "after": minute.after,
                "is_peak": minute.is_peak,
                "advice": minute.advice,
            }
            for minute in impact.load
        ],
        "changes": [_change_json(change) for change in impact.changes.values()],
        "left_out": impact.more,
    }


def _change_json(change: ChangeImpact) -> dict[str, Any]:
    return {
        "name": change.name,
        "is_retimed": change.is_retimed,
        "before": _side_json(change.before),
        "after": _side_json(change.after),
        "at_once": change.at_once,
        "clock_changes": list(change.clock_changes),
        "warnings": list(change.warnings),
    }


def _side_json(side: Side | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {
        "next": [_utc(moment) for moment in side.upcoming],
        "timezone": side.timezone,
        "fires_per_day": round(side.per_day, 4),
        "is_exact": side.is_exact,
        "how": side.how,
    }


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
