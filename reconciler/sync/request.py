"""Who wants what of a pass, and what the pass came to."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.db.sources import Pin
from reconciler.gitrepo import NO_REVISION, Origin, Revision
from reconciler.plan import Plan
from reconciler.plan.guards import Options
from reconciler.spec.specset import Fault


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants which source brought up to which revision.

    `origin`: where git is asked what the revision descends from, and who removed a file. `waits`: for another pass
    under way, else it is left to that one. `believing`: as in `align`.
    """

    options: Options
    actor: str
    revision: Revision = NO_REVISION
    origin: Origin | None = None
    waits: bool = True
    believing: bool = False


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass came to. `plan` None: nothing was compared, for there are `faults`, or somebody `is_busy`."""

    plan: Plan | None = None
    faults: tuple[Fault, ...] = ()
    is_busy: bool = False
    sync_id: int | None = None  # the row that was written about it, if any
    aligned: int | None = None  # entries put right in Redis; None: not reached, and `trouble` says why in one line
    trouble: str | None = None
    held: tuple[str, ...] = ()  # the paths whose faults hold back only what lies there
    pin: Pin | None = None  # in force: what was read is not applied
