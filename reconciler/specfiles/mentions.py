"""What specs name that is not in their own file: the tasks in `after`, the targets in `notify.to`. Are they there?

Collected file by file, with their places, and judged when all files are read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

from reconciler.nearest import did_you_mean, nearest
from reconciler.spec import Fault, TaskSpec
from reconciler.spec.circles import circles, words
from reconciler.spec.faults import Flaw
from reconciler.specfiles.layers import Layer, fault_at

# Finding what was meant among very many names takes a moment, so it is done for the first of the unknown ones only.
MOST_GUESSES = 20


Kind = Literal["after", "target"]


class Mention(NamedTuple):
    """`name` is the spec that names `other`; the rest is where it does."""

    kind: Kind
    name: str
    other: str
    path: str
    line: int
    column: int
    field: str

    def fault(self, what: str) -> Fault:
        return Fault(self.path, self.line, self.column, self.field, what)


# A line, and all that was said to bring it about.
Told = tuple[Fault, tuple[Mention, ...]]


@dataclass(frozen=True, slots=True)
class Outside:
    """What specs may name beyond the specs themselves.

    `targets`: of the settings' `notify.targets`; None where no settings are at hand, and then any is as good as
    another. `has_other_sources`: a name that is not in this source may be in another.
    """

    targets: frozenset[str] | None = None
    has_other_sources: bool = False


def mentions_of(spec: TaskSpec, layers: Sequence[Layer]) -> tuple[Mention, ...]:
    """All that a spec names, in its order."""
    if not spec.after and spec.notify is None:
        return ()
    targets = spec.notify.to if spec.notify is not None else ()
    return (
        *(_mention("after", spec.name, other, layers, ("after", at)) for at, other in enumerate(spec.after)),
        *(_mention("target", spec.name, other, layers, ("notify", "to", at)) for at, other in enumerate(targets)),
    )


def _mention(kind: Kind, name: str, other: str, layers: Sequence[Layer], at: tuple[str | int, ...]) -> Mention:
    place = fault_at(layers, Flaw(at, ""))
    return Mention(kind, name, other, place.path, place.line, place.column, place.field)


def unknown_targets(mentions: Iterable[Mention], targets: Collection[str]) -> Iterator[Told]:
    """A fault for each target that the settings do not have."""
    for one in mentions:
        if one.kind == "target" and one.other not in targets:
            hint = did_you_mean(one.other, sorted(targets)) if targets else "add it to notify.targets"
            yield one.fault(f"no target '{one.other}' in the settings; {hint}"), (one,)


def unknown_names(mentions: Iterable[Mention], names: Collection[str], hint: str) -> Iterator[Told]:
    """A line for each name in `after` that no spec has; it ends with the nearest one, else with `hint`."""
    unknown = [one for one in mentions if one.kind == "after" and one.other not in names]
    first = islice(dict.fromkeys(one.other for one in unknown), MOST_GUESSES)
    meant = {other: nearest(other, names) for other in first}
    for one in unknown:
        near = meant.get(one.other)
        yield one.fault(f"no spec '{one.other}'; " + (f"did you mean '{near}'?" if near else hint)), (one,)


def round_in_circles(mentions: Iterable[Mention]) -> Iterator[Told]:
    """A fault for each circle of specs that wait for each other, at what its first name says."""
    places = {(one.name, one.other): one for one in mentions if one.kind == "after"}
    waits: dict[str, list[str]] = {}
    for name, other in places:
        waits.setdefault(name, []).append(other)
    for circle in circles(waits):
        around = tuple(places[name, circle[(at + 1) % len(circle)]] for at, name in enumerate(circle))
        yield around[0].fault(words(circle)), around
