"""Notices on their way: from the table of incidents to a target that really listens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from reconciler.db import incidents
from reconciler.db.incidents import Incident
from reconciler.db.link import Link
from reconciler.errors import ReconcilerError
from reconciler.notify.aside import aside
from reconciler.notify.delivering import Notifier
from reconciler.notify.pinging import Pings, fetch, keep_pinging
from reconciler.notify.targets import NotSentError, UnknownTargetError, tell
from reconciler.notify.wording import test_message as message_for
from reconciler.settings import Reference
from reconciler.spec import TaskSpec
from reconciler.spec.by_digest import remember

T = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
DEADLINE = 30.0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


async def config(link: Link, **notify: Any) -> None:
    given = {"name": "sales", "task": "t", "notify": {"to": ["ops"], **notify}}
    spec = TaskSpec.model_validate(given)
    await link.run(
        "insert into task_configs (name, source, spec, digest, path) values ('sales', 'default', %s, 'd', 'a.yaml')",
        [Jsonb(spec.document())],
    )


async def opened(link: Link, kind: str = "failure", name: str = "sales") -> None:
    await link.run(
        "insert into incidents (name, kind, scheduled_for, detail) values (%s, %s, %s, 'ValueError: on purpose')",
        [name, kind, T],
    )


async def closed(link: Link) -> None:
    await link.run(
        """update incidents set closed_at = clock_timestamp(), due_at = clock_timestamp(), tries = 0,
           closing = 'succeeded at 2026-03-02T03:00:00Z' where closed_at is null"""
    )


async def only(link: Link) -> Incident:
    (found,) = await incidents.listing(link, None, is_open=False, limit=10)
    return found


async def deliver(notifier: Notifier) -> None:
    while await notifier.turn():
        pass


@pytest.fixture
async def notifier(link: Link, listener: Any) -> AsyncIterator[Notifier]:
    yield Notifier(link, {"ops": SecretStr(listener.target)})


async def test_a_begin_and_an_end_are_told_once_each(link: Link, notifier: Notifier, listener: Any) -> None:
    await config(link)
    await opened(link)
    await deliver(notifier)
    await deliver(notifier)
    assert listener.titles == ["sales failed: ValueError: on purpose"]
    assert "reconciler logs" not in listener.heard[0][2]["message"]  # there is no such run here
    await closed(link)
    await deliver(notifier)
    assert listener.titles[1:] == ["sales has recovered: succeeded at 2026-03-02T03:00:00Z"]
    one = await only(link)
    assert one.opening_told_at and one.closing_told_at and one.due_at is None


async def test_what_was_over_before_it_was_told_is_one_message(link: Link, notifier: Notifier, listener: Any) -> None:
    await config(link)
    await opened(link)
    await closed(link)
    await deliver(notifier)
    assert listener.titles == ["sales failed and has recovered: ValueError: on purpose"]
    one = await only(link)
    assert one.opening_told_at and one.closing_told_at


@pytest.mark.parametrize(
    ("on", "kind", "titles"),
    [
        (["recovery", "missed"], "failure", 0),
        (["failure"], "missed", 0),
        (["missed"], "missed", 1),
        (["missed"], "silence", 1),
    ],
)
async def test_only_what_is_asked_for_is_told(
    link: Link, notifier: Notifier, listener: Any, on: list[str], kind: str, titles: int
) -> None:
    await config(link, on=on)
    await opened(link, kind)
    await deliver(notifier)
    assert len(listener.titles) == titles
    assert (await only(link)).due_at is None


async def test_several_services_tell_one_incident_once(link: Link, database_url: str, listener: Any) -> None:
    await config(link)
    await opened(link)
    links = [Link(database_url) for _ in range(4)]
    try:
        await asyncio.gather(*(deliver(Notifier(one, {"ops": SecretStr(listener.target)})) for one in links))
    finally:
        for one in links:
            await one.close()
    assert len(listener.titles) == 1


async def test_a_target_that_refuses_is_tried_again_later_and_the_others_are_not_told_twice(
    link: Link, listener: Any, caplog: pytest.LogCaptureFixture
) -> None:
    targets = {"ops": SecretStr(listener.target), "gone": SecretStr("json://127.0.0.1:1/?token=geheim77")}
    notifier = Notifier(link, targets)
    await config(link, to=["ops", "gone"])
    await opened(link)
    with caplog.at_level(logging.DEBUG):
        await deliver(notifier)
        one = await only(link)
        assert (one.tries, one.opening_told_at, one.told) == (1, None, ["opening ops"])
        assert one.due_at and timedelta(seconds=5) < one.due_at - datetime.now(UTC) < timedelta(seconds=15)
        for tries in (2, 3):
            await link.run("update incidents set due_at = clock_timestamp()")
            await deliver(notifier)
            assert (await only(link)).tries == tries
        assert len(listener.titles) == 1
        targets["gone"] = SecretStr(listener.target)
        await link.run("update incidents set due_at = clock_timestamp()")
        await deliver(notifier)
    assert len(listener.titles) == 2
    one = await only(link)
    assert one.opening_told_at and one.due_at is None and one.told == []
    [why] = [line for line in caplog.messages if "not told" in line]
    assert "onnection" in why, "what apprise says of it, which it does in a thread of its own"
    assert "geheim" not in caplog.text


async def test_after_a_day_of_trying_it_is_given_up_with_one_line(
    link: Link, listener: Any, notifier: Notifier, caplog: pytest.LogCaptureFixture
) -> None:
    listener.status = 500
    await config(link)
    await opened(link)
    await link.run("update incidents set tries = 150, opened_at = clock_timestamp() - interval '25 hours'")
    await deliver(notifier)
    assert (await only(link)).due_at is None
    assert [line for line in caplog.messages if "given up after a day" in line]
    # Its end is told all the same, with what began it.
    listener.status = 200
    await closed(link)
    await deliver(notifier)
    assert listener.titles[-1].startswith("sales failed and has recovered")


async def test_an_unknown_target_is_one_line_and_no_loop(
    link: Link, notifier: Notifier, listener: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await config(link, to=["opps"])
    await opened(link)
    await deliver(notifier)
    await deliver(notifier)
    assert [line for line in caplog.messages if "no target named 'opps': did you mean 'ops'?" in line] == [
        "sales: notify: no target named 'opps': did you mean 'ops'?"
    ]
    assert (await only(link)).due_at is None


async def test_who_was_to_be_told_of_a_removed_task_still_is(link: Link, notifier: Notifier, listener: Any) -> None:
    spec = TaskSpec.model_validate({"name": "sales", "task": "t", "notify": {"to": ["ops"]}})
    await link.run(
        "insert into task_revisions (source, path, name, digest, spec, sync_id, removed_at)"
        " values ('default', 'a.yaml', 'sales', 'd', %s, 1, now())",
        [Jsonb(spec.document())],
    )
    await opened(link)
    await deliver(notifier)
    assert len(listener.titles) == 1


async def test_the_outbox_is_emptied_by_the_loop(link: Link, notifier: Notifier, listener: Any) -> None:
    await config(link)
    running = asyncio.create_task(notifier.run())
    await opened(link)
    try:
        await until(lambda: listener.titles)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_target_is_looked_up_when_it_is_needed(
    listener: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "chat").write_text(listener.target + "\n")
    monkeypatch.setenv("OPS_URL", listener.target)
    targets = {
        "env": Reference(from_env="OPS_URL"),
        "file": Reference(from_file=str(tmp_path / "chat")),
        "none": Reference(from_env="NO_SUCH_URL"),
        "what": SecretStr("no url, geheim"),
    }
    for name in ("env", "file"):
        await tell(targets, name, message_for(name))
    assert len(listener.titles) == 2
    with pytest.raises(NotSentError, match="NO_SUCH_URL is not set where the service runs"):
        await tell(targets, "none", message_for("none"))
    with pytest.raises(NotSentError, match="not an address that apprise knows") as caught:
        await tell(targets, "what", message_for("what"))
    assert "geheim" not in str(caught.value)
    with pytest.raises(UnknownTargetError, match="did you mean 'file'"):
        await tell(targets, "flie", message_for("flie"))


async def test_a_call_that_hangs_is_left_behind() -> None:
    import threading

    hanging = threading.Event()
    with pytest.raises(TimeoutError):
        await aside(hanging.wait, 0.05)
    hanging.set()
    assert await aside(lambda: 3, 5) == 3
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 // 0, 5)


def rows(name: str, *outcomes: bool, trigger: str = "schedule") -> list[dict[str, Any]]:
    return [{"name": name, "digest": f"ping-{name}", "is_success": good, "trigger": trigger} for good in outcomes]


def pinged(name: str, url: Any) -> None:
    spec = TaskSpec.model_validate({"name": name, "task": "t", "notify": {"ping": url}})
    remember(f"ping-{name}", spec)


async def test_the_latest_news_of_each_task_is_pinged(listener: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B_PING", f"{listener.url}/b?x=1")
    pinged("a", f"{listener.url}/a")
    pinged("b", {"from_env": "B_PING"})
    remember("ping-none", TaskSpec.model_validate({"name": "none", "task": "t"}))
    pings = Pings()
    pings.finished([*rows("a", False, True), *rows("b", True, False), *rows("none", True), *rows("unknown", True)])
    pings.finished(rows("a", False, trigger="backfill"))
    running = asyncio.create_task(pings.run())
    try:
        await asyncio.wait_for(pings.drained(), DEADLINE)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert sorted(listener.paths) == ["/a", "/b/fail?x=1"]


async def test_a_ping_that_does_not_go_out_is_one_line_without_its_address(
    listener: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("reconciler.notify.pinging.BETWEEN", 0.01)
    listener.status = 404
    pinged("a", f"{listener.url}/geheim")
    pings = Pings()
    running = asyncio.create_task(pings.run())
    try:
        for count in (1, 2):
            pings.finished(rows("a", True))
            await until(lambda n=count: len(listener.paths) == 3 * n)
            await asyncio.wait_for(pings.drained(), DEADLINE)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [line for line in caplog.messages if "ping" in line] == ["a: its ping did not go out: answered with 404"]
    assert "geheim" not in caplog.text


@pytest.mark.parametrize("url", ["file:///etc/passwd", "no url", "http://[", "http://127.0.0.1:1/geheim"])
async def test_only_the_web_is_pinged_and_no_error_shows_the_address(url: str) -> None:
    with pytest.raises((ReconcilerError, ValueError)) as caught:
        await fetch(url, tries=1)
    assert "geheim" not in str(caught.value)


async def test_the_service_pings_only_while_it_is_well(listener: Any) -> None:
    health = {"is_well": False}
    asked = asyncio.Event()

    async def is_well() -> bool:
        asked.set()
        return health["is_well"]

    running = asyncio.create_task(keep_pinging(SecretStr(f"{listener.url}/service"), 0.01, is_well))
    try:
        await asyncio.wait_for(asked.wait(), DEADLINE)
        await asyncio.sleep(0.1)
        assert listener.paths == []
        health["is_well"] = True
        await until(lambda: listener.paths)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert set(listener.paths) == {"/service"}
