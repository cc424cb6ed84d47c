"""How long runs took lately: of the newest that succeeded, by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from reconciler.db.durations import Took, durations
from reconciler.db.link import Link

START = datetime(2026, 1, 1, tzinfo=UTC)
RAN = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest)
select %(name)s::text, s, 'demo', s, s + n * interval '1 second', n <= %(good)s, 'schedule', 'd'
from generate_series(1, %(many)s) n, lateral (select %(start)s + n * interval '1 hour' as s) x
"""


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


async def test_the_median_and_the_slowest_twentieth_of_the_newest_successes(link: Link) -> None:
    for name, many, good in (("a", 101, 101), ("mixed", 4, 3), ("failed", 5, 0)):
        await link.run(RAN, {"name": name, "many": many, "good": good, "start": START})
    found = await durations(link, ["a", "mixed", "failed", "nobody"], newest=101)
    assert found == {
        "a": Took(101, seconds(51), seconds(96)),
        "mixed": Took(3, seconds(2), seconds(2.9)),
    }
    assert (await durations(link, ["a"], newest=3))["a"].median == seconds(100)
