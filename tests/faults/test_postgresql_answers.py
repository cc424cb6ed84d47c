"""The answer of a COMMIT is lost: whoever asked does not know whether it was done, finds out, and does it once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from faultkit import Project, Proxy, now, until
from faultkit.crowd import CROWD, all_ran, crowd, holds
from faultkit.waiting import rows

pytestmark = pytest.mark.faults

# By a piece of the statement whose transaction it is.
LOST = {
    "decide": "update task_cursors",
    "pick up": "token = gen_random_uuid()",
    "finish": "insert into task_executions",
    "hand back": "set runner_id = null, token = null",
    "beat": "update runners set beat",
}
TIMES = 3


def test_what_a_runner_was_not_told_is_done_once(house: Project, proxied: Callable[[str], Proxy]) -> None:
    began, proxy = now(house.database_url), proxied("postgresql")
    crowd(house)
    runner = house.start("runner", database_url=proxy.url(house.database_url))
    all_ran(house)
    for number, (what, text) in enumerate(LOST.items(), 1):
        proxy.lose_commits(TIMES, text)
        until(lambda number=number: proxy.lost == number * TIMES, what=f"answers to {what} are lost")  # type: ignore[misc]
        all_ran(house)
    assert runner.is_alive
    holds(house, faults=[(began, now(house.database_url))])


def test_an_apply_that_was_not_told_is_done_once(house: Project, proxied: Callable[[str], Proxy]) -> None:
    began, proxy = now(house.database_url), proxied("postgresql")
    for name, text in CROWD.items():
        house.spec(name, text)
    proxy.lose_commits(1, "insert into syncs")
    first = house.run("apply", database_url=proxy.url(house.database_url))
    assert first.returncode == 1
    assert "may or may not be done" in first.stderr
    assert len(first.stderr.strip().splitlines()) == 1
    again = house.run("apply", database_url=proxy.url(house.database_url))
    assert again.returncode == 0, again.stderr
    assert rows(house.database_url, "select count(*), count(distinct name) from task_revisions") == [
        (len(CROWD), len(CROWD))
    ]
    house.start("runner")
    all_ran(house)
    holds(house, faults=[(began, now(house.database_url))])


def test_a_sync_loop_that_was_not_told_goes_on_from_what_is_there(
    house: Project, proxied: Callable[[str], Proxy]
) -> None:
    house.configure(settings='[[sources]]\nname = "default"\npath = "specs"\ninterval = "500ms"\n')
    began, proxy = now(house.database_url), proxied("postgresql")
    crowd(house)
    house.start("serve", "--no-runner", database_url=proxy.url(house.database_url))
    house.start("runner")
    all_ran(house)
    proxy.lose_commits(1, "insert into task_revisions")
    house.spec("often", 'task: j.async\nschedule: "@every 2s"')
    until(lambda: proxy.lost == 1, what="the answer is lost")
    house.spec("cron", 'task: j.async\nschedule: "1-59/2 * * * * *"\nseconds: first')
    revisions = "select name, count(*) from task_revisions where name in ('often', 'cron') group by name order by name"
    until(lambda: rows(house.database_url, revisions) == [("cron", 2), ("often", 2)], what="both edits are there, once")
    all_ran(house)
    holds(house, faults=[(began, now(house.database_url))])
