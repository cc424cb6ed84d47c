"""Calling one task function, and what is kept of what it prints, returns or raises."""

from reconciler.execute.calling import (
    Call,
    Outcome,
    create_execution_record,
    execute,
    failed,
    stopped,
    timed_out,
    with_execution_tracking,
)

__all__ = [
    "Call",
    "Outcome",
    "create_execution_record",
    "execute",
    "failed",
    "stopped",
    "timed_out",
    "with_execution_tracking",
]
