"""When is a schedule due, by plain arithmetic and by cronsim? Nothing of the program is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cronsim import CronSim

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVERY = re.compile(r"@every (\d+)s")


def due_after(document: Mapping[str, Any], moment: datetime) -> Iterator[datetime]:
    """Every instant after `moment` that a spec's document names; suspended or not."""
    [line] = document["schedule"]
    if found := EVERY.fullmatch(line):
        step = timedelta(seconds=int(found[1]))
        instant = EPOCH + ((moment - EPOCH) // step + 1) * step
        while True:
            yield instant
            instant += step
    # Strictly after, and to the second: what is left of a second does not count.
    yield from CronSim(line, moment.replace(microsecond=0))


def due_between(document: Mapping[str, Any], after: datetime, until: datetime) -> list[datetime]:
    """The instants in (after, until]."""
    found = []
    for instant in due_after(document, after):
        if instant > until:
            return found
        found.append(instant)
    return found
