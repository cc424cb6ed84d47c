"""How a moment is said: near or far in words, and exactly in the task's own zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from reconciler.durations import span


def when(moment: datetime, now: datetime) -> str:
    """`in 3 min`, `12 s ago`, `now`."""
    away = moment - now
    if abs(away) < timedelta(seconds=1):
        return "now"
    return f"in {span(away)}" if away > timedelta(0) else f"{span(-away)} ago"


def exact(moment: datetime, timezone: str = "UTC") -> str:
    """`2026-01-02 03:00:00 Europe/Berlin`; with the offset too where that zone's clock says this time twice."""
    local = moment.astimezone(ZoneInfo(timezone))
    text = local.strftime("%Y-%m-%d %H:%M:%S")
    if local.microsecond:
        text += f".{local.microsecond // 1000:03d}"
    is_twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    return f"{text}{local.strftime('%z') if is_twice else ''} {timezone}"


def brief(moment: datetime, now: datetime) -> str:
    """`03:00:00` in UTC where that is on the day of `now`, else `2026-01-02 03:00:00`."""
    text = exact(moment).removesuffix(" UTC")
    day = f"{now.astimezone(UTC):%Y-%m-%d} "
    return text.removeprefix(day)
