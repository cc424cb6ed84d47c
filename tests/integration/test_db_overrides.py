"""Pauses: one at a time, over when they end or expire, whichever comes first."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from reconciler.db import overrides
from reconciler.db.link import Link

HOUR = timedelta(hours=1)


async def clock(link: Link) -> datetime:
    [(now,)] = await link.run("select clock_timestamp()")
    return now  # type: ignore[no-any-return]


async def test_a_pause_is_in_force_until_it_is_resumed(link: Link) -> None:
    pause = await overrides.pause(link, "a", "backup", "ada", None)
    assert (pause.kind, pause.reason, pause.actor, pause.expires_at) == ("pause", "backup", "ada", None)
    assert await overrides.active(link) == [pause]
    assert await overrides.resume(link, "a") == 1
    assert await overrides.active(link) == []
    assert await overrides.resume(link, "a") == 0


async def test_a_pause_ends_by_itself_at_its_time(link: Link) -> None:
    now = await clock(link)
    await overrides.pause(link, "over", None, "ada", now - HOUR)
    later = await overrides.pause(link, "later", None, "ada", now + HOUR)
    assert await overrides.active(link) == [later]
    assert await overrides.resume(link, "over") == 0
    assert await link.run("select ended_at from task_overrides where name = 'over'") == [(now - HOUR,)]


async def test_a_second_pause_replaces_the_first_without_a_gap(link: Link) -> None:
    first = await overrides.pause(link, "a", "one", "ada", None)
    second = await overrides.pause(link, "a", "two", "bob", await clock(link) + HOUR)
    assert await overrides.active(link) == [second]
    kept = await overrides.since(link, ["a"], first.created_at)
    assert [(pause.reason, pause.ended_at) for pause in kept] == [("one", second.created_at), ("two", None)]


async def test_two_operators_at_once_leave_one_pause(link: Link, database_url: str) -> None:
    links = [Link(database_url) for _ in range(4)]
    await asyncio.gather(*(overrides.pause(each, "a", None, "ada", None) for each in links))
    assert len(await overrides.active(link)) == 1
    await asyncio.gather(*(each.close() for each in links))


async def test_a_pause_of_one_name_leaves_others_alone(link: Link) -> None:
    await overrides.pause(link, "a", None, "ada", None)
    other = await overrides.pause(link, "b", None, "ada", None)
    await overrides.resume(link, "a")
    assert await overrides.active(link) == [other]


async def test_since_gives_what_reaches_past_the_moment(link: Link) -> None:
    now = await clock(link)
    await overrides.pause(link, "ended", None, "ada", None)
    await overrides.resume(link, "ended")
    await overrides.pause(link, "expired", None, "ada", now - HOUR)
    await overrides.pause(link, "open", None, "ada", None)
    await overrides.pause(link, "other", None, "ada", None)
    names = ["ended", "expired", "open"]

    async def reaching(moment: datetime) -> list[str | None]:
        return [pause.name for pause in await overrides.since(link, names, moment)]

    assert await reaching(now - 2 * HOUR) == ["ended", "expired", "open"]
    assert await reaching(now) == ["ended", "open"]
    assert await reaching(now + HOUR) == ["open"]


async def test_other_kinds_of_override_are_no_pause(link: Link) -> None:
    await link.run("insert into task_overrides (name, kind, actor) values ('a', 'pin', 'ada')")
    assert await overrides.active(link) == []
    assert await overrides.resume(link, "a") == 0
    await overrides.pause(link, "a", None, "ada", None)
    assert await link.run("select ended_at from task_overrides where kind = 'pin'") == [(None,)]


# ── by label ──


async def label(link: Link, name: str, **labels: str) -> None:
    spec = {"name": name, "labels": labels}
    await link.run(
        "insert into task_configs (name, source, spec, digest, path) values (%s, 's', %s, 'd', 'p')"
        " on conflict (name) do update set spec = excluded.spec",
        [name, spec],
    )


async def test_a_pause_by_label_is_one_row_that_covers_what_has_all_of_its_labels(link: Link) -> None:
    await label(link, "a", team="data", tier="gold")
    await label(link, "b", team="data")
    await label(link, "c", team="web")
    pause = await overrides.pause(link, {"team": "data", "tier": "gold"}, "move", "ada", None)
    assert (pause.name, pause.selector) == (None, {"team": "data", "tier": "gold"})
    assert await overrides.active(link) == [pause]
    assert await overrides.covered(link, {"team": "data"}) == ["a", "b"]
    assert await overrides.covered(link, {"team": "data", "tier": "gold"}) == ["a"]
    assert pause.covers("a", {"team": "data", "tier": "gold", "more": "x"})
    assert not pause.covers("b", {"team": "data"})
    assert await overrides.resume(link, {"team": "data"}) == 0
    assert await overrides.resume(link, {"tier": "gold", "team": "data"}) == 1  # in any order
    assert await overrides.active(link) == []


async def test_a_pause_by_label_and_one_of_a_name_are_ended_each_by_itself(link: Link) -> None:
    await label(link, "a", team="data")
    by_name = await overrides.pause(link, "a", None, "ada", None)
    by_label = await overrides.pause(link, {"team": "data"}, None, "bob", None)
    assert await overrides.active(link) == [by_name, by_label]
    assert await overrides.resume(link, "a") == 1
    assert await overrides.active(link) == [by_label]


async def test_a_second_pause_of_a_label_replaces_the_first_and_no_other(link: Link) -> None:
    other = await overrides.pause(link, {"team": "web"}, None, "ada", None)
    await overrides.pause(link, {"team": "data"}, "one", "ada", None)
    second = await overrides.pause(link, {"team": "data"}, "two", "bob", None)
    assert await overrides.active(link) == [other, second]


async def test_two_operators_at_once_leave_one_pause_of_a_label(link: Link, database_url: str) -> None:
    links = [Link(database_url) for _ in range(4)]
    orders = ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
    await asyncio.gather(*(overrides.pause(each, orders[n % 2], None, "ada", None) for n, each in enumerate(links)))
    assert len(await overrides.active(link)) == 1
    await asyncio.gather(*(each.close() for each in links))


async def test_since_names_what_a_label_covers_also_after_its_end(link: Link) -> None:
    now = await clock(link)
    for name in ("a", "b"):
        await label(link, name, team="data")
    await label(link, "c", team="web")
    await overrides.pause(link, {"team": "data"}, "by label", "ada", None)
    await overrides.resume(link, {"team": "data"})
    await overrides.pause(link, "a", "by name", "ada", None)
    found = await overrides.since(link, ["a", "c"], now)
    assert [(one.name, one.reason) for one in found] == [("a", "by label"), ("a", "by name")]
    assert [one.name for one in await overrides.since(link, ["a", "b"], await clock(link))] == ["a"]
