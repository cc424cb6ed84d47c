"""What differs between specs and configs, what may be done about it, and how that reads."""

from reconciler.plan.fields import field_changes
from reconciler.plan.making import Facts, edited, gone, make_plan
from reconciler.plan.plan import ABSENT, VERBS, Change, Documents, FieldChange, Plan, Removed, Verb

__all__ = [
    "ABSENT",
    "VERBS",
    "Change",
    "Documents",
    "Facts",
    "FieldChange",
    "Plan",
    "Removed",
    "Verb",
    "edited",
    "field_changes",
    "gone",
    "make_plan",
]
