"""The watcher: it finds what no run can tell, because there was none. It depends on no runner being alive.

Several at once do no harm: what they open is unique in PostgreSQL. Which things deserve a word is in `rules`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import psycopg

from reconciler.db import cursors, incidents, revisions, watched
from reconciler.db.cursors import Sighted
from reconciler.db.incidents import Opening
from reconciler.db.link import Link
from reconciler.db.watched import Success, Watched
from reconciler.errors import ReconcilerError, StoreUnavailable
from reconciler.notify import rules
from reconciler.spec import TaskSpec
from reconciler.spec.by_digest import known_spec, spec_of

T = TypeVar("T")
log = logging.getLogger("reconciler.notify")

EVERY = 5.0
# Looking takes at most this share of the time, however many configs ask to be told.
SHARE = 0.1
# Names judged, and specs parsed, before others get a turn of the event loop.
STRETCH = 200
PARSED = 50


@dataclass(frozen=True, slots=True)
class Quiet:
    """What is known of a name's silence: by which spec, its newest success, and when it has lasted too long."""

    digest: str
    success: Success
    at: datetime | None


class Watcher:
    """Looks again and again; it remembers when a look at a name may come to something, and spares the rest."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._overdue: dict[str, tuple[object, tuple[datetime, datetime] | None]] = {}
        self._quiet: dict[str, Quiet] = {}

    async def run(self) -> None:
        """Until cancelled. A store that is away is waited for: what it did not decide meanwhile is seen then."""
        away = ""
        while True:
            began = time.monotonic()
            try:
                await self.look()
                away = ""
            except (StoreUnavailable, psycopg.Error) as error:
                if str(error) != away:
                    away = str(error)
                    log.debug("%s; missed runs are looked for again when it answers", away)
            await asyncio.sleep(max(EVERY, (time.monotonic() - began) / SHARE))

    async def look(self) -> None:
        """One look: close what is over, open what is new."""
        for name, kind, closing in await incidents.close_what_is_over(self._link):
            log.info("%s: no longer %s: %s", name, _adjective(kind), closing)
        now, rows = await watched.watched(self._link)
        if now is None:
            return
        seen = {row.name: row for row in await cursors.sight(self._link, [row.config_id for row in rows])}
        specs = await self._specs(seen)
        openings: list[Opening] = []
        silent: dict[str, datetime | None] = {}
        for number, row in enumerate(rows):
            sighted, spec = seen.get(row.name), specs.get(row.name)
            if sighted is None or spec is None or spec.notify is None or _is_held(spec, sighted, now):
                continue
            if "missed" in spec.notify.on and "missed" not in row.open:
                openings += filter(None, [rules.missed(row, spec, self._overdue_at(spec, sighted), now)])
            if spec.notify.no_success_for and "silence" not in row.open and self._may_be_silent(sighted, now):
                silent[row.name] = self._last_success(sighted)
            if number % STRETCH == 0:
                await asyncio.sleep(0)
        openings += await self._silences({row.name: row for row in rows}, seen, specs, silent, now)
        for name, kind, detail in await incidents.open_them(self._link, openings) if openings else ():
            log.warning("%s: %s: %s", name, kind, detail)
        self._forget(seen)

    async def _silences(
        self,
        rows: dict[str, Watched],
        seen: dict[str, Sighted],
        specs: dict[str, TaskSpec],
        silent: dict[str, datetime | None],
        now: datetime,
    ) -> list[Opening]:
        """Those of these names that have been silent for too long; the others are not asked for until they may be."""
        if not silent:
            return []
        openings: list[Opening | None] = []
        for number, (name, found) in enumerate((await watched.successes(self._link, silent)).items()):
            row, spec, known = rows[name], specs[name], self._quiet.get(name)
            if found.finished_at is None and known is not None:  # nothing newer than what is known
                found = replace(known.success, suspended_until=found.suspended_until, paused_until=found.paused_until)
            openings.append(rules.silence(row, spec, found, now))
            if number % STRETCH == 0:
                await asyncio.sleep(0)
            self._quiet[name] = Quiet(seen[name].digest, found, rules.silent_at(row, spec, found))
        return [opening for opening in openings if opening]

    def _overdue_at(self, spec: TaskSpec, sighted: Sighted) -> tuple[datetime, datetime] | None:
        key = (sighted.digest, sighted.through, sighted.pauses)
        kept = self._overdue.get(sighted.name)
        if kept is None or kept[0] != key:
            kept = self._overdue[sighted.name] = (key, rules.overdue_at(spec, sighted.through, sighted.pauses))
        return kept[1]

    def _may_be_silent(self, sighted: Sighted, now: datetime) -> bool:
        known = self._quiet.get(sighted.name)
        return known is None or known.digest != sighted.digest or known.at is None or now >= known.at

    def _last_success(self, sighted: Sighted) -> datetime | None:
        known = self._quiet.get(sighted.name)
        return known.success.scheduled_for if known else None

    def _forget(self, seen: dict[str, Sighted]) -> None:
        self._overdue = {name: kept for name, kept in self._overdue.items() if name in seen}
        self._quiet = {name: kept for name, kept in self._quiet.items() if name in seen}

    async def _specs(self, seen: dict[str, Sighted]) -> dict[str, TaskSpec]:
        missing = [(row.name, row.digest) for row in seen.values() if known_spec(row.digest) is None]
        for some in _batched(missing, PARSED):
            for (name, digest), document in (await revisions.specs(self._link, some)).items():
                try:
                    spec_of(digest, document)
                except ReconcilerError as error:
                    log.debug("%s: %s", name, error)
        return {row.name: spec for row in seen.values() if (spec := known_spec(row.digest))}


def _is_held(spec: TaskSpec, sighted: Sighted, now: datetime) -> bool:
    """Suspended, or under a pause now: nothing of it is missed meanwhile."""
    return spec.suspend is True or any(pause.until is None or pause.until > now for pause in sighted.pauses)


def _batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _adjective(kind: str) -> str:
    return {"failure": "failing", "silence": "silent"}.get(kind, kind)
