"""A runner stands still beyond its lease and goes on: others have taken over, so what it brings late is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from faultkit import Project, now, until
from faultkit.crowd import CROWD, all_ran, holds
from faultkit.waiting import rows

pytestmark = pytest.mark.faults

LONG = {
    "shared": "task: j.async\nparams: {seconds: 5}\nretries: {attempts: 2, backoff: 100ms}",
    "alone": "task: j.sync\nparams: {seconds: 5}\nretries: {attempts: 2, backoff: 100ms}",
    "once": "task: j.async\nparams: {seconds: 5}",
}


def test_its_late_results_are_refused_and_it_says_so_and_goes_on(house: Project) -> None:
    for name, text in {**LONG, "often": CROWD["often"]}.items():
        house.spec(name, text)
    house.apply()
    stopped = house.start("runner")
    began = now(house.database_url)
    all_ran(house, names=["often"])
    with ThreadPoolExecutor(len(LONG)) as pool:  # one after the other, the first would be over before the last began
        asked = list(pool.map(lambda name: house.run("trigger", name, "--queue"), LONG))
    assert [done.returncode for done in asked] == [0] * len(LONG)
    until(lambda: {entry.name for entry in house.journal.starts()} >= LONG.keys(), what="all three began")
    stopped.stop()
    other = house.start("runner")
    until(lambda: len(house.journal.ends("shared")) == 1 and len(house.journal.ends("alone")) == 1, what="they end")
    until(lambda: rows(house.database_url, "select 1 from runners where ending = 'died'"), what="its death is noted")
    other.says("occurrences of it are handed back")
    stopped.cont()
    stopped.says("result dropped: another runner has taken it over|another runner has taken over")
    stopped.says("another runner had counted this one as dead; it goes on anew")
    until(lambda: len(result_of(house)) == len(LONG), what="each has its row")
    assert result_of(house) == {
        "shared": (True, 1, "the runner died"),
        "alone": (True, 1, "the runner died"),
        "once": (False, 0, None),
    }
    other.terminate()
    mine = f"%:{stopped.pid}"
    newest = now(house.database_url)
    query = "select 1 from task_executions where runner like %s and is_success and started_at > %s"
    until(lambda: rows(house.database_url, query, [mine, newest]), what="it goes on")
    holds(house, faults=[(began, now(house.database_url))])


def result_of(house: Project) -> dict[str, tuple[bool, int, str | None]]:
    found = rows(
        house.database_url,
        "select name, is_success, jsonb_array_length(attempts), attempts -> 0 ->> 'error' from task_executions"
        " where name = any(%s)",
        [list(LONG)],
    )
    return {name: (is_success, count, error) for name, is_success, count, error in found}
