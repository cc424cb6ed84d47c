"""What do the files of a directory say together? The specs by name, and what only shows when all of them are read.

Each file was judged by itself before. Here a name is found twice, a circle is closed, and each fault gets the place
that is held for its sake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from reconciler.spec import Fault, LocatedSpec, SpecSet
from reconciler.specfiles.mentions import (
    Outside,
    Told,
    round_in_circles,
    unknown_names,
    unknown_targets,
)
from reconciler.specfiles.onepass import Pass
from reconciler.specfiles.walk import DEFAULTS, SUFFIXES
from reconciler.typewords import shown

MOST_FAULTS = 10_000


@dataclass(slots=True)
class _Found:
    """Faults and warnings so far, and the paths of the files that the faults are about."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    held: set[str] = field(default_factory=set)


def gathered(now: Pass, environment: str | None, outside: Outside, is_alone: bool) -> SpecSet:
    """Everything that a pass found, judged together; `is_alone`: one file of several."""
    found = _Found()
    for one in now.found.amiss:
        found.faults.append(Fault(now.where(one.path), 1, 1, "file", one.what))
        found.held.add(_place(one.path, one.is_folder))
    for path, known in now.known.items():
        held = known.held
        if held.faults:
            found.faults += held.faults
            found.held.add(_place(path))
        if held.warnings:
            found.warnings += held.warnings
    specs = _named_once(now, found)
    found.warnings += _undeclared(now, environment)
    _judge_mentions(now, outside, is_alone, found)
    return SpecSet(
        tuple(specs),
        _in_order(found.faults, now.where("")),
        _in_order(found.warnings, now.where("")),
        len(now.found.files),
        tuple(sorted(found.held)),
    )


def _place(path: str, is_folder: bool = False) -> str:
    """What a fault at this path holds: defaults are about all of their folder."""
    folder, slash, name = path.rpartition("/")
    if name in DEFAULTS:
        return folder + slash
    return f"{path}/" if is_folder or (path and not name.endswith(SUFFIXES)) else path


def _named_once(now: Pass, found: _Found) -> list[LocatedSpec]:
    """The good specs, and a fault for every document whose name an earlier one has, be that one good or not."""
    first: dict[str, tuple[str, int]] = {}
    specs = []
    for path, known in now.known.items():
        for name, begins, line, column, spec in known.held.named:
            if name not in first:
                first[name] = path, begins
                if spec is not None:
                    specs.append(spec)
                continue
            other, other_line = first[name]
            what = f"'{name}' is taken by {now.where(other)}:{other_line}; give one of them another name"
            found.faults.append(Fault(now.where(path), line, column, "name", what))
            found.held.update((path, other))
    return specs


def _undeclared(now: Pass, environment: str | None) -> Iterator[Fault]:
    """A line where the specs tell environments apart and none of them knows the chosen one."""
    if environment is None:
        return
    from reconciler.nearest import did_you_mean

    declared = {name for known in now.known.values() for name in known.held.environments}
    if declared and environment not in declared:
        what = f"no spec declares {shown(environment)}; {did_you_mean(environment, sorted(declared))}"
        yield Fault(now.where(""), 1, 1, "environment", what)


def _judge_mentions(now: Pass, outside: Outside, is_alone: bool, found: _Found) -> None:
    paths = {one: path for path, known in now.known.items() for one in known.held.mentions}
    if not paths:
        return

    def fault(told: Iterable[Told]) -> None:
        for line, mentions in told:
            found.faults.append(line)
            found.held.update(paths[one] for one in mentions)

    fault(round_in_circles(paths))
    fault(unknown_targets(paths, outside.targets) if outside.targets is not None else ())
    is_all = not (is_alone or outside.has_other_sources)
    hint = "it has to be the name of a spec here" if is_all else "it has to be in force, or among other specs"
    unknown = unknown_names(paths, _names(now), hint)
    if is_all:
        fault(unknown)
    else:
        found.warnings += [line for line, _ in unknown]


def _names(now: Pass) -> set[str]:
    """Every name there is, and what a file that cannot be read may be about."""
    names = {one.name for known in now.known.values() for one in known.held.named}
    faulty = [*(path for path, known in now.known.items() if known.held.faults), *(one.path for one in now.found.amiss)]
    return names | set(map(_stem, faulty))


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def _in_order(faults: Iterable[Fault], root: str) -> tuple[Fault, ...]:
    ordered = sorted(set(faults))
    if len(ordered) <= MOST_FAULTS:
        return tuple(ordered)
    more = Fault(root, 1, 1, "file", f"and {len(ordered) - MOST_FAULTS} more lines; mend these first")
    return (*ordered[:MOST_FAULTS], more)
