"""What is said about the passes of one source: each fact once, when it becomes true and when it ends."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from reconciler.gitrepo import Revision
from reconciler.plan import Plan, Verb
from reconciler.sync.reconcile import Pass

log = logging.getLogger("reconciler.loop")

DONE: Final[dict[Verb, str]] = {
    "create": "created",
    "adopt": "adopted",
    "update": "updated",
    "delete": "deleted",
}
NAMED: Final = 5


class Notices:
    """Remembers what it said last, so that a pass which finds the same says nothing. `source`: "" or its name."""

    def __init__(self, source: str = "") -> None:
        self._prefix = f"{source}: " if source else ""
        self._said: dict[str, frozenset[str]] = {}

    def postgresql_away(self, reason: str) -> None:
        """Said once however the reason changes: the next news is that it is back."""
        if not self._said.get("postgresql"):
            self._say("postgresql", logging.WARNING, [reason])

    def source(self, lines: Iterable[str]) -> None:
        """That the source cannot be reached, or not be trusted: no line when it can again."""
        lines = list(lines)
        was_away = bool(self._said.get("source"))
        self._say("source", logging.ERROR, lines)
        if was_away and not lines:
            log.info("%sthe source can be read again", self._prefix)

    def faults(self, lines: Iterable[str]) -> None:
        """Those lines that were not there the last time; none where there were some is good news."""
        lines = list(lines)
        had_some = bool(self._said.get("fault"))
        self._say("fault", logging.ERROR, lines)
        if had_some and not lines:
            log.info("%sspecs are good again", self._prefix)

    def failed(self, error: Exception) -> None:
        """What nobody foresaw: with its traceback, once."""
        text = f"sync: {type(error).__name__}: {error}"
        if text not in self._said.get("fault", ()):
            log.error("%sa pass failed, and what is in force stays", self._prefix, exc_info=error)
        self._said["fault"] = frozenset({text})

    def warnings(self, lines: Iterable[str]) -> None:
        self._say("warning", logging.WARNING, lines)

    def passed(self, outcome: Pass, revision: Revision) -> None:
        """What a pass that reached PostgreSQL has changed, refused, or could not hand on to Redis."""
        if self._said.pop("postgresql", None):
            log.info("%spostgresql: back", self._prefix)
        if outcome.is_busy:
            return
        self.faults(map(str, outcome.faults))
        if plan := outcome.plan:
            self._say("refusal", logging.WARNING, (refusal.text for refusal in plan.refusals))
            if plan.has_changes:
                log.info("%s%s", self._prefix, applied(plan, revision))
            self._held(plan)
            self._drifted(plan)
            self._pinned(outcome)
        self._redis(outcome.trouble)

    def _held(self, plan: Plan) -> None:
        names = sorted(plan.held)
        self._say("held", logging.WARNING, [f"held: {_listed(names)}: the last good state stays"] if names else [])

    def _drifted(self, plan: Plan) -> None:
        """What somebody changed by hand: once for as long as it is left, and each time that it is put right."""
        left = [f"drift: {change.name}: {change.reason}: left, and reported only" for change in plan.drifted]
        self._say("drift", logging.WARNING, left)
        if names := [change.name for change in plan.changes if change.is_drift]:
            log.warning("%sdrift: changed by hand and put right: %s", self._prefix, _listed(names))

    def _pinned(self, outcome: Pass) -> None:
        was_pinned = bool(self._said.get("pin"))
        self._say("pin", logging.WARNING, [outcome.pin.text] if outcome.pin else [])
        if was_pinned and not outcome.pin:
            log.info("%sno longer pinned", self._prefix)

    def _redis(self, trouble: str | None) -> None:
        if trouble is None:
            if self._said.pop("redis", None):
                log.info("%sredis: back, and in step with postgresql", self._prefix)
        elif not self._said.get("redis"):
            self._say("redis", logging.WARNING, [trouble])

    def _say(self, kind: str, level: int, lines: Iterable[str]) -> None:
        lines = list(lines)
        for line in lines:
            if line not in self._said.get(kind, ()):
                # What git says of a source names it already.
                log.log(level, "%s%s", "" if line.startswith("source '") else self._prefix, line)
        self._said[kind] = frozenset(lines)


def applied(plan: Plan, revision: Revision) -> str:
    """`applied a1b2c3d: 1 created, 2 updated (nightly-sales, report, disk-space)`."""
    listed = _listed([change.name for change in plan.changes])
    counts = ", ".join(f"{count:,} {DONE[verb]}" for verb, count in plan.counts().items() if count)
    what = f"applied {revision.short}" if revision.commit else "applied"
    return f"{what}: {counts} ({listed})"


def _listed(names: list[str]) -> str:
    return ", ".join([*names[:NAMED], *(["…"] if len(names) > NAMED else [])])
