"""What a spec may say, what it means when it says nothing, and when two of them mean the same."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from reconciler.errors import ReconcilerError
from reconciler.registry import Task
from reconciler.spec import TaskSpec, spec_schema
from reconciler.spec.faults import flaws

FULL: dict[str, Any] = {
    "name": "nightly-sales",
    "task": "reports.build",
    "schedule": ["0 2 * * 1-5", "@every 1h30m"],
    "timezone": "Europe/Berlin",
    "seconds": None,
    "dst": {"gap": "skip", "fold": "both"},
    "params": {"region": "eu", "dsn": {"from_env": "SALES_DSN"}, "sizes": [1, 2.5, None, True]},
    "timeout": "10m",
    "retries": {
        "attempts": 3,
        "backoff": "30s",
        "max_backoff": "1h",
        "retry_on": ["ConnectionError", "requests.exceptions.Timeout"],
        "give_up_on": ["ValueError"],
    },
    "memory_limit": "512M",
    "deadline": {"start": "10m", "finish": "1h"},
    "overlap": "allow",
    "missed": "skip",
    "missed_limit": 7,
    "missed_within": "2h",
    "jitter": "30s",
    "starts_at": "2026-01-01T00:00:00+01:00",
    "ends_at": "2026-12-31T18:00:00",
    "skip_on": ["2026-12-25", "2026-12-24"],
    "after": ["load-orders"],
    "queue": "slow",
    "priority": -5,
    "suspend": False,
    "pause_after_failures": 5,
    "history": {"keep": "90d", "keep_last": 100},
    "notify": {
        "on": ["failure", "recovery", "missed"],
        "to": ["ops"],
        "no_success_for": "1d",
        "ping": {"from_env": "PING"},
    },
    "labels": {"team": "data"},
    "description": "Builds the report.\nEvery night.",
}


def spec(**fields: Any) -> TaskSpec:
    return TaskSpec.model_validate({"name": "a", "task": "t", **fields})


def faults(**fields: Any) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        TaskSpec.model_validate({"name": "a", "task": "t", **fields})
    return [f"{'.'.join(map(str, flaw.at))}: {flaw.what}" for flaw in flaws(raised.value)]


def test_a_document_is_json_and_has_every_field() -> None:
    document = TaskSpec.model_validate(FULL).document()
    assert json.loads(json.dumps(document)) == document
    assert document.keys() == TaskSpec.model_fields.keys()


@pytest.mark.parametrize("fields", [FULL, {"name": "a", "task": "t"}])
def test_a_document_gives_the_same_spec_back(fields: dict[str, Any]) -> None:
    one = TaskSpec.model_validate(fields)
    stored = json.loads(json.dumps(one.document()))
    again = TaskSpec.from_document(dict(sorted(stored.items(), reverse=True)))
    assert (again, again.digest) == (one, one.digest)


def test_what_nobody_wrote_has_its_default() -> None:
    small = spec()
    assert small.schedule == ()
    assert small.when() is None
    assert not small.is_scheduled
    assert (small.timezone, small.overlap, small.missed, small.queue) == ("UTC", "skip", "latest", "default")
    assert (small.retries.attempts, small.retries.backoff) == (1, timedelta(seconds=30))
    assert small.history.keep == timedelta(days=30)
    assert small.timeout is None
    assert small.suspend is None


def test_absent_is_not_false() -> None:
    assert spec(suspend=False).digest != spec().digest
    assert [spec(schedule="@daily", suspend=value).is_scheduled for value in (None, False, True)] == [True, True, False]


SAME = [
    ({}, {"timezone": "UTC"}),
    ({"schedule": "@daily"}, {"schedule": ["@daily"]}),
    ({"timeout": "90s"}, {"timeout": "1m30s"}),
    ({"params": {"a": 1, "b": {"c": 1, "d": 2}}}, {"params": {"b": {"d": 2, "c": 1}, "a": 1}}),
    ({"labels": {"a": "x", "b": "y"}}, {"labels": {"b": "y", "a": "x"}}),
    ({"skip_on": ["2026-01-01", "2026-01-02"]}, {"skip_on": ["2026-01-02", "2026-01-01", "2026-01-02"]}),
    ({"starts_at": "2026-01-01T01:00:00+01:00"}, {"starts_at": "2026-01-01T00:00:00Z"}),
    ({"retries": {}}, {"retries": {"attempts": 1}}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_specs_that_mean_the_same_have_the_same_digest(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert spec(**one).digest == spec(**other).digest


DIFFERENT = [
    ({"params": {"a": 1}}, {"params": {"a": "1"}}),
    ({"params": {"a": 1}}, {"params": {"a": True}}),
    ({"params": {"a": [1, 2]}}, {"params": {"a": [2, 1]}}),
    ({"starts_at": "2026-01-01T00:00:00"}, {"starts_at": "2026-01-01T00:00:00Z"}),
    ({"schedule": "@daily"}, {"schedule": "@daily", "timezone": "Europe/Berlin"}),
    ({"skip_on": ["2026-01-01"]}, {}),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_specs_that_differ_have_different_digests(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert spec(**one).digest != spec(**other).digest


def test_when_follows_zone_bounds_and_calendar() -> None:
    when = spec(
        schedule="0 2 * * *", timezone="Europe/Berlin", starts_at="2026-01-01", skip_on=["2026-01-01", "2026-01-02"]
    ).when()
    assert when is not None
    assert when.next_after(datetime(2025, 6, 1, tzinfo=UTC)) == datetime(2026, 1, 3, 1, 0, tzinfo=UTC)


def test_equal_schedules_are_one_object_and_hashed_ones_are_their_own() -> None:
    assert spec(schedule="@daily").when() is spec(name="b", schedule=["@daily"]).when()
    one, other = spec(schedule="H H * * *").when(), spec(name="b", schedule="H H * * *").when()
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert one is not None and other is not None
    assert one.next_after(moment) != other.next_after(moment)


def test_a_calendar_is_resolved_to_its_days() -> None:
    calendars = {"holidays/de": (date(2026, 12, 25), date(2026, 1, 1))}
    fields = {"name": "a", "task": "t", "skip_on": ["holidays/de", "2026-05-01"]}
    resolved = TaskSpec.model_validate(fields, context=lambda name, zone: calendars[name])
    assert resolved.document()["skip_on"] == ["2026-01-01", "2026-05-01", "2026-12-25"]


STRICT = [
    ({"name": "Big Name"}, "name: 'Big Name' is not a name: names have a-z, 0-9 and '.', '_', '-' inside,"),
    ({"name": "../x"}, "name: '../x' is not a name"),
    ({"name": "a" * 129}, "name: 'aaaa"),
    ({"name": "-a"}, "name: '-a' is not a name"),
    ({"name": "é"}, "name: 'é' is not a name"),
    ({"name": "a\n"}, "name: 'a\\n' is not a name"),
    ({"task": 5}, "task: 5 is not text; quote it: '5'"),
    ({"task": ["a"]}, "task: a list is not text"),
    ({"shedule": "@daily"}, "shedule: unknown key; did you mean 'schedule'?"),
    ({"retries": {"atempts": 2}}, "retries.atempts: unknown key; did you mean 'attempts'?"),
    ({"retries": {"attempts": 0}}, "retries.attempts: 0 is too small; the least is 1"),
    ({"retries": {"attempts": 1000}}, "retries.attempts: 1000 is too large; the most is 100"),
    ({"retries": {"attempts": "3"}}, "retries.attempts: '3' is not a whole number; write 3 without quotes"),
    ({"retries": {"attempts": 1.5}}, "retries.attempts: 1.5 is not a whole number"),
    ({"retries": {"attempts": True}}, "retries.attempts: true is not a whole number"),
    ({"retries": {"backoff": "1h"}}, "retries.max_backoff: '10m' is shorter than backoff, '1h'"),
    ({"retries": 3}, "retries: 3 is not a mapping; write {attempts: 3}, which counts the first try too"),
    ({"cron": "@daily"}, "cron: unknown key; did you mean 'schedule'?"),
    ({"schedule": "0 0 2 * * *", "seconds": "frist"}, "seconds: 'frist' is not one of first, last; did you"),
    ({"overlap": "skp"}, "overlap: 'skp' is not one of skip, allow, queue, replace; did you mean 'skip'?"),
    ({"missed": "x"}, "missed: 'x' is not one of latest, all, skip"),
    ({"suspend": "yes"}, "suspend: 'yes' is not true or false"),
    ({"suspend": 1}, "suspend: 1 is not true or false"),
    ({"timeout": 90}, "timeout: 90 is not a duration; write '90s' for seconds"),
    ({"timeout": "0s"}, "timeout: must be longer than nothing"),
    ({"timeout": "1:30"}, "timeout: '1:30' is not a duration"),
    ({"schedule": "60 * * * *"}, "schedule.0: '60 * * * *' has minute 60; minutes run 0-59"),
    ({"schedule": ["@daily", "@dayly"]}, "schedule.1: "),
    ({"schedule": 5}, "schedule: 5 is not a schedule; write '0 2 * * *', '@every 5m', or a list of these"),
    ({"schedule": "0 0 31 2 *"}, "schedule.0: "),
    ({"timezone": "Europe/Berlni"}, "timezone: no time zone is named 'Europe/Berlni'; did you mean 'Europe/Berlin'?"),
    ({"starts_at": "tomorrow"}, "starts_at: 'tomorrow' is not a date and time"),
    ({"starts_at": "9999-12-31"}, "starts_at: '9999-12-31' is not a date and time of the years 1970 to 2200"),
    ({"starts_at": "2026-02-01", "ends_at": "2026-01-01"}, "ends_at: "),
    ({"skip_on": ["2026-02-30"]}, "skip_on.0: '2026-02-30' is not a day"),
    ({"skip_on": "2026-02-03"}, "skip_on: '2026-02-03' is not a list; write [2026-02-03]"),
    ({"after": ["a"]}, "after: 'a' cannot wait for itself"),
    ({"labels": {"team": 5}}, "labels.team: 5 is not text; quote it: '5'"),
    ({"labels": {"Team": "x"}}, "labels.Team: 'Team' is not a name"),
    ({"notify": {"on": ["failure"]}}, "notify: names nobody; give to or ping"),
    ({"notify": {"ping": "ftp://x"}}, "notify.ping: 'ftp://x' is not a URL; write 'https://…', or {from_env: NAME}"),
    ({"notify": {"ping": {"from_env": "A", "b": 1}}}, "notify.ping: a mapping is not a URL"),
    ({"notify": {"url": "https://a"}}, "notify.url: unknown key; did you mean 'ping'?"),
    ({"deadline": {"start": "2h", "finish": "1h"}}, "deadline.finish: '1h' is shorter than start, '2h'"),
    ({"deadline": {"start": "0s"}}, "deadline.start: must be longer than nothing"),
    ({"deadline": "1h"}, "deadline: '1h' is not a mapping; write {start: 1h} or {finish: 1h}"),
    ({"deadline": {"by": "1h"}}, "deadline.by: unknown key; known are start, finish"),
    ({"memory_limit": "8M"}, "memory_limit: '8M' is less than a process needs; the least is '16M'"),
    ({"memory_limit": "1X"}, "memory_limit: '1X' is not an amount of memory; examples: '512M', '2G'"),
    ({"memory": "1G"}, "memory: unknown key; did you mean 'memory_limit'?"),
    ({"needs": ["b"]}, "needs: unknown key; did you mean 'after'?"),
    ({"retries": {"retry_on": ["a b"]}}, "retries.retry_on.0: 'a b' is not the name of an exception; examples: "),
    ({"retries": {"retry_on": ["A"], "give_up_on": ["B", "A"]}}, "retries.give_up_on: 'A' is in retry_on too"),
    ({"notify": {"on": ["boom"], "to": ["x"]}}, "notify.on.0: 'boom' is not one of failure, recovery, missed"),
    ({"notify": {"to": []}}, "notify: names nobody; give to or ping"),
    ({"history": {"keep": "0s"}}, "history.keep: must be longer than nothing"),
    ({"priority": 40_000}, "priority: 40000 is too large; the most is 32767"),
    ({"description": "a\x1b[31m"}, "description: has the character '\\x1b', which cannot be shown"),
    ({"task": "a\nb"}, "task: has the character '\\n', which cannot be shown"),
    ({"params": [1]}, "params: a list is not a mapping"),
    ({"params": {str(n): n for n in range(300)}}, "params: has "),
]


@pytest.mark.parametrize(("fields", "line"), STRICT)
def test_what_a_field_cannot_hold_is_one_line(fields: dict[str, Any], line: str) -> None:
    (found,) = faults(**fields)
    assert found.startswith(line)


def test_every_fault_is_told_at_once() -> None:
    found = faults(
        schedule=["60 * * * *", 5, "5-1 * * * *"], timezone="Nowhere", overlap="x", retries={"attempts": 0, "x": 1}
    )
    assert [line.partition(":")[0] for line in found] == [
        "timezone", "schedule.0", "schedule.1", "schedule.2", "retries.attempts", "retries.x", "overlap",
    ]  # fmt: skip


def test_a_document_of_another_version_is_one_line() -> None:
    with pytest.raises(ReconcilerError, match=r"^a: colour: .*: of another version; apply its spec again$"):
        TaskSpec.from_document({**spec().document(), "colour": "red"})


def test_the_editor_schema_tells_what_the_named_task_does() -> None:
    def build(region: str) -> None:
        """Build the report.

        Of one region.
        """

    named = Task("reports.build", build, is_async=False, doc="Build the report.\n\nOf one region.", module="reports")
    [rule] = spec_schema({"reports.build": named})["allOf"]
    assert rule["if"]["properties"] == {"task": {"const": "reports.build"}}
    told = rule["then"]["properties"]
    assert told["task"] == {"description": "Build the report."}
    assert (told["params"]["description"], list(told["params"]["properties"])) == ("Build the report.", ["region"])


def test_the_editor_schema_knows_every_field_and_the_defaults_as_one_writes_them() -> None:
    schema = spec_schema({})
    assert schema["properties"].keys() == {*TaskSpec.model_fields, "environments"}
    assert schema["additionalProperties"] is False
    assert schema["properties"]["missed_within"]["default"] == "1h"
    assert schema["definitions"]["Retries"]["properties"]["max_backoff"]["default"] == "10m"
    assert "$defs" not in json.dumps(schema)
