"""How a plan reads: as lines for a person, as JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from reconciler.plan.guards import Refusal
from reconciler.plan.plan import ABSENT, Change, FieldChange, Plan, Removed

if TYPE_CHECKING:
    from reconciler.impact import Impact

FORMAT_VERSION: Final = 1
MARKS: Final = {"create": "+", "adopt": "@", "update": "~", "delete": "-"}
DRIFTED: Final = "!"
LONGEST_VALUE: Final = 160
MOST_LINES: Final = 200
NO_PAUSES: Final[Mapping[str, str]] = {}


def as_text(plan: Plan, pauses: Mapping[str, str] = NO_PAUSES, impact: Impact | None = None) -> str:
    """The changes, each with its fires and the pause that holds it; then what is left alone; the last line sums up."""
    lines = change_lines(plan, pauses, impact)
    for refusal in plan.refusals:
        lines += refusal_lines(refusal)
    lines += left_lines(plan)
    if impact is not None:
        from reconciler.impact.words import total_words

        lines += total_words(impact)
    return "\n".join([*lines, summary(plan)])


def change_lines(plan: Plan, pauses: Mapping[str, str] = NO_PAUSES, impact: Impact | None = None) -> list[str]:
    """One line a change, what more there is to say indented below it; of thousands only the first.

    With a pass that is refused as a whole, or a source that is pinned, they are what would be done.
    """
    changes = plan.changes or plan.withheld
    lines: list[str] = []
    for change in changes[:MOST_LINES]:
        lines += _change_lines(change)
        lines += [f"    {line}" for line in _fires(change, impact)]
        lines += [f"    {printable(pauses[change.name])}"] if change.name in pauses else []
    return [*lines, *_more(len(changes))]


def refusal_lines(refusal: Refusal) -> list[str]:
    return [refusal.text, *shortened([f"    {name}" for name in refusal.names])]


def left_lines(plan: Plan) -> list[str]:
    """What differs and stays as it is, and why; a pin is the last of it."""
    lines = shortened([line for change in plan.drifted for line in _drift_lines(change)])
    lines += shortened([f"  {name}  held: a file has a fault, and its last good state stays" for name in plan.held])
    lines += shortened([f"  {name}  kept: not in PATH" for name in plan.kept])
    return [*lines, *([printable(plan.pin)] if plan.pin else [])]


def shortened(lines: list[str]) -> list[str]:
    """No more lines than somebody reads, and how many there would be."""
    return [*lines[:MOST_LINES], *_more(len(lines))]


def _more(total: int) -> list[str]:
    return [f"… and {total - MOST_LINES:,} more; -o json lists all"] if total > MOST_LINES else []


def _change_lines(change: Change) -> list[str]:
    """`~ nightly-sales  schedule: ["0 2 * * *"] -> ["0 3 * * *"]`, or the reason with the fields below it."""
    head = f"{MARKS[change.verb]} {change.name}  "
    fields = [field_line(field) for field in change.fields]
    if change.verb == "update" and len(fields) == 1 and not change.is_drift:
        return [head + fields[0]]
    where = f" ({printable(change.path)})" if change.path else ""
    lines = [f"{head}{reason_of(change)}{where}", *(f"    {line}" for line in fields)]
    return [*lines, f"    {rename_hint(change)}"] if change.looks_like else lines


def _drift_lines(change: Change) -> list[str]:
    head = f"{DRIFTED} {change.name}  {reason_of(change)}; reported and left as it is"
    return [head, *(f"    {field_line(field)}" for field in change.fields)]


def _fires(change: Change, impact: Impact | None) -> Iterable[str]:
    found = impact.changes.get(change.name) if impact else None
    if found is None:
        return ()
    from reconciler.impact.words import change_words

    return map(printable, change_words(found))


def reason_of(change: Change) -> str:
    """Why, with the commit that removed the file where git could tell."""
    return removal_text(change.removal) if change.verb == "delete" and change.removal else change.reason


def removal_text(removal: Removed) -> str:
    """`removed by 1a2b3c4 (Ada: drop old reports)`, or what is known instead."""
    if not removal.commit:
        return "deleted here, not committed"
    verb = "removed by" if removal.is_whole_file else "no longer in its file, which was last changed by"
    return f"{verb} {removal.commit[:7]} ({printable(removal.author)}: {printable(removal.subject)})"


def rename_hint(change: Change) -> str:
    """What to write so that a renamed file keeps its task's name; empty where nothing looks like a rename."""
    if not change.looks_like:
        return ""
    if change.verb == "delete":
        hint = f'looks like a rename to {change.looks_like}; add "name: {change.name}" there'
    else:
        hint = f'looks like a rename of {change.looks_like}; add "name: {change.looks_like}"'
    return f"{hint} to keep its history"


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
    return f"{changes_text(plan) or nothing(plan)}; {plan.unchanged:,} unchanged"


def changes_text(plan: Plan) -> str:
    """`1 to create, 2 to update`; `withheld: …` where none of it is done; empty for no change."""
    if plan.withheld and not plan.changes:
        verbs = [change.verb for change in plan.withheld]
        return "withheld: " + ", ".join(f"{verbs.count(verb):,} to {verb}" for verb in MARKS if verb in verbs)
    return ", ".join(f"{count:,} to {verb}" for verb, count in plan.counts().items() if count)


def nothing(plan: Plan) -> str:
    """How it is said that there is no change: what was refused would have been one."""
    return "nothing else to change" if plan.refusals else "nothing to change"


def as_json(plan: Plan, impact: Impact | None = None) -> dict[str, Any]:
    """What `-o json` and `-o yaml` print; a field that one side lacks has no `before`, or no `after`."""
    found = {
        "format_version": FORMAT_VERSION,
        "has_changes": plan.has_changes,
        "changes": [_change_json(change) for change in plan.changes],
        "refusals": [
            {"what": refusal.what, "text": refusal.text, "names": list(refusal.names)} for refusal in plan.refusals
        ],
        "kept": list(plan.kept),
        "held": list(plan.held),
        "drifted": [_change_json(change) for change in plan.drifted],
        "withheld": [_change_json(change) for change in plan.withheld],
        "pin": plan.pin,
        "unchanged": plan.unchanged,
    }
    if impact is not None:
        from reconciler.impact.words import as_json as impact_json

        found["impact"] = impact_json(impact)
    return found


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "verb": change.verb,
        "name": change.name,
        "path": change.path,
        "reason": change.reason,
        "fields": [_field_json(field) for field in change.fields],
        "moves_cursor": change.moves_cursor,
        "before_digest": change.before_digest,
        "after_digest": change.after_digest,
        "removal": _removal_json(change.removal),
        "looks_like": change.looks_like,
        "is_drift": change.is_drift,
    }


def _removal_json(removal: Removed | None) -> dict[str, Any] | None:
    if removal is None:
        return None
    return {
        "commit": removal.commit,
        "author": removal.author,
        "subject": removal.subject,
        "is_whole_file": removal.is_whole_file,
    }


def _field_json(change: FieldChange) -> dict[str, Any]:
    sides = {"before": change.before, "after": change.after}
    return {"field": change.field} | {side: value for side, value in sides.items() if value is not ABSENT}
