"""How a plan reads: as lines for a person, as JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from reconciler.plan.guards import Refusal
from reconciler.plan.plan import ABSENT, Change, FieldChange, Plan

FORMAT_VERSION: Final = 1
MARKS: Final = {"create": "+", "adopt": "@", "update": "~", "delete": "-"}
LONGEST_VALUE: Final = 160
MOST_LINES: Final = 200
NO_PAUSES: Final[Mapping[str, str]] = {}


def as_text(plan: Plan, pauses: Mapping[str, str] = NO_PAUSES) -> str:
    """The changes, with what pauses hold them; then the refusals; the last line sums up all of it."""
    lines = change_lines(plan, pauses)
    for refusal in plan.refusals:
        lines += refusal_lines(refusal)
    lines += shortened([f"  {name}  kept: not in PATH" for name in plan.kept])
    return "\n".join([*lines, summary(plan)])


def change_lines(plan: Plan, pauses: Mapping[str, str] = NO_PAUSES) -> list[str]:
    """One line a change, several fields and the pause in force indented below it; of thousands only the first."""
    shown = [
        [*_change_lines(change), *([f"    {printable(pauses[change.name])}"] if change.name in pauses else ())]
        for change in plan.changes[:MOST_LINES]
    ]
    return [*(line for lines in shown for line in lines), *_more(len(plan.changes))]


def refusal_lines(refusal: Refusal) -> list[str]:
    return [refusal.text, *shortened([f"    {name}" for name in refusal.names])]


def shortened(lines: list[str]) -> list[str]:
    """No more lines than somebody reads, and how many there would be."""
    return [*lines[:MOST_LINES], *_more(len(lines))]


def _more(total: int) -> list[str]:
    return [f"… and {total - MOST_LINES:,} more; -o json lists all"] if total > MOST_LINES else []


def _change_lines(change: Change) -> list[str]:
    """`~ nightly-sales  schedule: ["0 2 * * *"] -> ["0 3 * * *"]`, or the reason with the fields below it."""
    head = f"{MARKS[change.verb]} {change.name}  "
    fields = [field_line(field) for field in change.fields]
    if change.verb == "update" and len(fields) == 1:
        return [head + fields[0]]
    where = f" ({printable(change.path)})" if change.path else ""
    return [f"{head}{change.reason}{where}", *(f"    {line}" for line in fields)]


def field_line(change: FieldChange) -> str:
    return f"{printable(change.field)}: {value_text(change.before)} -> {value_text(change.after)}"


def value_text(value: Any) -> str:
    """The value as JSON on one line, shortened, with nothing in it that a terminal would act on."""
    if value is ABSENT:
        return "(absent)"
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def printable(text: str) -> str:
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)


def summary(plan: Plan) -> str:
    """`1 to create, 2 to update; 9,997 unchanged`."""
    changes = ", ".join(f"{count:,} to {verb}" for verb, count in plan.counts().items() if count)
    return f"{changes or nothing(plan)}; {plan.unchanged:,} unchanged"


def nothing(plan: Plan) -> str:
    """How it is said that there is no change: what was refused would have been one."""
    return "nothing else to change" if plan.refusals else "nothing to change"


def as_json(plan: Plan) -> dict[str, Any]:
    """What `-o json` and `-o yaml` print; a field that one side lacks has no `before`, or no `after`."""
    return {
        "format_version": FORMAT_VERSION,
        "has_changes": plan.has_changes,
        "changes": [_change_json(change) for change in plan.changes],
        "refusals": [
            {"what": refusal.what, "text": refusal.text, "names": list(refusal.names)} for refusal in plan.refusals
        ],
        "kept": list(plan.kept),
        "unchanged": plan.unchanged,
    }


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "verb": change.verb,
        "name": change.name,
        "path": change.path,
        "reason": change.reason,
        "fields": [_field_json(field) for field in change.fields],
        "moves_cursor": change.moves_cursor,
    }


def _field_json(change: FieldChange) -> dict[str, Any]:
    sides = {"before": change.before, "after": change.after}
    return {"field": change.field} | {side: value for side, value in sides.items() if value is not ABSENT}
