"""A plan in fires: when the changed tasks run before and after, what clock changes do to them, how the load moves."""

from reconciler.impact.impact import changed_of, impact_of, needs_before, needs_held
from reconciler.impact.model import Changed, ChangeImpact, Impact, Minute, Side
from reconciler.impact.timing import Timing, timing_of, timing_of_document

__all__ = [
    "ChangeImpact",
    "Changed",
    "Impact",
    "Minute",
    "Side",
    "Timing",
    "changed_of",
    "impact_of",
    "needs_before",
    "needs_held",
    "timing_of",
    "timing_of_document",
]
