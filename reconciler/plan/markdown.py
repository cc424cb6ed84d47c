"""How a plan reads in a pull request: what to worry about first, a table of the changes, the rest folded away.

Whatever comes from a file or a commit stands in code, so that it is shown and never acted on: no link, no mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from reconciler.lines import cut
from reconciler.plan.guards import Refusal
from reconciler.plan.plan import Change, FieldChange, Plan
from reconciler.plan.text import MARKS, changes_text, nothing, reason_of, rename_hint, value_text

if TYPE_CHECKING:
    from reconciler.impact import ChangeImpact, Impact
    from reconciler.spec.specset import Fault

# GitHub takes 65,536 characters; whoever posts it may add a line.
LONGEST: Final = 65_000
LONGEST_TABLE: Final = 40_000
LONGEST_FAULTS: Final = 16_000
LONGEST_LIST: Final = 8_000
LONGEST_ASIDE: Final = 2_000
LONGEST_REFUSAL: Final = 1_000
MOST_REFUSALS: Final = 5
MOST_NAMES: Final = 10
MOST_FIELDS: Final = 5
# A comment that is on the page and not seen, by which a pipeline finds its own comment again.
MARKER: Final = "<!-- reconciler plan -->"
NO_PAUSES: Final[Mapping[str, str]] = {}


def as_markdown(
    plan: Plan | None,
    impact: Impact | None = None,
    faults: Sequence[Fault] = (),
    warnings: Sequence[Fault] = (),
    pauses: Mapping[str, str] = NO_PAUSES,
) -> str:
    """The whole comment, below 65,536 characters whatever the plan holds. `plan` None: the specs have `faults`."""
    parts = [MARKER, f"### {_title(plan, faults)}", *_alerts(plan, impact), *_fault_list(faults, warnings)]
    if plan is not None:
        after = [*_totals(impact), *_left(plan)]
        parts += [_table(plan, impact, min(LONGEST_TABLE, _room([*parts, *after]))), *after]
        parts.append(_details(plan, impact, pauses, _room(parts)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _room(parts: Iterable[str]) -> int:
    return LONGEST - sum(len(part) + 2 for part in parts)


def code(text: str, *, is_cell: bool = False) -> str:
    """The text as a code span on one line; `is_cell`: within a table, where a bar would end the cell."""
    flat = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split()) or " "
    fence = "`" * (max((len(run) for run in re.findall(r"`+", flat)), default=0) + 1)
    edge = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{edge}{flat.replace('|', chr(92) + '|') if is_cell else flat}{edge}{fence}"


def _title(plan: Plan | None, faults: Sequence[Fault]) -> str:
    count = f"{len(faults):,} fault{'' if len(faults) == 1 else 's'} in the specs; " if plan is None or faults else ""
    if plan is None:
        return f"reconciler: {count}no plan is made"
    return f"reconciler: {count}{changes_text(plan) or nothing(plan)}; {plan.unchanged:,} unchanged"


def _alerts(plan: Plan | None, impact: Impact | None) -> Iterable[str]:
    """Refusals and what somebody ought to look at, before anything else."""
    refusals = plan.refusals if plan else ()
    for refusal in refusals[:MOST_REFUSALS]:
        yield _alert("CAUTION", [code(cut(refusal.text, LONGEST_REFUSAL)), *_names(refusal)])
    if len(refusals) > MOST_REFUSALS:
        yield _alert("CAUTION", [f"… and {len(refusals) - MOST_REFUSALS:,} more refusals"])
    if plan and plan.pin:
        yield _alert("IMPORTANT", [code(cut(plan.pin, LONGEST_REFUSAL))])
    if warned := [*_warned(impact), *_renames(plan)]:
        yield _alert("WARNING", _cut_list(warned, LONGEST_LIST))


def _alert(kind: str, lines: Iterable[str]) -> str:
    return "\n".join([f"> [!{kind}]", *(f"> {line}" for line in lines)])


def _names(refusal: Refusal) -> list[str]:
    names = [f"- {code(name)}" for name in refusal.names[:MOST_NAMES]]
    more = len(refusal.names) - len(names)
    return [*names, *([f"- … and {more:,} more"] if more else [])]


def _warned(impact: Impact | None) -> Iterable[str]:
    if impact is None:
        return
    from reconciler.impact.words import peak_words

    if impact.at_once:
        yield f"- {impact.at_once:,} instants would fire at once"
    for minute in impact.load:
        if minute.is_peak:
            yield f"- {peak_words(minute)}"
    for change in impact.changes.values():
        yield from (f"- {code(change.name)}: {code(text)}" for text in change.warnings)


def _renames(plan: Plan | None) -> Iterable[str]:
    for change in plan.changes if plan else ():
        if change.looks_like:
            yield f"- {code(change.name)} {code(rename_hint(change))}"


def _fault_list(faults: Sequence[Fault], warnings: Sequence[Fault]) -> list[str]:
    parts = []
    if faults:
        parts.append("\n".join(_cut_list([f"- :x: {code(str(fault))}" for fault in faults], LONGEST_FAULTS)))
    if warnings:
        lines = _cut_list([f"- {code(str(warning))}" for warning in warnings], LONGEST_ASIDE)
        parts.append(_folded(f"{len(warnings):,} warning{'' if len(warnings) == 1 else 's'}", "\n".join(lines)))
    return parts


def _table(plan: Plan, impact: Impact | None, room: int) -> str:
    changes = plan.changes or plan.withheld
    if not changes:
        return ""
    lines = ["| | task | what | fires per day |", "|:-:|---|---|---|"]
    room -= sum(map(len, lines)) + 60
    for number, change in enumerate(changes):
        row = f"| {_row(change, impact.changes.get(change.name) if impact else None)} |"
        room -= len(row) + 1
        if room < 0:
            lines.append(f"| | … and {len(changes) - number:,} more | | |")
            break
        lines.append(row)
    return "\n".join(lines)


def _row(change: Change, found: ChangeImpact | None) -> str:
    shown = [_field(field) for field in change.fields[:MOST_FIELDS]]
    if len(change.fields) > len(shown):
        shown.append(f"… and {len(change.fields) - len(shown)} more fields")
    reason = code(reason_of(change), is_cell=True)
    what = "<br>".join(shown if change.verb == "update" and shown and not change.is_drift else [reason, *shown])
    return f"{code(MARKS[change.verb])} | {code(change.name)} | {what} | {_rate(found)}"


def _field(change: FieldChange) -> str:
    sides = (code(value_text(side), is_cell=True) for side in (change.before, change.after))
    return f"{code(change.field, is_cell=True)}: {' → '.join(sides)}"


def _rate(found: ChangeImpact | None) -> str:
    if found is None:
        return ""
    from reconciler.impact.words import per_day

    return per_day(found).replace("->", "→")


def _totals(impact: Impact | None) -> list[str]:
    if impact is None or impact.per_day is None:
        return []
    from reconciler.impact.words import picture, total_rate

    rate = total_rate(impact).replace("->", "→")
    lines = [f"Fires per day, all tasks: **{rate}**; {impact.at_once:,} fire at once."]
    if any(minute.is_peak for minute in impact.load):
        drawn = "\n".join(picture(impact.load))
        lines.append(f"Tasks that start in the same minute, `#` before and `+` more:\n\n```\n{drawn}\n```")
    return lines


def _left(plan: Plan) -> list[str]:
    """What differs and stays as it is."""
    groups = (
        ("changed by hand, reported and left as it is", [change.name for change in plan.drifted]),
        ("held: a file has a fault, and the last good state stays", plan.held),
        ("kept: not in the specs, and nothing is deleted", plan.kept),
    )
    return [
        _folded(f"{len(names):,} {title}", "\n".join(_cut_list([f"- {code(name)}" for name in names], LONGEST_ASIDE)))
        for title, names in groups
        if names
    ]


def _details(plan: Plan, impact: Impact | None, pauses: Mapping[str, str], room: int) -> str:
    """When each changed task runs, as many as there is room for."""
    blocks: list[str] = []
    room -= 200
    for change in plan.changes or plan.withheld:
        if lines := _detail(change, impact, pauses):
            block = "\n".join([code(change.name), *(f"- {line}" for line in lines)])
            room -= len(block) + 2
            if room < 0:
                break
            blocks.append(block)
    if blocks and room < 0:
        blocks.append("… and more; `reconciler plan` shows them")
    return _folded("When they run", "\n\n".join(blocks)) if blocks else ""


def _detail(change: Change, impact: Impact | None, pauses: Mapping[str, str]) -> list[str]:
    from reconciler.impact.words import change_words

    found = impact.changes.get(change.name) if impact else None
    lines = [code(line) for line in change_words(found)] if found else []
    return [*lines, *([code(pauses[change.name])] if change.name in pauses else [])]


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _cut_list(lines: Sequence[str], room: int) -> list[str]:
    """As many as the room holds, and how many more there are."""
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 3
        if room < 0:
            return [*kept, f"- … and {len(lines) - len(kept):,} more"]
        kept.append(line)
    return kept
