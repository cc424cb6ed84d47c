"""One document into one spec: defaults below it, an environment above it, and the place of every fault.

A spec is a pile of layers; where two say something about the same key, the upper one counts. A fault is looked up in
the layers from the top down, so it is shown in the file that said it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from reconciler.spec import Fault, TaskSpec
from reconciler.spec.faults import PARTS, Flaw, flaws
from reconciler.spec.fields import Calendars, is_name
from reconciler.specfiles.yamltree import Inside, Mark, Spot, dotted, mark_of
from reconciler.typewords import shown

if TYPE_CHECKING:
    from reconciler.registry.params import ParamFault

# Of one document; whoever has written more mends these first.
MOST_FLAWS = 100
MOST_ENVIRONMENTS = 50

# What is wrong with a task's name (a fault of no parameter) and with its parameters.
Check = Callable[[str, Mapping[str, Any]], "Sequence[ParamFault]"]
At = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """What one mapping of one file says; `inside` leads to it from the top of its document."""

    path: str
    value: dict[str, Any]
    spot: Spot
    inside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What a spec is judged by, besides its own fields."""

    environment: str | None
    calendars: Calendars
    check: Check | None


@dataclass(slots=True)
class Judged:
    """What became of one document: a spec where it is good enough to be one, and the layers that it was made of.

    `about`: a spec that names the other specs and the targets which the document names, for what else it says may be
    wrong; None where not even its own name can be read.
    """

    spec: TaskSpec | None
    faults: list[Fault]
    layers: Sequence[Layer]
    about: TaskSpec | None


def judge(layers: Sequence[Layer], default_name: str | None, rules: Rules) -> Judged:
    """The spec that the layers (lowest first) make in the rules' environment, and what is wrong in any environment."""
    value = layers[0].value if len(layers) == 1 else _merged_all(layers)
    environments = value.get("environments")
    value = _settled(value, default_name)
    if environments is None:
        return _validated(value, layers, rules)
    faults = list(_misnamed(environments, layers))
    result = _validated(*_with_overlays(value, layers, rules.environment), rules)
    if isinstance(environments, dict) and len(environments) <= MOST_ENVIRONMENTS:
        for other in (name for name in environments if name != rules.environment):
            found = _validated(*_with_overlays(value, layers, other), rules)
            faults += [_of(other, fault) for fault in found.faults if fault not in result.faults]
    result.faults += faults
    return result


def _with_overlays(
    value: dict[str, Any], layers: Sequence[Layer], environment: str | None
) -> tuple[dict[str, Any], list[Layer]]:
    """What the layers say in that environment, and the pile with what each has to say about it on top."""
    over = [upper for layer in layers if (upper := _overlay(layer, environment)) is not None]
    return _settled(_merged_all(over, value), None), [*layers, *over]


def _validated(value: dict[str, Any], layers: Sequence[Layer], rules: Rules) -> Judged:
    try:
        spec = TaskSpec.model_validate(value, context=rules.calendars)
    except ValidationError as error:
        wrong = {found["loc"][0] for found in error.errors(include_url=False, include_input=False) if found["loc"]}
        found = chain(flaws(error), _unsettled_flaws(value, wrong, rules.check))
        return Judged(None, _faults(layers, found), layers, _readable(value, wrong))
    misfits = list(_param_flaws(spec.task, spec.params, rules.check)) if rules.check else ()
    return Judged(spec, _faults(layers, iter(misfits)) if misfits else [], layers, spec)


def _readable(value: Mapping[str, Any], wrong: Collection[int | str]) -> TaskSpec | None:
    """A spec of what something that is no spec names elsewhere, as far as that is readable."""
    if "name" in wrong:
        return None
    said = {key: value[key] for key in ("name", "after", "notify") if key in value and key not in wrong}
    return TaskSpec.model_validate({**said, "task": "any"})


def _unsettled_flaws(value: Mapping[str, Any], wrong: Collection[int | str], check: Check | None) -> Iterator[Flaw]:
    """What is wrong with the task and the parameters of something that is no spec, as far as they are readable."""
    if check is None or "task" in wrong:
        return
    params = {} if "params" in wrong else value.get("params", {})
    found = _param_flaws(value["task"], params, check)
    yield from (flaw for flaw in found if flaw.at == ("task",) or "params" not in wrong)


def _faults(layers: Sequence[Layer], found: Iterator[Flaw]) -> list[Fault]:
    faults = [fault_at(layers, flaw) for flaw in islice(found, MOST_FLAWS)]
    if next(found, None) is not None:
        faults.append(fault_at(layers, Flaw((), "there is more wrong with this spec; mend the rest first")))
    return faults


def _param_flaws(task: str, params: Mapping[str, Any], check: Check) -> Iterator[Flaw]:
    try:
        found = check(task, params)
    except Exception as error:
        yield Flaw(("task",), f"'{task}' cannot be checked: {type(error).__name__}: {shown(str(error))}")
        return
    for fault in found:
        at: At = ("params", fault.param, *fault.inside) if fault.param else ("task",)
        yield Flaw(at, fault.what, fault.is_unknown)


