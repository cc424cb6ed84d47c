"""Was a config changed by git, or by hand? Three digests say it: git's, the config's, and what the last sync wrote.

Where git still says what the last sync wrote, whatever differs in PostgreSQL is nobody's commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

from reconciler.plan.guards import Held
from reconciler.plan.plan import Change, Verb

REASONS: Final[Mapping[Verb, str]] = {
    "create": "was deleted in PostgreSQL by hand",
    "adopt": "was given to another source in PostgreSQL by hand",
    "update": "was changed in PostgreSQL by hand",
    "delete": "was added in PostgreSQL by hand",
}


class Finding(Protocol):
    """A config that is not as the last sync left it: `Tampered` is one.

    `kind`: `changed`, `deleted`, `unknown` (no sync wrote it) or `cursor` (the config itself is whole). `source` and
    `digest`: what the last sync wrote.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def digest(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Drift:
    """What was found changed by hand, by name; nothing where nobody looked."""

    found: Mapping[str, Finding] = field(default_factory=dict)

    def is_taken_away(self, config: Held, source: str) -> bool:
        """Whether a sync wrote it for `source`, and it names another source by now that did not take it over."""
        last = self._changed(config.name)
        return last is not None and last.source == source != config.source

    def is_foreign(self, config: Held, source: str) -> bool:
        """Whether it names `source`, while a sync wrote it for another: it is for that one to put right."""
        last = self._changed(config.name)
        return last is not None and last.source != source == config.source

    def is_inside(self, name: str) -> bool:
        """Whether a config that looks as git wants it is another one inside, or one that no sync wrote."""
        last = self.found.get(name)
        return last is not None and last.kind in ("changed", "unknown")

    def judged(self, change: Change, source: str) -> Change:
        """The change, said to be drift where it is one."""
        last = self.found.get(change.name)
        if last is None or not _is_by_hand(change, last, source):
            return change
        return replace(change, is_drift=True, reason=REASONS[change.verb])

    def _changed(self, name: str) -> Finding | None:
        last = self.found.get(name)
        return last if last is not None and last.kind == "changed" else None


NOT_ASKED: Final = Drift()


def _is_by_hand(change: Change, last: Finding, source: str) -> bool:
    if change.verb == "delete":
        return last.kind == "unknown"
    kind = "deleted" if change.verb == "create" else "changed"
    return (last.kind, last.source, last.digest) == (kind, source, change.after_digest)


def sorted_out(
    changes: Iterable[Change], mode: Literal["correct", "detect", "ignore"]
) -> tuple[list[Change], list[Change]]:
    """The changes to carry out, and those made by hand that are left as they are, by the source's mode."""
    done: list[Change] = []
    left: list[Change] = []
    for change in changes:
        (left if change.is_drift and mode != "correct" else done).append(change)
    return done, left
