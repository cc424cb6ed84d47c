"""From the outbox to the targets: one notice at a time, tried again for a day, by whichever service comes first.

What is to be told is in `incidents`, how it reads in `wording`. A notice may arrive twice where a service dies between
sending and noting it; it is not lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import psycopg

from reconciler.db import incidents
from reconciler.db.incidents import Incident
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.notify.targets import NotSentError, Target, UnknownTargetError, tell
from reconciler.notify.wording import Message, Phase, message, phase_of

log = logging.getLogger("reconciler.notify")

EVERY = 2.0
AT_ONCE = 4
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(minutes=10)
GIVE_UP_AFTER = timedelta(hours=24)
FEWEST = 10  # tries before that: after a long stop of all services its notices are old when they first go out


class Notifier:
    """Sends what is due, for as long as it runs."""

    def __init__(self, link: Link, targets: Mapping[str, Target]) -> None:
        self._link = link
        self._targets = targets
        self._under_way: set[int] = set()

    async def run(self) -> None:
        """Until cancelled, a few at once: one target that hangs holds up the others only so far."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(AT_ONCE):
                tasks.create_task(self._deliver(number * EVERY))

    async def _deliver(self, begin_after: float) -> None:
        """Look again and again, each in its turn; a store that is away is waited for."""
        await asyncio.sleep(begin_after)
        while True:
            try:
                while await self.turn():
                    pass
            except (StoreUnavailable, psycopg.Error) as error:
                log.debug("%s; notices wait until it answers", error)
            await asyncio.sleep(EVERY * AT_ONCE)

    async def turn(self) -> bool:
        """Deal with one incident that is due; False when there was none."""
        incident = await incidents.take(self._link)
        if incident is None:
            return False
        if incident.id in self._under_way:  # it was closed while its begin is being told: one after the other
            await incidents.put_off(self._link, incident, timedelta(seconds=EVERY), incident.told)
            return True
        self._under_way.add(incident.id)
        try:
            await self._deal_with(incident)
        finally:
            self._under_way.discard(incident.id)
        return True

    async def _deal_with(self, incident: Incident) -> None:
        about = await incidents.about(self._link, incident)
        notify = about.notify or {}
        phase = phase_of(incident, notify.get("on") or ())
        to = notify.get("to") or ()
        if phase is None or not to:
            await incidents.settle(self._link, incident)
            return
        began = incident.closed_at or incident.opened_at
        told, failures = await self._tell(incident, phase, list(to), message(incident, about, phase))
        if not failures:
            # Who could not be told at all is out of the settings: another try would say the same.
            opening, closing = (bool(told) and phase in (one, "both") for one in ("opening", "closing"))
            await incidents.settle(self._link, incident, opening=opening, closing=closing)
        elif incident.tries > FEWEST and datetime.now(UTC) - began > GIVE_UP_AFTER:
            log.error("%s: given up after a day: %s", incident.name, failures[0])
            await incidents.settle(self._link, incident)
        else:
            wait = min(FIRST_WAIT * 2 ** min(incident.tries - 1, 16), LONGEST_WAIT)
            if incident.tries == 1:
                log.warning("%s; tried again for a day", failures[0])
            await incidents.put_off(self._link, incident, wait, told)

    async def _tell(
        self, incident: Incident, phase: Phase, to: list[str], what: Message
    ) -> tuple[list[str], list[str]]:
        """Who has been told of this by now, each marked with the phase; and why others were not."""
        told, failures = list(incident.told), []
        for name in to:
            mark = f"{phase} {name}"
            if mark in told:
                continue
            try:
                await tell(self._targets, name, what)
            except UnknownTargetError as error:
                log.error("%s: %s", incident.name, error)
            except NotSentError as error:
                failures.append(str(error))
            else:
                told.append(mark)
        return told, failures
