"""Incidents: what somebody is told of, once when it begins and once when it is over.

Failures are opened and closed with the final rows themselves (`finishing`); here is what nothing that ran can tell, and
the outbox that every notice goes through. Each public function is one statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from reconciler.db.link import Link

# An instant that an incident was about already is not told twice: one opened for it or for a later instant, and
# one that was open when it came. A rerun of this statement, or another service at the same time, opens nothing.
OPEN = """
insert into incidents (name, kind, scheduled_for, detail)
select r.name, r.kind, r.scheduled_for, r.detail
from jsonb_to_recordset(%(rows)s) as r(name text, kind text, scheduled_for timestamptz, detail text)
where r.kind <> 'missed' or not exists (
    select from incidents i
    where i.name = r.name and i.kind = r.kind
      and (i.scheduled_for >= r.scheduled_for or i.closed_at >= r.scheduled_for and i.scheduled_for <= r.scheduled_for))
order by r.name, r.kind
on conflict (name, kind) where closed_at is null do nothing
returning name, kind, detail
"""

# The newest rows of a name are looked at, not all of them: a success that matters here is among those.
CLOSE_WHAT_IS_OVER = """
with over as (
    select i.id, case
        when c.name is null then 'the task was removed'
        when c.spec -> 'notify' = 'null'::jsonb then 'its spec tells nobody any more'
        when i.kind = 'silence' and c.spec #> '{notify,no_success_for}' = 'null'::jsonb
            then 'its spec does not ask for it any more'
        when i.kind <> 'failure' and c.spec -> 'suspend' = 'true'::jsonb then 'the task was suspended'
        when i.kind <> 'failure' and exists (
            select from task_overrides o
            where o.ended_at is null and o.kind = 'pause'
              and (o.expires_at is null or o.expires_at > clock_timestamp())
              and (o.name = i.name or o.name is null and c.spec -> 'labels' @> o.selector)) then 'the task was paused'
        when i.kind <> 'failure' then (
            select 'succeeded at ' || to_char(x.finished_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            from (
                select * from task_executions e where e.name = i.name order by e.scheduled_for desc limit 100
            ) x
            where x.is_success and (i.scheduled_for is null or x.scheduled_for > i.scheduled_for
                                    or i.kind = 'missed' and x.scheduled_for = i.scheduled_for)
            limit 1)
        end as closing
    from incidents i left join task_configs c on c.name = i.name
    where i.closed_at is null
    order by i.id
    for update of i skip locked
)
update incidents i
set closed_at = clock_timestamp(), due_at = clock_timestamp(), tries = 0, closing = o.closing
from over o where i.id = o.id and o.closing is not null
returning i.name, i.kind, i.closing
"""

COLUMNS = """i.id, i.name, i.kind, i.scheduled_for, i.detail, i.opened_at, i.closed_at, i.closing,
       i.opening_told_at, i.closing_told_at, i.due_at, i.tries, i.told"""

# Taken for a minute: whoever takes it and dies leaves it to another after that.
TAKE = f"""
with one as (
    select id from incidents where due_at <= clock_timestamp() order by due_at limit 1 for update skip locked
)
update incidents i set due_at = clock_timestamp() + interval '1 minute', tries = i.tries + 1
from one where i.id = one.id
returning {COLUMNS}
"""

# A closing that came meanwhile has set its own `due_at`, and is due at once.
TOLD = """
update incidents
set opening_told_at = case when %(opening)s then clock_timestamp() else opening_told_at end,
    closing_told_at = case when %(closing)s then clock_timestamp() else closing_told_at end,
    told = '[]', tries = 0,
    due_at = case when closed_at is not null and not %(is_over)s then clock_timestamp() end
where id = %(id)s
"""

PUT_OFF = """
update incidents
set told = %(told)s,
    due_at = case when closed_at is not null and not %(is_over)s then clock_timestamp()
                  else clock_timestamp() + %(wait)s::interval end
where id = %(id)s
"""

LISTING = f"""
select {COLUMNS} from incidents i
where (%(name)s::text is null or i.name = %(name)s) and (not %(is_open)s or i.closed_at is null)
order by i.id desc limit %(limit)s
"""

# What a message says beside the incident itself. A name that is gone is told by what its last spec said.
ABOUT = """
select coalesce(c.spec, r.spec) -> 'notify', e.attempts, e.error, e.revision, e.runner, s.scheduled_for, s.finished_at
from (select %(name)s::text as name) as n
left join task_configs c on c.name = n.name
left join lateral (
    select x.spec from task_revisions x where x.name = n.name order by x.applied_at desc, x.id desc limit 1
) r on c.name is null
left join task_executions e on e.name = n.name and e.scheduled_for = %(scheduled_for)s
left join lateral (
    select x.scheduled_for, x.finished_at from (
        select * from task_executions y where y.name = n.name order by y.scheduled_for desc limit 10000
    ) x
    where x.is_success order by x.scheduled_for desc limit 1
) s on true
"""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. `told` holds the targets that have the notice under way already; `due_at` None: nothing to tell."""

    id: int
    name: str
    kind: str
    scheduled_for: datetime | None
    detail: str | None
    opened_at: datetime
    closed_at: datetime | None
    closing: str | None
    opening_told_at: datetime | None
    closing_told_at: datetime | None
    due_at: datetime | None
    tries: int
    told: list[str]


@dataclass(frozen=True, slots=True)
class About:
    """What surrounds an incident: who is to be told, its run (where there was one), and the newest success."""

    notify: dict[str, Any] | None
    attempts: list[Any] | None
    error: str | None
    revision: str | None
    runner: str | None
    last_success: datetime | None
    last_finished: datetime | None


@dataclass(frozen=True, slots=True)
class Opening:
    """An incident to open. `scheduled_for`: the instant that was missed, or that of the last success (silence)."""

    name: str
    kind: str
    scheduled_for: datetime | None
    detail: str


async def open_them(link: Link, openings: Sequence[Opening]) -> list[tuple[str, str, str]]:
    """Open those that are not open or told of yet; returns (name, kind, detail) of the new ones."""
    rows = [
        {
            "name": one.name,
            "kind": one.kind,
            "scheduled_for": one.scheduled_for.isoformat() if one.scheduled_for else None,
            "detail": one.detail,
        }
        for one in openings
    ]
    return [(name, kind, detail) for name, kind, detail in await link.run(OPEN, {"rows": Jsonb(rows)})]


async def close_what_is_over(link: Link) -> list[tuple[str, str, str]]:
    """Close what has come to an end without a run that said so; returns (name, kind, closing) of those."""
    return [(name, kind, closing) for name, kind, closing in await link.run(CLOSE_WHAT_IS_OVER)]


async def take(link: Link) -> Incident | None:
    """The incident whose notice is due longest, for whoever calls alone; None when none is due."""
    rows = await link.run(TAKE)
    return Incident(*rows[0]) if rows else None


async def about(link: Link, incident: Incident) -> About:
    """What a message about it needs to know."""
    (row,) = await link.run(ABOUT, {"name": incident.name, "scheduled_for": incident.scheduled_for})
    return About(*row)


async def settle(link: Link, incident: Incident, *, opening: bool = False, closing: bool = False) -> None:
    """Nothing more is to be done about what was taken: its notices were told, as said here, or never will be."""
    is_over = incident.closed_at is not None
    await link.run(TOLD, {"id": incident.id, "opening": opening, "closing": closing, "is_over": is_over})


async def put_off(link: Link, incident: Incident, wait: timedelta, told: Sequence[str]) -> None:
    """Try what was taken again after `wait`; `told` have it already."""
    is_over = incident.closed_at is not None
    await link.run(PUT_OFF, {"id": incident.id, "told": Jsonb(list(told)), "is_over": is_over, "wait": wait})


async def listing(link: Link, name: str | None, *, is_open: bool, limit: int) -> list[Incident]:
    """The newest incidents, of one name or all, or only those still open."""
    params = {"name": name, "is_open": is_open, "limit": limit}
    return [Incident(*row) for row in await link.run(LISTING, params)]


assert len(fields(Incident)) == COLUMNS.count(",") + 1
