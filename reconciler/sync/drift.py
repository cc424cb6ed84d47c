"""What did somebody change by hand, and what does a pass note about it? For both stores; it decides no plan.

`postgresql`: what the last sync wrote against what is there, inside the transaction of the pass. `redis`: what the
alignment after it found changed although PostgreSQL had not changed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from reconciler.align import Aligned, Finding
from reconciler.db import cursors, drifts
from reconciler.db.link import Link, Transaction
from reconciler.db.tampered import Tampered
from reconciler.db.tampered import tampered as _tampered

__all__ = ["Mode", "Tampered", "record", "record_aligned", "tampered"]

log = logging.getLogger("reconciler.drift")

Mode = Literal["correct", "detect", "ignore"]
# Of one source's configs in Redis so many are listed; of more, how many there are.
MOST: Final = 200
# In the log so many have a line of their own.
NAMED: Final = 5


async def tampered(tx: Transaction, source: str, missing: Sequence[str] = ()) -> list[Tampered]:
    """Every name of a source whose config or cursor is not as the last sync left it, by name; cheap where nothing is.

    `missing`: names that the source has and no config has; those that a sync wrote and none removed are among the
    answer, as `deleted`.
    """
    return [one for one in await _tampered(tx, missing) if one.source == source]


async def record(
    tx: Transaction,
    source: str,
    found: Sequence[Tampered],
    now: datetime,
    *,
    mode: Mode = "correct",
    corrected: Collection[str] = (),
    is_complete: bool = True,
) -> None:
    """Note what was found, and with `correct` give a missing cursor back, at `now`: nothing before it will fire.

    `corrected`: names whose config the plan of this very transaction puts right. To be called in each pass, also where
    nothing was found: what is no longer found has its end then, if all names were looked at (`is_complete`).
    """
    noted = {} if mode == "ignore" else {one.name: one.detail for one in found}
    mended = set(corrected)
    if mode == "correct":
        await _give_cursors(tx, [one.name for one in found if one.lacks_cursor and one.kind != "unknown"], now)
        mended |= {one.name for one in found if one.kind == "cursor"}
    await drifts.record(tx, source, "postgresql", noted, now, corrected=mended, is_complete=is_complete)


async def record_aligned(link: Link, aligned: Aligned, modes: Mapping[str, str], now: datetime) -> None:
    """Note what a whole alignment found changed by hand in Redis; one short question where it found nothing."""
    if aligned.found is None:
        return
    found: dict[str, list[Finding]] = {source: [] for source in await drifts.open_sources(link, "redis")}
    for one in aligned.found:
        found.setdefault(one.source, []).append(one)
    if not found:
        return
    async with link.transaction() as tx:
        # In one order, since every service may be at this.
        for source, findings in sorted(found.items()):
            mode = modes.get(source, "correct")
            noted = {} if mode == "ignore" else _noted(findings)
            corrected = noted if mode == "correct" else ()
            complete = aligned.is_complete
            new = await drifts.record(tx, source, "redis", noted, now, corrected=corrected, is_complete=complete)
            for text in _said({name: noted[name] for name in new}, mode):
                log.warning("%s", text)


def _said(new: Mapping[str, drifts.Detail], mode: str) -> Iterator[str]:
    """`drift: greet: redis: state changed by hand; put right`; of more than a few one line for all."""
    end = "put right" if mode == "correct" else "reported only"
    if len(new) > NAMED:
        yield f"drift: redis: {len(new)} entries changed by hand ({', '.join(list(new)[:NAMED])}, …); {end}"
        return
    for name, detail in new.items():
        if name.startswith("#"):
            yield f"drift: {name}: redis: an entry of no config; {end}"
        else:
            yield f"drift: {name or 'all of it'}: redis: {', '.join(detail)} changed by hand; {end}"


def _noted(findings: Sequence[Finding]) -> dict[str, drifts.Detail]:
    if len(findings) > MOST:
        return {"": {"entries": ["as they should be", f"{len(findings):,} changed or gone"]}}
    return {one.name: {field: list(sides) for field, sides in one.fields.items()} for one in findings}


async def _give_cursors(tx: Transaction, names: Sequence[str], now: datetime) -> None:
    if names:
        await cursors.ensure(tx, names, now)
