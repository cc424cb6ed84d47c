"""Which spec has this digest? Parsed once and remembered, since a pass over all configs asks for every one of them.

A digest is taken of the whole spec, so what is remembered never goes stale. What somebody wrote beside a digest by hand
is not what it was taken of, and is not remembered as that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.spec.spec import TaskSpec

# The most specs of a generation. Two generations are kept, so what is asked for again and again always stays:
# with up to this many configs nothing is parsed twice.
GENERATION = 20_000

_young: dict[str, TaskSpec] = {}
_old: dict[str, TaskSpec] = {}


def spec_of(digest: str, document: Mapping[str, Any]) -> TaskSpec:
    """The spec that `document` holds; ReconcilerError where this version cannot read it."""
    found = known_spec(digest)
    if found is None:
        found = TaskSpec.from_document(dict(document))
        remember(digest, found)
    return found


def spec_beside(digest: str, document: Mapping[str, Any]) -> TaskSpec:
    """The same of a row that anybody may have edited: remembered only where it is what the digest stands for."""
    found = known_spec(digest)
    if found is None:
        found = TaskSpec.from_document(dict(document))
        if found.digest == digest:
            remember(digest, found)
    return found


def known_spec(digest: str) -> TaskSpec | None:
    """The spec with this digest; None where it was not seen before and its document is needed."""
    found = _young.get(digest)
    if found is None:
        found = _old.get(digest)
        if found is not None:
            remember(digest, found)
    return found


def remember(digest: str, spec: TaskSpec) -> None:
    """Spare whoever asks for this digest later the reading and the parsing."""
    global _young, _old
    if len(_young) >= GENERATION:
        _young, _old = {}, _young
    _young[digest] = spec
