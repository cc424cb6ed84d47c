"""What does a service check specs by that has none of the task modules: a catalogue in a file, or its runners' own?"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from reconciler.db import runners
from reconciler.db.link import Link
from reconciler.registry.discover import has_modules
from reconciler.settings import Settings
from reconciler.specfiles.cataloguefile import read_catalogue

log = logging.getLogger("reconciler.loop")


class Borrowing:
    """Looks anew at each pass: code may come, and so may runners. Says once what it goes by."""

    def __init__(self, settings: Settings, link: Link | None) -> None:
        self._settings, self._link = settings, link
        self._said: str | None = None

    async def catalogue(self) -> dict[str, Any] | None:
        """None: the code is here. Empty: nothing is known of tasks, and the runner decides.

        ReconcilerError for a file that is no catalogue; StoreUnavailable.
        """
        settings = self._settings
        if has_modules(settings.task_modules, settings.directory):
            return None
        if settings.catalogue:
            found = await asyncio.to_thread(read_catalogue, settings.directory / settings.catalogue, settings.catalogue)
            self._say(f"checked against {settings.catalogue}")
            return found
        published = await runners.catalogue(self._link) if self._link else {}
        self._say("checked against what the runners published" if published else "not checked: the runner decides")
        return published

    def _say(self, what: str) -> None:
        if what != self._said:
            log.info("no task modules here: tasks and parameters of specs are %s", what)
        self._said = what
