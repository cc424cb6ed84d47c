"""The clockwork in Redis: what it keeps, and the scripts that change it in one step."""

from reconciler.scheduler.scheduler import (
    Advance,
    Due,
    Entry,
    EpochChanged,
    RedisServiceManager,
    SchedulerService,
    Taken,
)

__all__ = ["Advance", "Due", "Entry", "EpochChanged", "RedisServiceManager", "SchedulerService", "Taken"]
