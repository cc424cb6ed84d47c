"""What differs between specs and configs, what may be done about it, and how that reads."""

from reconciler.plan.plan import (
    ABSENT,
    VERBS,
    Change,
    Documents,
    FieldChange,
    Plan,
    Verb,
    edited,
    field_changes,
    make_plan,
)

__all__ = [
    "ABSENT",
    "VERBS",
    "Change",
    "Documents",
    "FieldChange",
    "Plan",
    "Verb",
    "edited",
    "field_changes",
    "make_plan",
]
