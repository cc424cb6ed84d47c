"""The checks of `doctor` that are rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.cli.checks import clock_went_back, settings_values, unserved
from reconciler.cli.told import told
from reconciler.db.configs import TaskConfig
from reconciler.db.overview import Overview
from reconciler.settings import NotifySettings, Settings

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize("ahead", [None, timedelta(hours=-1), timedelta(0), timedelta(seconds=1)])
def test_a_beat_of_the_past_says_nothing_about_the_clock(ahead: timedelta | None) -> None:
    assert list(clock_went_back(None if ahead is None else NOON + ahead, NOON)) == []


def test_a_beat_of_the_future_says_that_the_clock_went_back() -> None:
    [check] = clock_went_back(NOON + timedelta(minutes=30), NOON)
    assert (check.what, check.state) == ("clock of postgresql", "warning")
    assert check.text == (
        "it went back: a runner was seen 30 min from now: nothing fires again until it is there; check its NTP"
    )


@pytest.mark.parametrize(
    ("target", "state", "text"),
    [
        ("json://localhost/x", "ok", "a known kind of address; reconciler notify test ops tries it"),
        ("jsn://localhost/x", "bad", "notify.targets.ops: not an address that apprise knows: see its list of services"),
        (
            {"from_env": "NOT_SET_ANYWHERE"},
            "warning",
            "notify.targets.ops: from_env: the environment variable NOT_SET_ANYWHERE is not set where the service runs",
        ),
    ],
)
def test_a_target_is_looked_at_before_it_is_needed(target: object, state: str, text: str) -> None:
    [check] = told(NotifySettings.model_validate({"targets": {"ops": target}}))
    assert (check.what, check.state, check.text) == ("target ops", state, text)


@pytest.mark.parametrize(
    ("ping", "state", "text"),
    [
        ("https://example.com/x", "ok", "fetched every 1m while a service is well"),
        ("ftp://example.com/x", "bad", "notify.ping: not an http:// or https:// address"),
    ],
)
def test_the_ping_is_looked_at_before_it_is_needed(ping: str, state: str, text: str) -> None:
    [check] = told(NotifySettings.model_validate({"ping": ping}))
    assert (check.what, check.state, check.text) == ("ping", state, text)


def test_values_of_settings_read_as_they_are_written() -> None:
    keys = ("api.enabled", "notify.ping", "notify.ping_every", "runner.queues")
    notify = {"ping": {"from_env": "PING"}}
    settings = Settings.model_validate({"notify": notify, "origins": dict.fromkeys(keys, "default")})
    shown = [row["value"] for row in settings_values(settings)]
    assert shown == ["true", '{from_env = "PING"}', "1m", "default"]


def in_force(name: str, queue: str, *, known_task: bool, is_served: bool) -> Overview:
    config = TaskConfig(1, name, "default", {"task": "a.b", "queue": queue}, "d", "a.yaml", None, NOON, NOON)
    return Overview(config, NOON, None, None, 0, None, None, known_task, is_served)


def test_what_no_runner_is_going_to_run_is_a_warning_for_each_queue_and_task() -> None:
    rows = [in_force(f"g{one}", "gpu", known_task=True, is_served=False) for one in range(5)]
    rows.append(in_force("ok", "default", known_task=True, is_served=True))
    rows.append(in_force("new", "default", known_task=False, is_served=False))
    assert [(check.what, check.state, check.text) for check in unserved(rows)] == [
        ("tasks in force", "warning", "new: waiting for a runner that has 'a.b': see task_modules"),
        ("queues", "warning", "no runner looks at 'gpu' of g0, g1, g2, 2 more: see runner.queues"),
    ]
