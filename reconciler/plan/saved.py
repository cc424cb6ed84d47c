"""A plan as a file: what it says, and whether it still holds. Nothing here opens the file or a store.

The file may have been edited by anyone, so every word of it is checked, and what follows from a change (does it move
a cursor, is the budget kept) is never read from it but found out again where it is applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import JsonValue, StringConstraints, model_validator

from reconciler.errors import ReconcilerError
from reconciler.plan.guards import Held, Options
from reconciler.plan.kept import Part, kept, on_a_line
from reconciler.plan.plan import Change, Plan, Verb
from reconciler.spec import LocatedSpec, TaskSpec

MOST_SHOWN: Final = 5
AGAIN: Final = "make it again with reconciler plan --out FILE"

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=4096)]
Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20\x7f]{1,255}$")]


class SavedOptions(Part):
    """What the guards let through when the plan was made."""

    adopt: bool = False
    allow_rewind: bool = False
    reason: Text | None = None


class SavedRefusal(Part):
    """What a guard held back then, and so is no part of the changes."""

    what: Text
    text: Text
    names: tuple[Name, ...] = ()


class SavedChange(Part):
    """One change: `before_*` is what the plan saw, `after_digest` and `document` what it writes."""

    verb: Verb
    name: Name
    path: Text
    reason: Text = ""
    before_digest: Digest | None = None
    before_path: Text | None = None
    before_source: Text | None = None
    after_digest: Digest | None = None
    document: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _fits(self) -> SavedChange:
        if (self.verb == "create") != (self.before_digest is None):
            raise ValueError(f"{self.name}: to {self.verb} {'needs' if self.verb != 'create' else 'has'} before_digest")
        if (self.verb == "delete") != (self.document is None) or (self.verb == "delete") != (self.after_digest is None):
            raise ValueError(f"{self.name}: to {self.verb} does not go with what it writes")
        return self


class SavedPlan(Part):
    """A plan for `source` at `revision`, made when the source stood at `last_revision`."""

    kind: Literal["reconciler.plan"] = "reconciler.plan"
    format_version: Literal[1] = 1
    source: Name
    environment: Text | None = None
    revision: Text | None = None
    author: Text | None = None
    subject: Text | None = None
    last_revision: Text | None = None
    made_at: datetime
    made_by: Text
    options: SavedOptions = SavedOptions()
    has_changes: bool
    changes: tuple[SavedChange, ...] = ()
    refusals: tuple[SavedRefusal, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(change.name for change in self.changes)


def read_plan(text: bytes, where: str) -> SavedPlan:
    """The plan in a file's content; ReconcilerError in one line for anything that is none of this version."""
    saved = kept(text, where, SavedPlan, "saved plan", AGAIN)
    if len(set(saved.names)) != len(saved.names):
        raise ReconcilerError(f"{where}: names a task twice: {AGAIN}")
    return saved


def written(saved: SavedPlan, where: str) -> list[LocatedSpec]:
    """The specs that it writes; ReconcilerError where a document is not what its digest and its name say."""
    specs = []
    for change in saved.changes:
        if change.document is None:
            continue
        try:
            spec = TaskSpec.from_document(dict(change.document))
        except ReconcilerError as error:
            raise ReconcilerError(f"{where}: {on_a_line(str(error))}") from None
        if _has_nul(change.document):
            raise ReconcilerError(f"{where}: {change.name}: has a NUL character, which no store keeps: {AGAIN}")
        if spec.name != change.name or spec.digest != change.after_digest:
            what = "its document is not the one that was planned, or of another version"
            raise ReconcilerError(
                f"{where}: {change.name}: {what}: make the plan again with reconciler plan --out FILE"
            )
        specs.append(LocatedSpec(spec, change.path, 0, spec.digest, spec.name))
    return specs


def _has_nul(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(inner) for key, inner in value.items())
    if isinstance(value, list):
        return any(map(_has_nul, value))
    return isinstance(value, str) and "\0" in value


def saved_changes(
    plan: Plan, documents: Mapping[str, dict[str, Any]], before: Mapping[str, Held]
) -> tuple[SavedChange, ...]:
    """Each change with what it saw and what it writes. `documents`: of what is written; `before`: what is in force."""
    return tuple(_saved(change, documents.get(change.name), before.get(change.name)) for change in plan.changes)


def _saved(change: Change, document: dict[str, Any] | None, before: Held | None) -> SavedChange:
    return SavedChange(
        verb=change.verb,
        name=change.name,
        path=change.path,
        reason=change.reason,
        before_digest=change.before_digest,
        before_path=before.path if before else None,
        before_source=before.source if before else None,
        after_digest=change.after_digest,
        document=document,
    )


def moved(saved: SavedPlan, now: Mapping[str, Held]) -> list[str]:
    """What is no longer as the plan saw it, `a was edited`, one for each such name; [] when all of it holds."""
    return [f"{change.name} {what}" for change in saved.changes if (what := _moved(change, now.get(change.name)))]


def _moved(change: SavedChange, held: Held | None) -> str | None:
    if change.verb == "create":
        return f"exists now, in source '{held.source}'" if held else None
    if held is None:
        return "was deleted"
    if held.source != change.before_source:
        return f"now belongs to source '{held.source}'"
    if held.digest != change.before_digest:
        return "was edited"
    return f"was moved to {held.path}" if held.path != change.before_path else None


def is_done(saved: SavedPlan, now: Mapping[str, Held]) -> bool:
    """Whether everything is as it would be after the plan: it was applied before, and nothing moved since."""
    return all(_is_done(change, now.get(change.name), saved.source) for change in saved.changes)


def _is_done(change: SavedChange, held: Held | None, source: str) -> bool:
    if held is None or change.verb == "delete":
        return held is None and change.verb == "delete"
    return (held.source, held.digest, held.path) == (source, change.after_digest, change.path)


def moved_text(saved: SavedPlan, found: Sequence[str]) -> str:
    """The line that refuses a plan which no longer holds."""
    listed = ", ".join(found[:MOST_SHOWN]) + (f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else "")
    when = f"since this plan was made, {saved.made_at:%Y-%m-%d %H:%M} UTC"
    return f"saved plan refused: {when}, {listed}; make another: reconciler plan --out FILE"


def options_for(saved: SavedPlan) -> Options:
    """Guards as they were when it was made. What it deletes was within the budget then; `protect` is asked again."""
    deletions = sum(change.verb == "delete" for change in saved.changes)
    return Options(
        source=saved.source,
        prune=True,
        max_prune=str(deletions),
        adopt=saved.options.adopt,
        allow_empty=True,
        allow_rewind=saved.options.allow_rewind,
        reason=saved.options.reason,
    )


def differing(saved: SavedPlan, plan: Plan) -> Iterator[str]:
    """Names for which a plan made now is another than the saved one."""
    said = {change.name: (change.verb, change.path, change.after_digest) for change in saved.changes}
    now = {change.name: (change.verb, change.path, change.after_digest) for change in plan.changes}
    yield from sorted(name for name in said.keys() | now.keys() if said.get(name) != now.get(name))
