"""What may one pass do? Names of others stay theirs, deletions stay in a budget, empty is not "delete all".

Values in, refusals out. A refusal holds back what it names and nothing else, and says what to type to go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from reconciler.errors import UsageError
from reconciler.lines import of_source


class Held(Protocol):
    """One config in force, without its document: `ConfigKey` is one."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def path(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Options:
    """The source that is planned for, and what its guards let through; `max_prune`: "3", "10%" or None.

    `on_fault`: whether a fault holds back everything or only its file. `drift`: what becomes of what somebody changed
    by hand. `reason`: why the operator let a revision through that does not descend from the last one.
    """

    source: str = "default"
    prune: bool = True
    max_prune: str | None = None
    adopt: bool = False
    allow_empty: bool = False
    on_fault: Literal["refuse", "hold_file"] = "refuse"
    drift: Literal["correct", "detect", "ignore"] = "correct"
    allow_rewind: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a guard held back: `what` is `owner`, `protect`, `prune`, `empty` or `rewind`; `text` is the line to show.

    A `rewind` holds back the whole pass and names nothing; the others hold back what they name.
    """

    what: str
    text: str
    names: tuple[str, ...]


def prune_budget(max_prune: str | None, total: int) -> int:
    """How many of a source's `total` configs may go: "N" or "P%" of them, else the larger of 2 and 10 %."""
    if max_prune is None:
        return max(2, total // 10)
    number = max_prune.strip().removesuffix("%")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise UsageError(f"max_prune: '{max_prune}' is no budget: write a number like 3, or a share like 10%")
    return total * int(number) // 100 if max_prune.strip().endswith("%") else int(number)


def prune_refusal(
    gone: Sequence[Held], total: int, budget: int, allow_empty: bool | None, source: str
) -> Refusal | None:
    """`allow_empty`: None where the source holds specs; True: it holds none, and that is meant."""
    if not gone or allow_empty:
        return None
    names = tuple(config.name for config in gone)
    what = f"{len(gone)} of {total} configs would be deleted"
    meant = f"if that is meant: {of_source('reconciler apply', source)}"
    if allow_empty is not None:
        text = f"prune refused: no spec is left and {what}; {meant} --allow-empty"
        return Refusal("empty", text, names)
    if len(gone) <= budget:
        return None
    return Refusal("prune", f"prune refused: {what} (budget {budget}); {meant} --max-prune {len(gone)}", names)


def protect_refusal(names: Sequence[str], source: str) -> Refusal:
    """Configs that say `protect: true` do not go with their file."""
    what = f"{_listed(names)} {'is' if len(names) == 1 else 'are'} protected and no longer in source '{source}'"
    remedy = "if it is meant to go: put it back with 'protect: false', apply that, and then remove it"
    return Refusal("protect", f"protect refused: {what}; {remedy}", tuple(names))


def owner_refusals(foreign: Sequence[Held], source: str) -> list[Refusal]:
    """One refusal for each other source that owns some of the names which `source` claims."""
    refusals = []
    for owner in sorted({config.source for config in foreign}):
        names = tuple(sorted(config.name for config in foreign if config.source == owner))
        claim = f"{_listed(names)} {'belongs' if len(names) == 1 else 'belong'} to source '{owner}'"
        remedy = f"if it is meant to move to source '{source}': reconciler apply --adopt --source {source}"
        text = f"owner refused: {claim}; {remedy}"
        refusals.append(Refusal("owner", text, names))
    return refusals


@dataclass(frozen=True, slots=True)
class Reached:
    """The commit that a source has come to, when, and who brought it there."""

    commit: str
    at: datetime | None = None
    by: str | None = None

    def __str__(self) -> str:
        at = f" {self.at:%Y-%m-%d %H:%M} UTC" if self.at else ""
        return f"{self.commit[:7]}, applied{at}{f' by {self.by}' if self.by else ''}"


def rewind_refusal(
    commit: str | None, reached: Reached, kind: str, why: str, source: str = "default"
) -> Refusal | None:
    """None where `commit` is the one reached, or comes after it; else nothing of the pass may be applied.

    `kind` as in `gitrepo.Descent`. "unknown" is refused too, and is never said to be a "no": `why` says what to do.
    """
    meant = f"{of_source('reconciler apply', source)} --allow-rewind --reason '…'"
    if commit is None:
        text = f"no revision is known here ({why}), and this would go over {reached}: if that is meant: {meant}"
    elif kind == "rewinds":
        text = f"{commit[:7]} does not descend from {reached}: if that is meant: {meant}"
    elif kind == "unknown":
        text = f"cannot tell whether {commit[:7]} descends from {reached}: {why}; or, if it is meant: {meant}"
    else:
        return None
    return Refusal("rewind", f"rewind refused: {text}", ())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
