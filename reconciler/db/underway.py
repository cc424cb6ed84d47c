"""Runs under way: what somebody asks of them, how far they are, and what their task did before them.

Each public function is one statement. None changes who owns what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from reconciler.db.link import Statements

# By the partial index that holds nothing else, so it costs the same however many runs there are.
ASKED = """
select c.token, c.name, c.scheduled_for, c.cancel_requested, c.follow
from task_claims c
where c.runner_id = %(runner)s and (c.cancel_requested is not null or c.follow) and c.token is not null
"""

# Whoever lost its claim changes nothing.
PROGRESS = """
with told as (
    select c.name, c.scheduled_for, p.progress
    from jsonb_to_recordset(%(rows)s) as p(name text, scheduled_for timestamptz, token uuid, progress jsonb)
    join task_claims c on c.name = p.name and c.scheduled_for = p.scheduled_for and c.token = p.token
    order by c.name, c.scheduled_for
    for update of c skip locked
)
update task_claims c set progress = t.progress
from told t where c.name = t.name and c.scheduled_for = t.scheduled_for
"""

# A run that replays another stands for that one's instant: of the newest few the latest such instant counts. A name
# that has not succeeded for its newest two thousand runs must not have all its rows read before each one.
LAST_SUCCESSES = """
select n.name, s.nominal, s.result
from unnest(%(names)s::text[]) as n(name)
cross join lateral (
    select coalesce(x.replays, x.scheduled_for) as nominal, x.result
    from (
        select e.replays, e.scheduled_for, e.result
        from (select * from task_executions t where t.name = n.name order by t.scheduled_for desc limit 2000) e
        where e.is_success
        order by e.scheduled_for desc limit 10
    ) x
    order by 1 desc limit 1
) s
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One owned claim of which somebody asks something: to end it, for a reason, or to read along."""

    token: UUID
    name: str
    scheduled_for: datetime
    cancel_requested: str | None
    follow: bool


async def asked(link: Statements, runner_id: UUID) -> list[Asked]:
    """What is asked of this runner's runs."""
    return [Asked(*row) for row in await link.run(ASKED, {"runner": runner_id})]


async def progress(link: Statements, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note how far runs are: each with name, scheduled_for, token as text, and progress {fraction, text, at}."""
    await link.run(PROGRESS, {"rows": Jsonb(list(rows))})


async def last_successes(link: Statements, names: Sequence[str]) -> dict[str, tuple[datetime, Any]]:
    """Of each name that succeeded in its newest 2,000 runs, the instant that its success stands for, and its result."""
    rows = await link.run(LAST_SUCCESSES, {"names": list(names)})
    return {name: (nominal, result) for name, nominal, result in rows}
