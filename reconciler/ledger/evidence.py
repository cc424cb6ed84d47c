"""What is known of one name: the rows that a verdict rests on, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.spec import TaskSpec

KEEP = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Revision:
    """A spec as it was in force for the instants after `applied_at` up to `ended_at`, with the commit it came with.

    `spec` None: this version cannot read it. `removal` is the commit that took the name away, where one did.
    """

    spec: TaskSpec | None
    digest: str
    applied_at: datetime
    ended_at: datetime | None = None
    is_removed: bool = False
    commit: str | None = None
    author: str | None = None
    subject: str | None = None
    actor: str | None = None
    removal: Removal | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """The sync that removed a name."""

    commit: str | None = None
    author: str | None = None
    subject: str | None = None
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The final row of an occurrence. `attempts` is what its earlier tries said."""

    scheduled_for: datetime
    started_at: datetime
    finished_at: datetime
    is_success: bool
    trigger: str
    error: str | None = None
    attempts: tuple[dict[str, Any], ...] = ()
    replays: datetime | None = None
    runner: str | None = None
    actor: str | None = None
    digest: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """An occurrence that is decided and not finished; `started_at` None: it waits for a runner."""

    scheduled_for: datetime
    trigger: str
    queue: str
    not_before: datetime
    started_at: datetime | None = None
    runner: str | None = None
    attempts: tuple[dict[str, Any], ...] = ()
    replays: datetime | None = None
    actor: str | None = None
    exclusive: bool = True
    start_by: datetime | None = None
    progress: dict[str, Any] | None = None
    cancel_requested: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """The instants from `first` to `last` that were decided against; `count` None: too many to count."""

    first: datetime
    last: datetime
    count: int | None
    reason: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """A pause that covers the name, from `since` until just before `until`; with a `selector` it is one by label."""

    since: datetime
    until: datetime | None
    actor: str
    reason: str | None = None
    selector: dict[str, str] | None = None

    def covers(self, moment: datetime) -> bool:
        return self.since <= moment and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True)
class Presence:
    """From when to when a runner was there that could have run it; `until` None: it still is."""

    runner: str
    since: datetime
    until: datetime | None
    ending: str | None = None


@dataclass(frozen=True, slots=True)
class Outage:
    """When a runner was cut off from a store, and from which."""

    runner: str
    what: str
    began_at: datetime
    ended_at: datetime


Row = Revision | Run | Claimed | Skipped | Override | Presence | Outage


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All rows of one name that bear on the instants after `floor`, each kind oldest first.

    `through`: every instant up to it is decided. `oldest`: the first instant whose run is still kept. `keep`: how long
    rows of a name without a config are. `zone` is what clock times are said in.
    """

    name: str
    now: datetime
    through: datetime | None
    revisions: tuple[Revision, ...] = ()
    runs: tuple[Run, ...] = ()
    claims: tuple[Claimed, ...] = ()
    skips: tuple[Skipped, ...] = ()
    pauses: tuple[Override, ...] = ()
    presences: tuple[Presence, ...] = ()
    outages: tuple[Outage, ...] = ()
    floor: datetime | None = None
    oldest: datetime | None = None
    keep: timedelta = KEEP
    zone: str = "UTC"
