"""May this revision come after what a source has reached? Git answers, the guard decides, and a pin goes before both.

Asked before the lock, where the network may be needed; what is decided is decided under the lock, by what stands then.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from reconciler.db import sources, syncs
from reconciler.db.link import Link, Statements, Transaction
from reconciler.db.sources import Pin, Source
from reconciler.errors import ReconcilerError
from reconciler.gitrepo import Descended, Origin, Revision
from reconciler.plan.guards import Reached, Refusal, rewind_refusal
from reconciler.sync.aside import aside
from reconciler.sync.request import Request

SAME = Descended("same")


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What git said before the lock about the commit that the source stood at then."""

    last: str | None = None
    descended: Descended = SAME


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a source stands, under the lock.

    `refusal`: nothing of the pass may be applied. `pin`: nor of this one, for it is pinned. `ends_pin`: it was, until
    this revision. `is_rewound`: the revision does not come after the last one, and that is meant.
    """

    source: Source | None = None
    refusal: Refusal | None = None
    pin: Pin | None = None
    ends_pin: bool = False
    is_rewound: bool = False

    @property
    def last(self) -> str | None:
        """The commit that the configs have reached."""
        return self.source.revision if self.source else None

    @property
    def is_free(self) -> bool:
        """Whether what was read may be applied, as far as its revision goes."""
        return self.refusal is None and self.pin is None


async def foreseen(link: Statements, request: Request) -> Foreseen:
    """Ask git ahead, with all that it may need from elsewhere; for whoever is about to take the lock."""
    source = await sources.one(link, request.options.source)
    last = source.revision if source else None
    return Foreseen(last, await _descended(last, request, deepen=True))


async def standing(tx: Transaction | Link, request: Request, ahead: Foreseen | None = None) -> Standing:
    """What the guards say to the revision of the request; git is asked again only where the source has moved."""
    source = await sources.one(tx, request.options.source)
    if source is None:
        return Standing()
    last = source.revision
    is_known = ahead is not None and ahead.last == last
    descended = ahead.descended if ahead and is_known else await _descended(last, request, deepen=False)
    if source.pin:
        ends = source.pinned_while is not None and descended.kind == "descends"
        return Standing(source, ends_pin=ends, pin=None if ends else source.pin)
    if descended.kind in ("same", "descends"):
        return Standing(source)
    if request.options.allow_rewind:
        return Standing(source, is_rewound=True)
    return Standing(source, await _refusal(tx, source, request.revision, descended))


async def _descended(last: str | None, request: Request, *, deepen: bool) -> Descended:
    """`same` where there is nothing to go over, or it is the very commit, without asking anybody."""
    commit = request.revision.commit
    if last is None or commit == last:
        return SAME
    if commit is None:
        return Descended("unknown", request.revision.reason or "no git")
    if request.origin is None:
        return Descended("unknown", "no git was asked")
    return await _asked(request.origin, last, request.revision, deepen)


async def _asked(origin: Origin, last: str, revision: Revision, deepen: bool) -> Descended:
    try:
        return await aside(partial(origin.descent, last, revision, deepen=deepen))
    except ReconcilerError as error:
        return Descended("unknown", str(error))


async def _refusal(tx: Statements, source: Source, revision: Revision, descended: Descended) -> Refusal | None:
    sync = await syncs.one(tx, source.sync_id) if source.sync_id is not None else None
    reached = Reached(str(source.revision), source.applied_at, sync.actor if sync else None)
    return rewind_refusal(revision.commit, reached, descended.kind, descended.why, source.name)
