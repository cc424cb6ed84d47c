"""A stream of YAML events into the values that JSON would have, each with its place, and a bound on everything.

The parser's events come one after the other, whatever they nest, and the tree is built here: PyYAML's own loaders die
on deep nesting, and a few hundred bytes of aliases or merge keys keep them busy for minutes. No key has a meaning here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, Protocol

from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from reconciler.specfiles.yamlscalars import Ambiguous, plain

DEPTH = 32
# Values that a file may hold, with what its aliases repeat; 32 characters of text weigh as much as a value.
VALUES = 250_000
DOCUMENTS = 5_000
PROBLEMS = 100


class Mark(Protocol):
    """A place in a file, as the parser tells it: both count from 0."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class Inside(NamedTuple):
    """Where a mapping or a list begins, and the places inside it: for a key, its own and its value's."""

    mark: Mark
    places: dict[str, tuple[Mark, Spot]] | list[Spot]


# Where a value is. Kept as the parser gives it: this is made for every value, and looked at only for faults.
Spot = Inside | Mark


class Problem(NamedTuple):
    line: int
    column: int
    field: str
    what: str


class Document(NamedTuple):
    value: Any
    spot: Spot
    is_sound: bool


@dataclass(slots=True)
class Loaded:
    """What a file holds: every document up to the first that cannot be parsed, and all that is wrong with it."""

    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def dotted(path: Sequence[str | int]) -> str:
    """A place inside a document as lines name it: `retries.attempts`, `skip_on[2]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_word(part)}" for part in path).removeprefix(".")
    return text if len(text) <= 120 else f"{text[:60]}…{text[-40:]}"


def _word(key: str) -> str:
    shown = key if len(key) <= 60 else f"{key[:40]}…{key[-8:]}"
    return shown if shown.isprintable() else ascii(shown)[1:-1]


class Enough(Exception):
    """The rest of the file is not looked at."""


class Builder:
    """Fills `loaded` with the documents that the events make; `build` may raise Enough, or what the parser raises."""

    def __init__(self, events: Callable[[], Any], loaded: Loaded) -> None:
        self.loaded = loaded
        self.next = events
        self.path: list[str | int] = []
        self.weight = self.count = 0
        # A value under its anchor, with its weight; None while it is still being built.
        self.anchors: dict[str, tuple[Any, Spot, int] | None] = {}

    def build(self) -> None:
        while True:
            event = self.next()
            if isinstance(event, StreamEndEvent):
                return
            if isinstance(event, DocumentStartEvent):
                self.anchors.clear()
                problems = len(self.loaded.problems)
                value, spot = self.value(self.next())
                self.count += 1
                if self.count > DOCUMENTS:
                    self.problem(event, f"the file holds more than {DOCUMENTS} documents; split it")
                    raise Enough
                if value is not None:
                    self.loaded.documents.append(Document(value, spot, problems == len(self.loaded.problems)))

    def value(self, event: Any) -> tuple[Any, Spot]:
        kind = event.__class__
        if kind is AliasEvent:
            return self.alias(event)
        if event.tag is not None:
            self.problem(event, f"has the tag {event.tag[:60]!r}; tags are not allowed, quote what is text")
        anchor, before = event.anchor, self.weight
        if kind is ScalarEvent:
            found: tuple[Any, Spot] = self.scalar(event), event.start_mark
        else:
            if len(self.path) >= DEPTH:
                self.problem(event, f"is nested deeper than {DEPTH} levels")
                raise Enough
            if anchor is not None:
                self.anchors[anchor] = None
            value, places = self.mapping() if kind is MappingStartEvent else self.sequence()
            found = value, Inside(event.start_mark, places)
        if anchor is not None:
            self.anchors[anchor] = (*found, self.weight - before)
        return found

    def scalar(self, event: Any) -> Any:
        text: str = event.value
        self.weight += 1 + (len(text) >> 5)
        if self.weight > VALUES:
            self.too_many(event)
        if event.implicit[0]:
            if text == "":
                if self.path:
                    self.problem(event, "has no value; write one, write null for none, or leave the key out")
                return None
            try:
                return plain(text, in_list=bool(self.path) and isinstance(self.path[-1], int))
            except Ambiguous as error:
                self.problem(event, str(error))
                return text
        if "\0" in text:
            self.problem(event, "has a NUL character, which no store keeps; leave it out")
        return text

    def sequence(self) -> tuple[list[Any], list[Spot]]:
        values: list[Any] = []
        spots: list[Spot] = []
        self.path.append(0)
        event = self.next()
        while event.__class__ is not SequenceEndEvent:
            self.path[-1] = len(values)
            value, spot = self.value(event)
            values.append(value)
            spots.append(spot)
            event = self.next()
        self.path.pop()
        return values, spots

    def mapping(self) -> tuple[dict[str, Any], dict[str, tuple[Mark, Spot]]]:
        values: dict[str, Any] = {}
        places: dict[str, tuple[Mark, Spot]] = {}
        merged: list[tuple[Any, Spot]] = []
        path, following = self.path, self.next
        path.append("")
        spot: Any
        event = following()
        while event.__class__ is not MappingEndEvent:
            path[-1] = key = self.key(event)
            inner = following()
            is_scalar = inner.__class__ is ScalarEvent
            if is_scalar and inner.tag is None and inner.anchor is None:
                value, spot = self.scalar(inner), inner.start_mark
            else:
                value, spot = self.value(inner)
            if key == "<<" and event.implicit[0]:
                merged.append((value, spot))
            elif key in values:
                first = places[key][0].line + 1
                self.problem(event, f"is written twice; the first is on line {first}, remove one of them")
            else:
                values[key] = value
                places[key] = event.start_mark, spot
            event = following()
        path.pop()
        for value, spot in merged:
            self.merge(value, spot, values, places)
        return values, places

    def key(self, event: Any) -> str:
        is_word = event.__class__ is ScalarEvent
        if not is_word or event.tag is not None:
            self.problem(event, "a key must be a plain word; quote a value that begins with { or [ if it is text")
            raise Enough
        text: str = event.value
        self.weight += 1 + (len(text) >> 5)
        if not text:
            self.problem(event, "a key is empty; write a word before the colon")
        elif "\0" in text:
            self.problem(event, "a key has a NUL character, which no store keeps; leave it out")
        if event.anchor is not None:
            self.anchors[event.anchor] = (text, event.start_mark, 1 + (len(text) >> 5))
        return text

    def alias(self, event: Any) -> tuple[Any, Spot]:
        known = self.anchors.get(event.anchor, ())
        if not known:
            what = "stands inside what it repeats" if known is None else "has no anchor before it"
            self.problem(event, f"the alias *{event.anchor[:60]} {what}")
            return None, event.start_mark
        value, spot, weight = known
        self.weight += weight
        if self.weight > VALUES:
            self.too_many(event)
        return value, Inside(event.start_mark, spot.places) if isinstance(spot, Inside) else event.start_mark

    def merge(self, value: Any, spot: Spot, values: dict[str, Any], places: dict[str, tuple[Mark, Spot]]) -> None:
        several = spot.places if isinstance(spot, Inside) and isinstance(spot.places, list) else [spot]
        for mapping, place in zip(value if isinstance(value, list) else [value], several, strict=True):
            if not (isinstance(mapping, dict) and isinstance(place, Inside) and isinstance(place.places, dict)):
                self.problem_at(mark_of(spot), "<<", "merges only mappings")
                return
            self.weight += len(mapping)
            for key in mapping.keys() - values.keys():
                values[key] = mapping[key]
                places[key] = place.places[key]

    def too_many(self, event: Any) -> NoReturn:
        self.problem(event, f"the file holds more than {VALUES} values, with what aliases repeat; split it")
        raise Enough

    def problem(self, event: Any, what: str) -> None:
        self.problem_at(event.start_mark, dotted(self.path).rstrip(".") or "yaml", what)

    def problem_at(self, mark: Mark, where: str, what: str) -> None:
        self.loaded.problems.append(Problem(mark.line + 1, mark.column + 1, where, what))
        if len(self.loaded.problems) >= PROBLEMS:
            raise Enough


def mark_of(spot: Spot) -> Mark:
    """Where the value itself begins."""
    return spot.mark if isinstance(spot, Inside) else spot
