"""A task of each kind that faults treat differently, and the ways to wait until all of them are at work.

What the cases about kills, Redis, git and the machine run; each ends in `holds`.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

from faultkit.checker import check, drain
from faultkit.program import Project
from faultkit.waiting import now, rows, until

SEED = int(os.environ.get("RECONCILER_TEST_FAULTS_SEED", "20261124"))
# How long a fault lasts: a few seconds in CI, a minute and more by hand.
SECONDS = float(os.environ.get("RECONCILER_TEST_FAULTS_SECONDS", "3"))
LASTING = min(SECONDS, 90.0)

# Until the first runner was there; and what a machine that has much else to do may hold up a look by: two seconds.
BEFORE = """
    select min(applied_at), (select min(started_at) from task_executions) + interval '1 second' from task_revisions"""
HICCUPS = "select first, last from task_skips where reason = 'missed' and count <= 2"
HELD = "held"
T = TypeVar("T")
RETRIED = "retries: {attempts: 3, backoff: 100ms}"
CROWD = {
    "often": 'task: j.async\nschedule: "@every 1s"',
    "cron": 'task: j.async\nschedule: "*/2 * * * * *"\nseconds: first',
    "worker": f'task: j.sync\nschedule: "@every 1s"\nparams: {{seconds: 0.1}}\n{RETRIED}',
    "long": f'task: j.async\nschedule: "@every 2s"\nparams: {{seconds: 1.4}}\n{RETRIED}',
    "beside": f'task: j.async\nschedule: "@every 1s"\noverlap: allow\nparams: {{seconds: 1.3}}\n{RETRIED}',
    "queued": 'task: j.async\nschedule: "@every 1s"\noverlap: queue\nparams: {seconds: 1.2}',
    "flaky": f'task: j.flaky\nschedule: "@every 1s"\n{RETRIED}',
    "backlog": 'task: j.async\nschedule: "@every 1s"\nmissed: all\noverlap: allow',
    "fresh": 'task: j.async\nschedule: "@every 1s"\nmissed: skip',
}
# Those that take more than a moment.
LONG = frozenset({"long", "beside", "queued"})


def chance(*what: object) -> random.Random:
    """The same for the same seed and case."""
    return random.Random(f"{SEED} {what}")


def some(these: Sequence[T], others: Sequence[T]) -> list[T]:
    """The cases of a test: the others too where it may take longer than CI has."""
    return [*these, *(others if SECONDS >= 10 else [])]


def crowd(project: Project, *, with_held: bool = False) -> None:
    """Write the specs and apply them; `with_held`: one more, which is paused from the beginning and never runs."""
    for name, text in CROWD.items():
        project.spec(name, text)
    if with_held:
        project.spec(HELD, CROWD["often"])
    project.apply()
    if with_held:
        done = project.run("pause", HELD, "--reason", "it must not run")
        assert done.returncode == 0, done.stderr


def follow(project: Project, repository: Any, **more: str) -> None:
    """Make a repository (one of the root conftest's) the only source of that project."""
    lines = {"name": "default", "repo": repository.url, "allow_file": True, "interval": "300ms"} | more
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items())
    project.configure(settings=f"[[sources]]\n{text}\n")


def crowd_in(repository: Any) -> str:
    """Commit the specs there; the commit."""
    return str(repository.commit("first", **CROWD))


def all_ran(project: Project, since: datetime | None = None, names: Collection[str] = CROWD) -> None:
    """Wait until each of these has succeeded for an instant after `since`."""
    moment = since or now(project.database_url)
    statement = "select distinct name from task_executions where is_success and scheduled_for > %s"

    def missing() -> set[str]:
        return set(names) - {name for (name,) in rows(project.database_url, statement, [moment])}

    until(lambda: not missing(), 60, f"{sorted(names)} ran once more")


def lasts(seconds: float = LASTING) -> None:
    """A fault's duration."""
    time.sleep(seconds)


def are_there(project: Project, number: int) -> None:
    """Wait until so many runners have begun."""
    statement = "select count(*) from runners where ended_at is null"
    until(lambda: rows(project.database_url, statement) == [(number,)], 60, f"{number} runners")


def drained_by(project: Project, repository: Any) -> None:
    """The same as the kit's `drain`, for specs that come from there: a commit that suspends them all."""
    for path in (repository.tree / "specs").glob("*.yaml"):
        path.write_text(f"{path.read_text().strip()}\nsuspend: true\n")
    last = repository.commit("the end")
    until(lambda: rows(project.database_url, "select revision from sources") == [(last,)], 60, "all are suspended")
    until(lambda: rows(project.database_url, "select count(*) from task_claims") == [(0,)], 60, "every claim ends")


def holds(project: Project, *, faults: Sequence[tuple[datetime, datetime]] = (), repository: Any = None) -> None:
    """Let everything come to its end, and compare oracle, journal, rows and ledger. A runner must be there.

    Nothing may be missed but within `faults`, and before the first runner was there.
    """
    if repository is None:
        drain(project, 60)
    else:
        drained_by(project, repository)
    excused = [*faults, *rows(project.database_url, BEFORE), *rows(project.database_url, HICCUPS)]
    found = check(project.database_url, project.journal, faults=excused)
    assert found == [], "\n".join([*found, f"faults: {faults}"])
    assert project.journal.entries(HELD) == []
