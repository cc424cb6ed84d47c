"""What a person asks of an occurrence: one more of it, now. It waits like any other work until a runner takes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from reconciler.db.link import Link

TRIGGER = """
insert into task_claims (name, scheduled_for, task, queue, priority, trigger, digest, exclusive, params)
select c.name, date_trunc('milliseconds', clock_timestamp()), c.spec ->> 'task', c.spec ->> 'queue',
       (c.spec ->> 'priority')::int, %(trigger)s, c.digest, c.spec ->> 'overlap' <> 'allow', %(params)s
from task_configs c where c.name = %(name)s
on conflict do nothing
returning scheduled_for
"""


async def trigger(
    link: Link, name: str, params: Mapping[str, Any] | None = None, trigger: str = "manual"
) -> datetime | None:
    """Add waiting work for `name`, due at once, with `params` over the spec's; returns its instant, None if unknown."""
    values = {"name": name, "trigger": trigger, "params": None if params is None else Jsonb(dict(params))}
    rows = await link.run(TRIGGER, values)
    return rows[0][0] if rows else None
