"""When tasks are due is read of thousands of configs without their specs, and says what the specs say."""

from __future__ import annotations

from collections import Counter
from typing import Any

from reconciler.db import configs
from reconciler.db.configs import ConfigRow
from reconciler.db.link import Link
from reconciler.db.timetables import timetables
from reconciler.impact import timing_of, timing_of_document
from reconciler.spec import TaskSpec

FIELDS: list[dict[str, Any]] = [
    {"schedule": ["0 3 * * *"]},
    {"schedule": ["0 3 * * *"], "timeout": "5m", "params": {"x": 1}},
    {"schedule": ["H 3 * * *"]},
    {"schedule": ["h 3 * * *"]},
    {"schedule": ["0 3 * * thu"], "timezone": "Europe/Berlin", "dst": {"gap": "skip"}},
    {"schedule": ["@every 5m", "@hourly"], "jitter": "5m", "skip_on": ["2026-12-24"]},
    {
        "schedule": ["0 0 3 * * *"],
        "seconds": "first",
        "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": "2027-01-01T00:00",
    },
    {"schedule": ["0 3 * * *"], "suspend": True},
    {"after": ["t0"]},
]


async def test_the_timings_of_a_source_are_those_of_its_specs(link: Link) -> None:
    specs = [TaskSpec.from_document({"name": f"t{n}", "task": "t", **some}) for n, some in enumerate(FIELDS)]
    rows = [ConfigRow(one.name, "default", one.document(), one.digest, f"{one.name}.yaml") for one in specs]
    other = TaskSpec.from_document({"name": "theirs", "task": "t", "schedule": ["@daily"]})
    await configs.upsert(link, [*rows, ConfigRow("theirs", "other", other.document(), other.digest, "t.yaml")], None)
    found = await timetables(link, "default", ["t1", "nobody"])
    counted: Counter[Any] = Counter()
    for document, count in found:
        counted[timing_of_document(document)] += count
    assert counted == Counter(timing_of(one) for one in specs if one.name != "t1")


async def test_tasks_that_say_the_same_are_one_row(link: Link) -> None:
    spec = TaskSpec.from_document({"name": "t", "task": "t", "schedule": ["0 3 * * *"]})
    rows = [ConfigRow(f"t{n}", "default", {**spec.document(), "name": f"t{n}"}, "d", "") for n in range(500)]
    await configs.upsert(link, rows, None)
    [(document, count)] = await timetables(link, "default", [])
    assert (document["schedule"], count) == (["0 3 * * *"], 500)
