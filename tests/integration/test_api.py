"""What is answered over HTTP: that it lives, whether it is well and why not, and the figures."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from reconciler.api.door import Door, open_door
from reconciler.api.vitals import LastPass, Vitals
from reconciler.db.link import Link
from reconciler.errors import ReconcilerError
from reconciler.runner.clock import Clock
from reconciler.runner.cutoff import Outages
from reconciler.runner.figures import Figures
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.settings import ApiSettings, RunnerSettings, Settings
from reconciler.spec import TaskSpec
from reconciler.spec.by_digest import remember
from reconciler.sync.reconcile import Pass

T = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
ANY = ApiSettings(port=0)


def a_runner(**values: Any) -> Any:
    """What the API sees of a runner: one that has just ticked and beaten."""
    outages = Outages(Clock(), time.monotonic)
    outages.worked("beats")
    given: dict[str, Any] = {
        "settings": RunnerSettings(),
        "figures": Figures(outages, time.monotonic),
        "children": SimpleNamespace(is_there=True, faults=[]),
        "running": SimpleNamespace(results=[], __len__=lambda: 0),
    }
    return SimpleNamespace(**given | values)


class Running(list[Any]):
    """Runs under way, and results that are not written."""

    def __init__(self, results: Sequence[Any] = ()) -> None:
        super().__init__()
        self.results = results


@asynccontextmanager
async def answering(vitals: Vitals) -> AsyncIterator[str]:
    """The address of a service with these vitals."""
    door = open_door(ANY, is_asked_for=True)
    assert door
    serving = asyncio.create_task(door.serve(vitals))
    try:
        yield door.url
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        door.close()


async def get(url: str, **headers: str) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


@pytest.fixture
async def vitals(link: Link, redis: RedisServiceManager) -> Vitals:
    """Of a service without a runner that syncs one source and has just done so."""
    vitals = Vitals(Settings(), link, redis, None, syncs=True)
    vitals.passed(vitals.sources[0], Pass(), 0.25)
    return vitals


async def test_a_service_that_is_well_says_so_part_by_part(vitals: Vitals) -> None:
    vitals.runner = a_runner(running=Running())
    async with answering(vitals) as url:
        assert await get(f"{url}/healthz") == (200, '{"status":"ok"}')
        status, text = await get(f"{url}/readyz")
        assert (await get(f"{url}/nothing"))[0] == 404
    said = json.loads(text)
    assert (status, said["status"]) == (200, "ready")
    assert said["checks"].keys() == {"postgresql", "redis", "sync", "control", "beat", "children"}
    assert {check["state"] for check in said["checks"].values()} == {"ok"}
    assert await vitals.is_well()


async def test_what_is_not_well_is_named_with_its_reason(redis: RedisServiceManager) -> None:
    link = Link("postgresql://ana:hunter2@127.0.0.1:1/x", connect_timeout=1)
    gone = RedisServiceManager("redis://:hunter2@127.0.0.1:1")
    vitals = Vitals(Settings(), link, gone, None, syncs=True)
    outages = Outages(Clock(), time.monotonic)
    vitals.runner = a_runner(
        figures=Figures(outages, lambda: time.monotonic() - 100),
        children=SimpleNamespace(is_there=False, faults=[]),
    )
    try:
        async with answering(vitals) as url:
            assert (await get(f"{url}/healthz"))[0] == 200
            status, text = await get(f"{url}/readyz")
    finally:
        await gone.close()
    said = json.loads(text)
    assert (status, said["status"]) == (503, "not ready")
    for part, reason in {
        "postgresql": "nothing listens there",
        "redis": "nothing listens there",
        "sync": "no pass has ended yet",
        "control": "has not ticked for 100",
        "children": "no process for tasks",
    }.items():
        assert said["checks"][part]["state"] == "failed"
        assert reason in said["checks"][part]["reason"]
    assert "hunter2" not in text
    assert not await vitals.is_well()


async def test_a_database_of_another_version_is_not_ready(empty_database_url: str, redis: RedisServiceManager) -> None:
    link = Link(empty_database_url)
    try:
        check = (await Vitals(Settings(), link, redis, None, syncs=False).checks())["postgresql"]
    finally:
        await link.close()
    assert (check.state, check.reason) == ("failed", "postgresql: the database is empty: run 'reconciler db upgrade'")


async def test_a_broken_spec_is_a_warning_and_an_overdue_pass_a_failure(vitals: Vitals) -> None:
    (source,) = vitals.sources
    vitals.passed(source, None, 0.1)
    assert (await vitals.checks())["sync"].state == "warning"
    assert await vitals.is_well()
    vitals.passed(source, Pass(trouble="redis: away"), 0.1)
    assert (await vitals.checks())["sync"].reason == "redis: away"
    long_ago = time.monotonic() - 10 * source.interval.total_seconds()
    vitals.passes[source.name] = replace(vitals.passes[source.name], at=long_ago)
    assert (await vitals.checks())["sync"].state == "failed"


async def config(link: Link, name: str) -> None:
    spec = TaskSpec.model_validate({"name": name, "task": "t"})
    await link.run(
        "insert into task_configs (name, source, spec, digest, path) values (%s, 'default', %s, 'd', 'a.yaml')",
        [name, Jsonb(spec.document())],
    )


def figures_of(text: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def test_the_figures_of_a_runner_are_those_of_its_rows(vitals: Vitals, link: Link) -> None:
    remember("metrics", TaskSpec.model_validate({"name": "a", "task": "t", "queue": "etl"}))
    row = {"name": "a", "task": "t", "digest": "metrics", "trigger": "schedule", "attempts": [], "scheduled_for": T}
    quick = {**row, "started_at": T + timedelta(milliseconds=20), "finished_at": T + timedelta(seconds=2)}
    late = {**row, "trigger": "catch_up", "started_at": T + timedelta(hours=1), "finished_at": T + timedelta(hours=1)}
    runner = a_runner(running=Running([1, 2, 3]))
    runner.figures.finished([{**quick, "is_success": True}, {**late, "is_success": False}])
    runner.figures.looked(2, {"missed": 5, "overlap": 1})
    vitals.runner = runner
    async with answering(vitals) as url:
        status, text = await get(f"{url}/metrics")
    found = figures_of(text)
    assert status == 200
    for name, value in {
        'reconciler_runs_total{outcome="succeeded",queue="etl",task="t"}': 1,
        'reconciler_runs_total{outcome="failed",queue="etl",task="t"}': 1,
        'reconciler_start_lag_seconds_bucket{le="0.01",queue="etl"}': 0,
        'reconciler_start_lag_seconds_bucket{le="0.025",queue="etl"}': 1,
        'reconciler_start_lag_seconds_count{queue="etl"}': 1,
        'reconciler_run_duration_seconds_bucket{le="+Inf",task="t"}': 2,
        'reconciler_skipped_instants_total{reason="missed"}': 5,
        'reconciler_skipped_instants_total{reason="overlap"}': 1,
        "reconciler_missed_instants_total": 5,
        "reconciler_decision_batch_size_sum": 2,
        "reconciler_result_batch_size_count": 1,
        "reconciler_unwritten_results": 3,
        "reconciler_beats_total": 1,
        'reconciler_sync_success{source="default"}': 1,
        'reconciler_sync_duration_seconds{source="default"}': 0.25,
        "reconciler_database_up": 1,
        "reconciler_tasks": 0,
    }.items():
        assert found[name] == value, name
    assert any(name.startswith("reconciler_build_info") for name in found)


async def test_the_figures_of_the_database_are_by_name_and_by_queue(vitals: Vitals, link: Link) -> None:
    for name in ("good", "bad", "new"):
        await config(link, name)
    insert = """
        insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest)
        values (%s, clock_timestamp() - %s::interval, 't', clock_timestamp(), clock_timestamp() - %s::interval, %s,
                'schedule', 'd')"""
    for name, ago, is_success in (("good", "1 hour", True), ("bad", "2 hours", True), ("bad", "1 hour", False)):
        await link.run(insert, [name, ago, ago, is_success])
    await link.run(
        """insert into task_claims (name, scheduled_for, not_before, queue, trigger, digest, exclusive, task)
           values ('good', now(), clock_timestamp() + '1 hour', 'etl', 'schedule', 'd', true, 't'),
                  ('bad', now(), clock_timestamp() - interval '1 hour', 'etl', 'schedule', 'd', true, 't')"""
    )
    await link.run("insert into incidents (name, kind) values ('bad', 'failure')")
    async with answering(vitals) as url:
        _, text = await get(f"{url}/metrics", accept="application/openmetrics-text; version=1.0.0")
    found = figures_of(text)
    assert 3600 <= found['reconciler_last_success_age_seconds{name="good"}'] < 3700
    assert 7200 <= found['reconciler_last_success_age_seconds{name="bad"}'] < 7300
    assert 'reconciler_last_success_age_seconds{name="new"}' not in found
    assert found['reconciler_last_run_success{name="bad"}'] == 0
    assert found['reconciler_waiting_runs{queue="etl"}'] == 1
    assert found['reconciler_backing_off_runs{queue="etl"}'] == 1
    assert found['reconciler_open_incidents{kind="failure"}'] == 1
    assert text.endswith("# EOF\n")


async def test_every_figure_and_every_check_is_in_the_docs_and_the_other_way_round(vitals: Vitals) -> None:
    vitals.runner = a_runner(running=Running())
    async with answering(vitals) as url:
        _, text = await get(f"{url}/metrics")
        _, checks = await get(f"{url}/readyz")
    document = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    names = re.findall(r"^\|([^|]+)\|", document, re.MULTILINE)
    figures = set(re.findall(r"^# TYPE (reconciler_\w+)", text, re.MULTILINE))
    assert {name for row in names for name in re.findall(r"`(reconciler_\w+)`", row)} == figures
    assert set(re.findall(r"^\| `(\w+)` \| [^|]+ \|$", document, re.MULTILINE)) == json.loads(checks)["checks"].keys()


async def test_too_many_tasks_have_figures_together_only(
    vitals: Vitals, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.api.metrics.MOST_NAMES", 1)
    for name in ("a", "b"):
        await config(link, name)
    async with answering(vitals) as url:
        _, text = await get(f"{url}/metrics")
    found = figures_of(text)
    assert (found["reconciler_tasks"], found["reconciler_tasks_left_out"]) == (2, 1)
    assert "{name=" not in text


async def test_figures_come_also_without_a_database(redis: RedisServiceManager) -> None:
    vitals = Vitals(Settings(), Link("postgresql://nobody@127.0.0.1:1/x"), redis, None, syncs=True)
    vitals.passes["default"] = LastPass(time.monotonic(), 1.0, "x")
    async with answering(vitals) as url:
        status, text = await get(f"{url}/metrics")
    found = figures_of(text)
    assert (status, found["reconciler_database_up"]) == (200, 0)
    assert found['reconciler_sync_success{source="default"}'] == 0


def taken() -> socket.socket:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    bound.listen()
    return bound


def test_an_address_that_is_taken_is_a_warning_by_default_and_an_error_where_it_was_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with taken() as other:
        settings = ApiSettings(port=other.getsockname()[1])
        assert open_door(settings, is_asked_for=False) is None
        assert "goes on without it" in caplog.text
        with pytest.raises(ReconcilerError, match=r"api: 127.0.0.1:\d+ is taken: choose another with"):
            open_door(settings, is_asked_for=True)
    with pytest.raises(ReconcilerError, match=r"check api\.host"):
        open_door(ApiSettings(host="no.such.host.invalid", port=0), is_asked_for=False)


def test_an_address_of_the_newer_kind_is_shown_as_one() -> None:
    try:
        door = open_door(ApiSettings(host="::1", port=0), is_asked_for=True)
    except ReconcilerError:
        pytest.skip("no IPv6 here")
    assert isinstance(door, Door)
    assert door.url.startswith("http://[::1]:")
    door.close()


PUSH = {"ref": "refs/heads/main", "repository": {"clone_url": "https://git.example.org/ops/jobs.git"}}
FOLLOWING = [
    {"name": "jobs", "repo": "git@git.example.org:ops/jobs.git"},
    {"name": "tagged", "repo": "https://git.example.org/ops/jobs", "ref": "semver:>=1"},
    {"name": "here"},
]


@asynccontextmanager
async def taking_hooks(link: Link, redis: RedisServiceManager, **api: Any) -> AsyncIterator[str]:
    """The address of a service that follows a repository, and knows a secret unless told otherwise."""
    settings = Settings.model_validate({"sources": FOLLOWING, "api": {"hook_secret": "s3cret"} | api})
    door = open_door(ANY, is_asked_for=True)
    assert door
    vitals = Vitals(settings, link, redis, None, syncs=True)
    serving = asyncio.create_task(door.serve(vitals, SchedulerService(redis).syncing))
    try:
        yield f"{door.url}/hooks/git"
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        door.close()


async def post(url: str, body: bytes, secret: str = "s3cret") -> tuple[int, Any]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={signature}", "Content-Type": "application/json"}

    def send() -> tuple[int, Any]:
        try:
            request = urllib.request.Request(url, body, headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return await asyncio.to_thread(send)


async def test_a_signed_push_has_the_sources_that_follow_it_looked_at(link: Link, redis: RedisServiceManager) -> None:
    wishes = SchedulerService(redis).syncing.wishes()
    assert await anext(wishes) is None  # it listens
    try:
        async with taking_hooks(link, redis) as url:
            assert await post(url, json.dumps(PUSH).encode()) == (202, {"sources": ["jobs"]})
            async with asyncio.timeout(30):
                wish = await anext(wishes)
            assert wish
            assert wish.source == "jobs"
            tag = PUSH | {"ref": "refs/tags/v1.2.0"}
            assert await post(url, json.dumps(tag).encode()) == (202, {"sources": ["tagged"]})
            status, said = await post(url, json.dumps(PUSH | {"ref": "refs/heads/x"}).encode())
            reason = "no source of this service follows refs/heads/x of git.example.org/ops/jobs"
            assert (status, said) == (200, {"sources": [], "reason": reason})
            status, said = await post(url, json.dumps({"repository": PUSH["repository"]}).encode())
            assert (status, said["reason"]) == (200, "it tells of no push")
    finally:
        await wishes.aclose()


async def test_any_other_message_is_refused_in_one_line(
    link: Link, redis: RedisServiceManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.api.hooks.LARGEST", 2**20)
    async with taking_hooks(link, redis) as url:
        assert (await post(url, json.dumps(PUSH).encode(), "guessed"))[0] == 401
        status, said = await post(url, b"{")
        assert (status, said["error"].partition(": have")[0]) == (400, "hooks: the body is no JSON")
        assert (await post(url, b"x" * (2**20 + 1)))[0] == 413
        assert (await get(url))[0] == 405
    async with taking_hooks(link, redis, hook_secret=None) as url:
        status, said = await post(url, json.dumps(PUSH).encode())
        assert (status, said["error"].partition(":")[0]) == (404, "hooks")
    async with taking_hooks(link, redis, hook_secret={"from_env": "NOT_SET_ANYWHERE"}) as url:
        status, said = await post(url, json.dumps(PUSH).encode())
        assert status == 503
        assert "NOT_SET_ANYWHERE" in said["error"]
    gone = RedisServiceManager("redis://:hunter2@127.0.0.1:1")
    try:
        async with taking_hooks(link, gone) as url:
            status, said = await post(url, json.dumps(PUSH).encode())
            assert status == 503
            assert "hunter2" not in said["error"]
    finally:
        await gone.close()
