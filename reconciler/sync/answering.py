"""What did a pass come to, for the next one and for whoever asked for it? Words and a code, from values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.gitrepo import Revision
from reconciler.scheduler.syncing import Answer
from reconciler.sync.notices import applied
from reconciler.sync.reconcile import Pass

GOOD, FAILED, REFUSED = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Came:
    """A pass that is over: `outcome` None where the source could not be read, or a store was away; then `error`."""

    revision: Revision
    outcome: Pass | None = None
    error: str = ""

    @property
    def is_busy(self) -> bool:
        """It was left to another service, which has the lock."""
        return self.outcome is not None and self.outcome.is_busy

    @property
    def passing(self) -> str:
        """What may go better without a new commit, so that it is tried again soon; "" for all else."""
        if self.outcome is None:
            return self.error or "nothing came of it"
        return "another service is at it" if self.outcome.is_busy else self.outcome.trouble or ""


def answer_of(source: str, tokens: Sequence[str], came: Came) -> Answer:
    """To those who asked for the pass."""
    code, said = _words(came)
    return Answer(source, tuple(tokens), code, said, came.revision.label)


def _words(came: Came) -> tuple[int, str]:
    outcome = came.outcome
    if outcome is None:
        return FAILED, came.error
    plan = outcome.plan
    if plan is None:
        return FAILED, "\n".join(map(str, outcome.faults)) or "another service is at it"
    lines = [refusal.text for refusal in plan.refusals]
    done = applied(plan, came.revision) if plan.has_changes else ""
    faults = [str(fault) for fault in outcome.faults]
    trouble = [f"applied, but not yet in force: {outcome.trouble}"] if outcome.trouble else []
    pinned = [outcome.pin.text] if outcome.pin else []
    code = REFUSED if lines else FAILED if faults or trouble else GOOD
    nothing = f"nothing to change at {came.revision.short}; {plan.unchanged:,} unchanged"
    said = [*([done] if done else []), *lines, *faults, *trouble, *pinned]
    return code, "\n".join(said or [nothing])