def fault_at(layers: Sequence[Layer], flaw: Flaw) -> Fault:
    """The fault at the place that says it, in the topmost layer that does; a missing key is shown where it would be."""
    best: tuple[int, Layer, Mark, int] | None = None
    for layer in reversed(layers):
        depth, mark = _place(layer.spot, flaw)
        # What is nowhere is missing in the document, not in what an environment changes.
        rank = -1 if layer.inside and not depth else depth
        if best is None or rank > best[0]:
            best = rank, layer, mark, depth
    assert best is not None
    _, layer, mark, depth = best
    at = flaw.at
    while len(at) > depth and isinstance(at[-1], int):
        at = at[:-1]  # one value where a list could stand
    return Fault(layer.path, mark.line + 1, mark.column + 1, dotted((*layer.inside, *at)) or "file", flaw.what)


def _place(spot: Spot, flaw: Flaw) -> tuple[int, Mark]:
    """How many steps towards the flaw the layer goes, and where that is."""
    mark = mark_of(spot)
    for depth, step in enumerate(flaw.at):
        places = spot.places if isinstance(spot, Inside) else {}
        if isinstance(places, dict) and step in places:
            key, spot = places[str(step)]
            mark = mark_of(spot)
            # A block mapping begins on the line below its key; what is wrong with a parameter is shown at its name.
            if depth == len(flaw.at) - 1 and (flaw.at_key or (flaw.at[0] == "params" and mark.line != key.line)):
                mark = key
        elif isinstance(places, list) and isinstance(step, int) and step < len(places):
            spot = places[step]
            mark = mark_of(spot)
        else:
            return depth, mark
    return len(flaw.at), mark


def _merged_all(layers: Sequence[Layer], value: Mapping[str, Any] | None = None) -> dict[str, Any]:
    merged = dict(value or {})
    for layer in layers:
        merged = _merged(merged, layer.value)
    return merged


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any], levels: int = 1) -> dict[str, Any]:
    """Keys of `upper` over those of `lower`; mappings `levels` deep are merged too, and all else is replaced.

    So a parameter's own value is replaced whole: half of `{from_env: A}` is of no use to `{from_file: B}`.
    """
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if levels and isinstance(below, dict) and isinstance(value, dict):
            value = _merged(below, value, 3 if key == "environments" else levels - 1)
        merged[key] = value
    return merged


def _settled(value: dict[str, Any], default_name: str | None) -> dict[str, Any]:
    """Without `environments`, and without what is null: that takes a default back to nothing."""
    settled = {key: part for key, part in value.items() if part is not None and key != "environments"}
    for key in PARTS:
        part = settled.get(key)
        if isinstance(part, dict) and None in part.values():
            settled[key] = {inner: some for inner, some in part.items() if some is not None}
    if default_name is not None:
        settled.setdefault("name", default_name)
    return settled


def _misnamed(environments: Any, layers: Sequence[Layer]) -> Iterator[Fault]:
    """What is wrong with the shape of `environments` itself."""
    if not isinstance(environments, dict):
        yield fault_at(layers, Flaw(("environments",), f"{shown(environments)} is not a mapping of environments"))
        return
    if len(environments) > MOST_ENVIRONMENTS:
        what = f"has {len(environments)} environments; at most {MOST_ENVIRONMENTS} are allowed"
        yield fault_at(layers, Flaw(("environments",), what))
        return
    for name, overlay in environments.items():
        at = ("environments", name)
        if not is_name(name):
            yield fault_at(layers, Flaw(at, f"{shown(name)} is not a name; write a-z, 0-9, '.', '_', '-'", True))
        if overlay is not None and not isinstance(overlay, dict):
            yield fault_at(layers, Flaw(at, f"{shown(overlay)} is not a mapping of what differs there"))
            continue
        for key in overlay or ():
            if key in ("name", "environments"):
                yield fault_at(layers, Flaw((*at, key), "cannot differ between environments", True))


def _overlay(layer: Layer, environment: str | None) -> Layer | None:
    environments = layer.value.get("environments")
    value = environments.get(environment) if isinstance(environments, dict) and environment else None
    if not isinstance(value, dict) or environment is None:
        return None
    spot = layer.spot
    for key in ("environments", environment):
        assert isinstance(spot, Inside) and isinstance(spot.places, dict)
        spot = spot.places[key][1]
    kept = {key: part for key, part in value.items() if key not in ("name", "environments")}
    return replace(layer, value=kept, spot=spot, inside=("environments", environment))


def _of(environment: str, fault: Fault) -> Fault:
    """The fault, saying in which environment it is one: what stands elsewhere may be wrong in that one only."""
    prefix = dotted(("environments", environment, ""))
    return fault if fault.field.startswith(prefix) else replace(fault, field=f"{prefix}{fault.field}")
