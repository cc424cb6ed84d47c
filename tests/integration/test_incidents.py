"""What nothing that ran can tell, found in a real PostgreSQL: missed runs and silences, opened once and closed once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from reconciler.db import incidents
from reconciler.db.incidents import Opening
from reconciler.db.link import Link
from reconciler.notify.watching import Watcher
from reconciler.spec import TaskSpec

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


async def clock(link: Link) -> datetime:
    ((now,),) = await link.run("select clock_timestamp()")
    return now  # type: ignore[no-any-return]


async def config(link: Link, name: str = "a", *, through: timedelta | None = timedelta(0), **fields: Any) -> TaskSpec:
    """A config each minute, decided up to `through` ago, that wants to be told of what is missed."""
    given: dict[str, Any] = {"name": name, "task": "t", "schedule": "* * * * *"}
    given["notify"] = {"on": ["failure", "recovery", "missed"], "to": ["ops"]}
    spec = TaskSpec.model_validate(given | fields)
    document = Jsonb(spec.document())
    await link.run(
        """insert into task_configs (name, source, spec, digest, path, created_at)
           values (%s, 'default', %s, %s, 'a.yaml', clock_timestamp() - interval '30 days')""",
        [name, document, spec.digest],
    )
    await link.run(
        "insert into task_revisions (source, path, name, digest, spec, sync_id)"
        " values ('default', 'a.yaml', %s, %s, %s, 1)",
        [name, spec.digest, document],
    )
    if through is not None:
        await link.run("insert into task_cursors (name, through) values (%s, %s)", [name, await clock(link) - through])
    return spec


async def claim(link: Link, name: str, ago: timedelta, *, runner: Any = None, waits: timedelta | None = None) -> None:
    now = await clock(link)
    await link.run(
        """insert into task_claims (name, scheduled_for, token, runner_id, not_before, queue, trigger, digest,
                                    exclusive, task, turn, started_at)
           values (%s, %s, %s, %s, %s, 'default', 'schedule', 'd', true, 't', 0, %s)""",
        [name, now - ago, uuid4() if runner else None, runner, now - (waits or ago), now - ago if runner else None],
    )


async def runner(link: Link, seen: timedelta, *, ended: bool = False) -> Any:
    runner_id, now = uuid4(), await clock(link)
    await link.run(
        """insert into runners (id, host, pid, queues, tasks, seen_at, ended_at)
           values (%s, 'h', 1, '["default"]', '{"t": {}}', %s, %s)""",
        [runner_id, now - seen, now - seen if ended else None],
    )
    return runner_id


async def ran(link: Link, name: str, scheduled_for: datetime, *, is_success: bool = True) -> None:
    await link.run(
        """insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest)
           values (%s, %s, 't', %s, %s, %s, 'schedule', 'd')""",
        [name, scheduled_for, scheduled_for, scheduled_for, is_success],
    )


async def opened(link: Link) -> list[tuple[str, str, str]]:
    found = await incidents.listing(link, None, is_open=True, limit=100)
    return sorted((one.name, one.kind, one.detail or "") for one in found)


async def closings(link: Link) -> list[str | None]:
    return [one.closing for one in await incidents.listing(link, None, is_open=False, limit=100)]


async def test_what_no_runner_has_decided_is_missed_and_told_once(link: Link) -> None:
    await config(link, "late", through=timedelta(minutes=5))
    await config(link, "in-time")
    watcher, other = Watcher(link), Watcher(link)
    await asyncio.gather(watcher.look(), other.look())
    await watcher.look()
    ((name, kind, detail),) = await opened(link)
    assert (name, kind) == ("late", "missed")
    assert "no runner has decided it" in detail
    assert len(await incidents.listing(link, None, is_open=False, limit=10)) == 1


@pytest.mark.parametrize(
    "fields",
    [{"suspend": True}, {"notify": None}, {"notify": {"to": ["ops"]}}, {"schedule": []}],
    ids=["suspended", "tells nobody", "asks for failures only", "no schedule"],
)
async def test_nothing_is_missed_of_what_does_not_ask_or_is_not_to_run(link: Link, fields: dict[str, Any]) -> None:
    await config(link, through=timedelta(minutes=5), **fields)
    await Watcher(link).look()
    assert await opened(link) == []


@pytest.mark.parametrize("who", [("a", None), (None, {"team": "data"})], ids=["by name", "by label"])
async def test_a_pause_is_no_miss_and_closes_what_was_open(link: Link, who: tuple[Any, Any]) -> None:
    await config(link, through=timedelta(minutes=5), labels={"team": "data"})
    watcher = Watcher(link)
    await watcher.look()
    assert len(await opened(link)) == 1
    name, selector = who
    await link.run(
        """insert into task_overrides (name, selector, kind, actor, created_at)
           values (%s, %s, 'pause', 'ana', clock_timestamp() - interval '1 hour')""",
        [name, Jsonb(selector) if selector else None],
    )
    await watcher.look()
    assert (await opened(link), await closings(link)) == ([], ["the task was paused"])
    await watcher.look()
    assert len(await closings(link)) == 1


@pytest.mark.parametrize(
    ("change", "closing"),
    [
        ("delete from task_configs", "the task was removed"),
        ("update task_configs set spec = spec || '{\"suspend\": true}'", "the task was suspended"),
        ("update task_configs set spec = spec || '{\"notify\": null}'", "its spec tells nobody any more"),
    ],
)
async def test_what_is_not_to_run_any_more_is_not_missed_any_more(link: Link, change: str, closing: str) -> None:
    await config(link, through=timedelta(minutes=5))
    watcher = Watcher(link)
    await watcher.look()
    assert len(await opened(link)) == 1
    await link.run(change)
    await watcher.look()
    assert (await opened(link), await closings(link)) == ([], [closing])


async def test_work_that_nobody_can_run_is_missed(link: Link) -> None:
    await config(link, "alone")
    await claim(link, "alone", timedelta(minutes=2))
    watcher = Watcher(link)
    await runner(link, timedelta(0), ended=True)
    await watcher.look()
    ((name, _, detail),) = await opened(link)
    assert name == "alone"
    assert "no runner takes queue 'default' and has task 't'" in detail


async def test_work_that_waits_for_a_slot_is_late_and_not_missed_at_once(link: Link) -> None:
    await runner(link, timedelta(0))
    await config(link, "soon")
    await claim(link, "soon", timedelta(minutes=2))
    await config(link, "never")
    await claim(link, "never", timedelta(minutes=11))
    await Watcher(link).look()
    assert [(name, "10m" in detail or "11m" in detail) for name, _, detail in await opened(link)] == [("never", True)]


async def test_a_run_whose_runner_is_gone_hangs(link: Link) -> None:
    for name, seen in (("hangs", timedelta(minutes=3)), ("runs", timedelta(0))):
        await config(link, name)
        await claim(link, name, timedelta(minutes=4), runner=await runner(link, seen))
    await Watcher(link).look()
    assert [(name, "its runner was last seen at" in detail) for name, _, detail in await opened(link)] == [
        ("hangs", True)
    ]


async def test_what_was_decided_against_because_it_came_too_late_is_told_once_and_over_with_the_next_success(
    link: Link,
) -> None:
    await config(link)
    now = (await clock(link)).replace(second=0, microsecond=0)
    skip = "insert into task_skips (name, first, last, count, reason, detail) values ('a', %s, %s, %s, %s, %s)"
    await link.run(skip, [now - timedelta(hours=3), now - timedelta(hours=2), 60, "missed", None])
    await link.run(skip, [now - timedelta(minutes=30), now - timedelta(minutes=30), 1, "overlap", "x"])
    watcher = Watcher(link)
    await watcher.look()
    ((_, _, detail),) = await opened(link)
    assert detail.startswith("was skipped 60 times from ")
    await ran(link, "a", now - timedelta(minutes=5))
    await watcher.look()
    assert await opened(link) == []
    assert (await closings(link))[0].startswith("succeeded at ")  # type: ignore[union-attr]
    for _ in range(2):
        await watcher.look()
    assert len(await closings(link)) == 1


async def test_an_incident_that_was_open_when_an_instant_passed_speaks_for_it(link: Link) -> None:
    one, two, three = (LONG_AGO + timedelta(hours=n) for n in range(3))
    assert await incidents.open_them(link, [Opening("a", "missed", one, "x")])
    await link.run("update incidents set closed_at = %s", [two])
    assert await incidents.open_them(link, [Opening("a", "missed", two, "x")]) == []
    assert await incidents.open_them(link, [Opening("a", "missed", three, "y")]) == [("a", "missed", "y")]
    assert await incidents.open_them(link, [Opening("a", "missed", three, "y")]) == []


async def test_a_silence_is_told_once_and_a_success_puts_it_off(link: Link) -> None:
    await config(link, "quiet", notify={"to": ["ops"], "no_success_for": "1h"})
    await config(link, "busy", notify={"to": ["ops"], "no_success_for": "1h"})
    now = await clock(link)
    await ran(link, "quiet", now - timedelta(hours=2))
    await ran(link, "quiet", now - timedelta(minutes=1), is_success=False)
    await ran(link, "busy", now - timedelta(minutes=30))
    watcher = Watcher(link)
    for _ in range(2):
        await watcher.look()
    ((name, kind, detail),) = await opened(link)
    assert (name, kind) == ("quiet", "silence")
    assert detail.startswith("has not succeeded for 1h: the last was at ")


async def test_a_silence_counts_from_the_end_of_a_pause_or_a_suspension(link: Link) -> None:
    for name in ("was-paused", "was-suspended", "neither"):
        await config(link, name, notify={"to": ["ops"], "no_success_for": "1h"})
    await link.run(
        """insert into task_overrides (name, kind, actor, created_at, ended_at)
           values ('was-paused', 'pause', 'ana', %s, clock_timestamp() - interval '10 minutes')""",
        [LONG_AGO],
    )
    await link.run(
        """insert into task_revisions (source, path, name, digest, spec, sync_id, applied_at, removed_at)
           values ('default', 'a.yaml', 'was-suspended', 'x', '{"suspend": true}', 1, %s,
                   clock_timestamp() - interval '10 minutes')""",
        [LONG_AGO],
    )
    await Watcher(link).look()
    assert [name for name, _, _ in await opened(link)] == ["neither"]
