"""How a line says that a parameter's value does not fit its annotation: pydantic's errors in our words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.nearest import nearest
from reconciler.registry.references import KINDS, Mask, Place
from reconciler.typewords import allowed_words, not_a, not_one_of, noun, shown


def worded(found: Sequence[Any], value: object, mask: Mask | None = None) -> Iterator[tuple[Place, str]]:
    """Each place inside the value that is wrong, and one line on how, whatever number of types could stand there."""
    wrong: dict[Place, list[Any]] = {}
    for fault in found:
        wrong.setdefault(_place(fault["loc"], value, fault["type"]), []).append(fault)
    for place, faults in wrong.items():
        # What could have been text or a list and is a list with a wrong entry has that entry wrong.
        if not any(other[: len(place)] == place and len(other) > len(place) for other in wrong):
            what = _sentence(faults, mask)
            yield place, mask(what) if mask else what


def _place(steps: Sequence[str | int], value: Any, kind: str) -> Place:
    """The steps that lead through the value, without those that name an alternative of a union."""
    place: list[str | int] = []
    for number, step in enumerate(steps):
        is_there = step in value if isinstance(value, Mapping) else False
        if isinstance(value, list | tuple) and isinstance(step, int):
            is_there = step < len(value)
        if is_there:
            value = value[step]
            place.append(step)
        elif kind == "missing" and number == len(steps) - 1:
            place.append(step)
    return tuple(place)


def _sentence(faults: Sequence[Any], mask: Mask | None) -> str:
    given = faults[0]["input"]
    given = given if mask is None else mask.inside(given)
    nouns = list(dict.fromkeys(wanted for fault in faults if (wanted := noun(fault["type"]))))
    others = list(dict.fromkeys(_own(fault, given) for fault in faults if noun(fault["type"]) is None))
    if not nouns:
        return ", or ".join(others)
    # A hint would be about one of several kinds.
    said = not_a(nouns[0], given) if len(nouns) == 1 else f"{shown(given)} is not {_either(nouns)}"
    return ", or ".join([f"{said}{_reference_hint(given)}", *others])


def _either(nouns: Sequence[str]) -> str:
    return f"{', '.join(nouns[:-1])} or {nouns[-1]}"


def _own(fault: Any, given: object) -> str:
    """The line of an error that is not about a kind."""
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        return " ".join(str(context["error"]).split())
    if kind == "missing":
        return "is missing"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return "unknown key; leave it out"
    if kind in ("literal_error", "enum"):
        return not_one_of(given, allowed_words(context) or [context["expected"]])
    text = " ".join(fault["msg"].split())
    subject, should, rest = text.partition(" should ")
    return f"{shown(given)} has to {rest}" if should and " " not in subject else f"{shown(given)}: {text}"


def _reference_hint(given: object) -> str:
    if not isinstance(given, Mapping) or len(given) != 1:
        return ""
    near = nearest(str(next(iter(given))), KINDS)
    return f"; did you mean '{near}'?" if near else ""
