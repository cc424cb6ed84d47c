"""The single checks of `doctor`: each looks at one thing and says what it found, never raising for what is broken."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reconciler.durations import span
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.overview import Overview
    from reconciler.embedded import Stores
    from reconciler.scheduler import RedisServiceManager
    from reconciler.settings import Settings, SourceSettings

PACKAGES = ("click", "croniter", "psycopg", "pydantic", "pyyaml", "redis", "sqlalchemy", "watchfiles")
OLDEST_POSTGRESQL = 140_000
LARGEST_OFFSET = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `text` also says what to do where `state` is not ok."""

    what: str
    state: Literal["ok", "warning", "bad"]
    text: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def of_host(settings: Settings) -> list[Check]:
    """What can be seen without a store: versions, time zones, sources, git, task modules."""
    return [*_versions(), _time_zones(), *_sources(settings), *_task_modules(settings)]


async def of_stores(stores: Stores, settings: Settings) -> list[Check]:
    """Connections, versions, schema, clocks, Redis' policy, and who runs."""
    from reconciler.db.link import Link
    from reconciler.scheduler import RedisServiceManager

    link = Link(stores.database_url)
    redis = RedisServiceManager(stores.redis_url, settings.redis_prefix)
    kind = "embedded" if stores.is_embedded else "own"
    try:
        return [*await _postgresql(link, kind), *await _redis(redis)]
    finally:
        await link.close()
        await redis.close()


def settings_values(settings: Settings) -> list[dict[str, str]]:
    """Each setting with its value, secrets hidden, and where the value came from."""
    return [
        {"setting": key, "value": _value(settings, key), "from": origin} for key, origin in settings.origins.items()
    ]


def _versions() -> list[Check]:
    from reconciler import __version__

    python = ".".join(map(str, sys.version_info[:3]))
    return [Check("reconciler", "ok", f"{__version__}, Python {python}"), _packages()]


def _packages() -> Check:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", "bad", f"missing: {', '.join(missing)}: install reconciler again")
    return Check("packages", "ok", ", ".join(found))


def _time_zones() -> Check:
    import zoneinfo

    for place in zoneinfo.TZPATH:
        data = Path(place) / "tzdata.zi"
        if (Path(place) / "Europe" / "Berlin").exists():
            with_version = data.open(encoding="utf-8").readline().split() if data.exists() else []
            return Check("time zones", "ok", f"{place}, version {with_version[-1] if with_version else 'unknown'}")
    try:
        return Check("time zones", "ok", f"the package tzdata {version('tzdata')}")
    except PackageNotFoundError:
        return Check("time zones", "bad", "no data: install tzdata")


def _sources(settings: Settings) -> Iterator[Check]:
    from reconciler.gitrepo import revision_of

    for source in settings.sources:
        if source.repo:
            yield _repository(source, settings)
            continue
        root = settings.directory / source.path
        if not root.exists():
            yield Check(f"source {source.name}", "bad", f"{root}: no such directory: set sources.path")
            continue
        revision = revision_of(root)
        why = f" ({revision.reason})" if revision.reason else ""
        yield Check(f"source {source.name}", "ok", f"{root}, {revision.short}{why}")


def _repository(source: SourceSettings, settings: Settings) -> Check:
    from reconciler.gitrepo import origin_of

    origin = origin_of(source, settings.directory)
    try:
        found = origin.look()
    except ReconcilerError as error:
        return Check(f"source {source.name}", "bad", str(error).removeprefix(f"source '{source.name}': "))
    signer = f", signed by {found.signer}" if found.signer else ""
    return Check(f"source {source.name}", "ok", f"{origin.place}, {found.short}{signer}")


def _task_modules(settings: Settings) -> Iterator[Check]:
    from reconciler.cli.specs import discover
    from reconciler.registry import TASKS

    faults = discover(settings)
    yield Check("tasks", "ok" if TASKS else "warning", f"{len(TASKS)} in the task modules")
    yield from (Check("task module", "bad", fault) for fault in faults)


async def _postgresql(link: Link, kind: str) -> list[Check]:
    from reconciler.db import schema
    from reconciler.db.server import server

    try:
        await server(link)  # the connection, which must not count as clock offset
        asked = datetime.now(UTC)
        began = time.monotonic()
        found = await server(link)
        middle = asked + timedelta(seconds=(time.monotonic() - began) / 2)
        checks = [Check("postgresql", *_supported(found.number, f"{found.version} ({kind}), {link.place}"))]
        checks.append(_clock("postgresql", found.now - middle))
    except ReconcilerError as error:
        return [Check("postgresql", "bad", str(error))]
    try:
        await schema.require_current(link)
        checks.append(Check("schema", "ok", f"at {schema.head_revision()}"))
        checks += await _runners(link)
        checks += await _attempts(link)
        checks += await _clock_ahead(link)
    except ReconcilerError as error:
        by_itself = "of another version, or none yet: the next command that needs it brings it up to date"
        is_own = kind == "embedded"
        checks.append(Check("schema", "warning" if is_own else "bad", by_itself if is_own else str(error)))
    return checks


