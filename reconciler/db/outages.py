"""When a runner could not decide or record anything, and why: written once it can again."""

from __future__ import annotations

from datetime import datetime

from reconciler.db.link import Statements

RECORD = """
insert into outages (runner, what, began_at, ended_at)
values (%(runner)s, %(what)s, %(began_at)s, greatest(%(ended_at)s::timestamptz, %(began_at)s::timestamptz))
"""


async def record(link: Statements, runner: str, what: str, began_at: datetime, ended_at: datetime) -> None:
    """Note that `runner` (host:pid) was cut off from `began_at` to `ended_at`, PostgreSQL's time as it knew it."""
    await link.run(RECORD, {"runner": runner, "what": what, "began_at": began_at, "ended_at": ended_at})
