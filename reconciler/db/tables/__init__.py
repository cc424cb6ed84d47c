"""The tables, declared once: migrations, a fresh database and the tests are held against this.

No foreign keys: the name is the key everywhere, history outlives what it describes, and an unindexed reference
would hold the apply lock for as long as the history is long.
"""

from __future__ import annotations

from reconciler.db.tables.columns import metadata
from reconciler.db.tables.declared import drifts, sources, syncs, task_configs, task_overrides, task_revisions
from reconciler.db.tables.happened import (
    incidents,
    outages,
    runners,
    task_claims,
    task_cursors,
    task_executions,
    task_skips,
)

__all__ = [
    "drifts",
    "incidents",
    "metadata",
    "outages",
    "runners",
    "sources",
    "syncs",
    "task_claims",
    "task_configs",
    "task_cursors",
    "task_executions",
    "task_overrides",
    "task_revisions",
    "task_skips",
]
