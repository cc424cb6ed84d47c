"""How history goes by itself: every service takes a turn now and then, and whoever meets another at it leaves it.

It keeps nothing between turns, no connection either. What is past its time is said in the settings and the specs.
"""

from __future__ import annotations

import asyncio
import logging
import random

from reconciler.db.link import Link
from reconciler.db.retention import Pruned, prune_now
from reconciler.settings.model import HistorySettings

log = logging.getLogger("reconciler.history")


async def keep_pruning(database_url: str, history: HistorySettings) -> None:
    """Prune every `history.prune_every`, until cancelled; the first time after a random part of it.

    A turn that fails is one line in the log, and the next one begins anew.
    """
    every = history.prune_every.total_seconds()
    wait = every * random.random()  # so that services started together do not come together
    while True:
        await asyncio.sleep(wait)
        wait = every
        try:
            gone = await _turn(database_url, history)
        except Exception as error:
            what = " ".join(str(error).split()) or type(error).__name__
            log.warning("history: nothing pruned this time: %s", what)
        else:
            if gone.total:
                log.info("history: pruned %s", gone)


async def _turn(database_url: str, history: HistorySettings) -> Pruned:
    """One turn, on a connection of its own: others are not to wait for theirs."""
    link = Link(database_url)
    try:
        return await prune_now(link, history.keep)
    finally:
        await link.close()
