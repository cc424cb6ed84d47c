"""When a schedule is due: cron, intervals, zones and clock changes, as one pure value."""

from reconciler.schedule.schedule import (
    MOST_COUNTED,
    MOST_EXPRESSIONS,
    Dst,
    InvalidSchedule,
    Schedule,
)

__all__ = ["MOST_COUNTED", "MOST_EXPRESSIONS", "Dst", "InvalidSchedule", "Schedule"]
