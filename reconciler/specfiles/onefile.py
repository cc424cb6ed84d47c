"""One spec file into the specs that it holds, and a folder's `_defaults.yaml` into a layer below them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from reconciler.spec import Fault, LocatedSpec, TaskSpec
from reconciler.spec.faults import Flaw
from reconciler.spec.fields import is_name
from reconciler.spec.parts import NOBODY
from reconciler.specfiles.instep import Steps
from reconciler.specfiles.layers import Layer, Rules, fault_at, judge
from reconciler.specfiles.mentions import Mention, mentions_of
from reconciler.specfiles.yamlgate import load
from reconciler.specfiles.yamltree import Document, Inside, Loaded, mark_of
from reconciler.typewords import shown

MOST_FAULTS = 1_000


class Named(NamedTuple):
    """A document that has a name: the line it begins on, the place of its name, and its spec if it is a good one."""

    name: str
    begins: int
    line: int
    column: int
    spec: LocatedSpec | None


@dataclass(slots=True)
class Held:
    """What one file holds, and what it names elsewhere. Documents without a usable name are only in `faults`."""

    named: list[Named] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    environments: set[str] = field(default_factory=set)
    mentions: tuple[Mention, ...] = ()


def specs_in(data: bytes, path: str, shown_path: str, defaults: Sequence[Layer], rules: Rules) -> Steps[Held]:
    """Every spec of a file, in order, and every fault. `path` is kept with the specs, `shown_path` is for people."""
    loaded = load(data)
    yield
    held = Held(faults=_problems(loaded, shown_path))
    if not loaded.documents and not loaded.problems:
        held.warnings.append(Fault(shown_path, 1, 1, "file", "has no spec in it, only comments or nothing"))
    default_name: str | None = path.rpartition("/")[2].rpartition(".")[0]
    for document in loaded.documents:
        layer = _layer(document, shown_path, held.faults)
        if layer is not None:
            yield from _add(held, [*defaults, layer], path, default_name, rules, document.is_sound)
        default_name = None
    held.faults = _once(held.faults, len(loaded.problems))
    if len(held.faults) > MOST_FAULTS:
        what = f"and {len(held.faults) - MOST_FAULTS} more lines about this file; mend these first"
        held.faults[MOST_FAULTS:] = [Fault(shown_path, 1, 1, "file", what)]
    return held


def defaults_in(data: bytes, path: str) -> tuple[Layer | None, list[Fault]]:
    """The layer that a `_defaults.yaml` puts below the specs of its folder, and its own faults."""
    loaded = load(data)
    faults = _problems(loaded, path)
    if not loaded.documents:
        return None, faults
    if len(loaded.documents) > 1:
        faults.append(_about(loaded.documents[1], path, "has several documents; defaults are one mapping"))
    layer = _layer(loaded.documents[0], path, faults)
    if layer is not None:
        faults += _default_faults(layer)
    return layer, _once(faults, len(loaded.problems))


def _default_faults(layer: Layer) -> list[Fault]:
    """What is wrong in defaults by themselves; what depends on the rest of a spec, or on a calendar, is found there."""
    faults = []
    if "name" in layer.value:
        faults.append(fault_at([layer], Flaw(("name",), "cannot be a default: every spec has its own", at_key=True)))
    anything = Layer(layer.path, {"task": "any"}, mark_of(layer.spot))
    found = judge([anything, _nameless(layer)], "any", Rules(None, lambda name, zone: (), None)).faults
    return faults + [fault for fault in found if fault.what != NOBODY]


def _layer(document: Document, path: str, faults: list[Fault]) -> Layer | None:
    value = document.value
    if not isinstance(value, dict):
        hint = "; a colon needs a blank after it" if isinstance(value, str) and ":" in value else ""
        what = f"{shown(value)} is not a spec; a spec is a mapping with at least 'task'{hint}"
        faults.append(_about(document, path, what))
        return None
    if "apiVersion" in value and "kind" in value and "task" not in value:
        kind = shown(value["kind"]).strip("'")
        what = f"this is a Kubernetes manifest ({kind}), not a spec; a spec has 'task', 'schedule' and the like"
        faults.append(_about(document, path, what))
        return None
    return Layer(path, value, document.spot)


def _about(document: Document, path: str, what: str, field: str = "file") -> Fault:
    mark = mark_of(document.spot)
    return Fault(path, mark.line + 1, mark.column + 1, field, what)


def _add(
    held: Held, layers: Sequence[Layer], path: str, default_name: str | None, rules: Rules, is_sound: bool
) -> Steps[None]:
    own = layers[-1]
    if len(layers) > 1 and any("name" in layer.value for layer in layers[:-1]):
        layers = [*(_nameless(layer) for layer in layers[:-1]), own]
    name = own.value.get("name") or default_name
    if name == default_name and name is not None and not is_name(name):
        what = f"the file's name, {shown(name)}, cannot be the task's; write a name of a-z, 0-9, '-', '_', '.'"
        held.faults.append(fault_at([own], Flaw(("name",), what)))
        is_sound, name, default_name = False, None, "any"
    for layer in layers:
        if isinstance(declared := layer.value.get("environments"), dict):
            held.environments.update(map(str, declared))
    judged = judge(layers, default_name, rules)
    yield
    held.faults += judged.faults
    if judged.about is not None:
        held.mentions += mentions_of(judged.about, judged.layers)
    begins = mark_of(own.spot).line + 1
    good = None
    if judged.spec is not None:
        held.warnings += [fault_at(judged.layers, flaw) for flaw in _warnings(judged.spec, own.value)]
        if is_sound and not judged.faults:
            good = LocatedSpec(judged.spec, path, begins, judged.spec.digest, judged.spec.name)
    if good or (isinstance(name, str) and is_name(name)):
        held.named.append(Named(str(name), begins, *_name_place(own), good))


def _name_place(layer: Layer) -> tuple[int, int]:
    spot = layer.spot
    if isinstance(spot, Inside) and isinstance(spot.places, dict) and "name" in spot.places:
        spot = spot.places["name"][1]
    mark = mark_of(spot)
    return mark.line + 1, mark.column + 1


def _nameless(layer: Layer) -> Layer:
    return Layer(layer.path, {key: value for key, value in layer.value.items() if key != "name"}, layer.spot)


def _warnings(spec: TaskSpec, own: Mapping[str, object]) -> Iterator[Flaw]:
    yield from _unheard(spec, own)
    schedule = spec.when()
    for what in schedule.warnings if schedule else ():
        yield Flaw(("schedule",), what)


def _unheard(spec: TaskSpec, own: Mapping[str, object]) -> Iterator[Flaw]:
    """What the spec says to no effect. What its folder says may be for the others, its environments bring the rest."""
    if "environments" in own:
        return
    if spec.missed != "all":
        for key in ("missed_limit", "missed_within"):
            if key in own:
                yield Flaw((key,), f"says nothing with 'missed: {spec.missed}'; it is for 'missed: all'")
    retries = own.get("retries")
    if retries and "attempts" not in spec.retries.model_fields_set:
        yield Flaw(
            ("retries",), "says nothing without 'attempts', which is 1 by default: nothing is tried again", at_key=True
        )
    if not spec.schedule:
        for key in ("jitter", "missed", "skip_on", "starts_at", "ends_at"):
            if own.get(key):
                yield Flaw((key,), "says nothing without a 'schedule'", at_key=True)


def _problems(loaded: Loaded, path: str) -> list[Fault]:
    return [Fault(path, *problem) for problem in loaded.problems]


def _once(faults: list[Fault], problems: int) -> list[Fault]:
    """Each line once, and nothing more about the places of the first `problems`: those are not even YAML."""
    if not faults:
        return faults
    places = {(fault.line, fault.column) for fault in faults[:problems]}
    rest = [fault for fault in faults[problems:] if (fault.line, fault.column) not in places]
    return list(dict.fromkeys([*faults[:problems], *rest]))
