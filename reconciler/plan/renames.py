"""Is a name that is gone the same task under another name? Then its history stays behind, and somebody should know.

Only a hint: nothing is done about it. A rename is a document that is equal but for its name.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from reconciler.plan.plan import Change, Documents

# Beyond that nobody reads hints, and comparing costs more than the plan.
MOST: Final = 2_000


def likely_renames(
    created: Mapping[str, Mapping[str, Any]], gone: Collection[str], documents: Documents
) -> dict[str, str]:
    """Old names by new, and new names by old; where several are equal, in the order of their names."""
    if not created or not gone or len(created) + len(gone) > MOST:
        return {}
    bodies: dict[str, list[str]] = {}
    for name in sorted(gone, reverse=True):
        if name in documents:
            bodies.setdefault(_body(documents[name]), []).append(name)
    pairs: dict[str, str] = {}
    for name in sorted(created):
        if same := bodies.get(_body(created[name])):
            old = same.pop()
            pairs[name], pairs[old] = old, name
    return pairs


def hinted(changes: Sequence[Change], pairs: Mapping[str, str]) -> list[Change]:
    """The creations and deletions that are a likely rename say of what."""
    return [
        replace(change, looks_like=pairs[change.name])
        if change.name in pairs and change.verb in ("create", "delete")
        else change
        for change in changes
    ]


def _body(document: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in document.items() if key != "name"}, sort_keys=True)