async def _runners(link: Link) -> list[Check]:
    from reconciler.cli.runners import live
    from reconciler.db.overview import overview

    runners = await live(link)
    if not runners:
        return [Check("runners", "warning", "none: nothing fires until one runs: reconciler serve")]
    there = Check("runners", "ok", ", ".join(runner.place for runner in runners))
    return [there, *unserved(await overview(link))]


async def _attempts(link: Link) -> list[Check]:
    """Sources whose last attempt came to nothing, or was refused in part."""
    from reconciler.db import sources
    from reconciler.lines import bare, first_line

    failed = [row for row in await sources.every(link) if row.error]
    return [Check(f"sync of {row.name}", "warning", first_line(bare(row.error or "", row.name), 200)) for row in failed]


def unserved(rows: Iterable[Overview]) -> Iterator[Check]:
    """What no runner is going to run, though there are runners: by the task or the queue that none of them has."""
    tasks: dict[str, list[str]] = {}
    queues: dict[str, list[str]] = {}
    for row in rows:
        spec = row.config.spec
        if not row.known_task:
            tasks.setdefault(str(spec.get("task")), []).append(row.config.name)
        elif not row.is_served:
            queues.setdefault(str(spec.get("queue")), []).append(row.config.name)
    for task, names in tasks.items():
        yield Check(
            "tasks in force", "warning", f"{_few(names)}: waiting for a runner that has '{task}': see task_modules"
        )
    for queue, names in queues.items():
        yield Check("queues", "warning", f"no runner looks at '{queue}' of {_few(names)}: see runner.queues")


def _few(names: list[str]) -> str:
    return ", ".join([*names[:3], *([f"{len(names) - 3} more"] if len(names) > 3 else [])])


async def _clock_ahead(link: Link) -> list[Check]:
    from reconciler.db import runners

    return list(clock_went_back(*await runners.newest_sign(link)))


def clock_went_back(newest: datetime | None, now: datetime) -> Iterator[Check]:
    """What there is to say where a runner was seen at a moment, `newest`, that PostgreSQL has not come to yet."""
    if newest is not None and newest - now > LARGEST_OFFSET:
        text = f"it went back: a runner was seen {span(newest - now)} from now: nothing fires again until it is there"
        yield Check("clock of postgresql", "warning", f"{text}; check its NTP")


async def _redis(redis: RedisServiceManager) -> list[Check]:
    try:
        await redis.connect()
        asked = datetime.now(UTC)
        began = time.monotonic()
        with redis.answering():
            seconds, microseconds = await redis.client.time()
        middle = asked + timedelta(seconds=(time.monotonic() - began) / 2)
        now = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
        warning = await redis.policy_warning()
        policy = await redis.policy()
        return [
            Check("redis", "ok", f"{await redis.version() or 'version unknown'}, {redis.place}"),
            Check(
                "redis policy", "warning" if warning else "ok", warning or f"maxmemory-policy {policy or 'not told'}"
            ),
            _clock("redis", now - middle),
        ]
    except ReconcilerError as error:
        return [Check("redis", "bad", str(error))]


def _supported(number: int, text: str) -> tuple[Literal["ok", "bad"], str]:
    if number < OLDEST_POSTGRESQL:
        return "bad", f"{text}: too old: {OLDEST_POSTGRESQL // 10_000} or later is needed"
    return "ok", text


def _clock(store: str, offset: timedelta) -> Check:
    ahead = "ahead of" if offset > timedelta(0) else "behind"
    text = f"{span(abs(offset))} {ahead} this host"
    if abs(offset) > LARGEST_OFFSET:
        return Check(f"clock of {store}", "warning", f"{text}: set both by NTP")
    return Check(f"clock of {store}", "ok", text)


def _value(settings: Settings, key: str) -> str:
    from reconciler.cli.output import plain
    from reconciler.settings import Reference, redacted

    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    if hasattr(value, "get_secret_value"):
        return redacted(value.get_secret_value()) if key.endswith("_url") else "***"
    if key == "queues":
        return ", ".join(f"{name}: {queue.concurrency or 'no limit'}" for name, queue in value.items())
    if key == "notify.targets":
        return ", ".join(value)
    if key == "sources":
        return ", ".join(f"{source.name}: {source.place}" for source in value)
    if isinstance(value, Reference):
        [(kind, where)] = value.model_dump(exclude_none=True).items()
        return f'{{{kind} = "{where}"}}'
    if isinstance(value, bool):
        return str(value).lower()
    shown = plain(value)
    return ", ".join(map(str, shown)) if isinstance(shown, list) else "" if shown is None else str(shown)


__all__ = ["Check", "of_host", "of_stores", "settings_values"]
