"""When tasks are due, without their specs: those that say the same are one row, so thousands of them are few."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from reconciler.db.link import Statements

FIELDS = ("schedule", "timezone", "seconds", "dst", "starts_at", "ends_at", "skip_on", "suspend", "jitter")
# Grouped as text, which is a tenth of what grouping documents costs. A name is a part of it only where the schedule
# may have an `H` in it, which asks for one.
TIMETABLES = f"""
select {", ".join(f"(spec -> '{field}')::text" for field in FIELDS)},
    case when spec ->> 'schedule' ilike '%%h%%' then name end, count(*)
from task_configs
where source = %(source)s and not (name = any(%(without)s::text[]))
group by {", ".join(str(number + 1) for number in range(len(FIELDS) + 1))}
"""


async def timetables(tx: Statements, source: str, without: Sequence[str]) -> list[tuple[dict[str, Any], int]]:
    """The part of a spec's document that says when, and how many configs of that source have it."""
    rows = await tx.run(TIMETABLES, {"source": source, "without": list(without)})
    return [(_document(values, name), int(count)) for *values, name, count in rows]


def _document(values: Sequence[str | None], name: str | None) -> dict[str, Any]:
    schedule, *others = values
    return {"schedule": json.loads(schedule or "[]"), **_others(*others), "name": name}


@lru_cache(maxsize=4096)
def _others(*values: str | None) -> dict[str, Any]:
    """All but the schedule, which few tasks share while they share these; nobody changes it."""
    return {field: text and json.loads(text) for field, text in zip(FIELDS[1:], values, strict=True)}
