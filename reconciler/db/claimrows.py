"""What goes into the statements about claims and comes out of them: values, and how they are written as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from reconciler.db.columns import Documents, Flags, Instants, Numbers, Texts, Tokens, said
from reconciler.occurrences import Skip


class Move(NamedTuple):
    """A name's cursor, from where the runner saw it to where it decided; with the digest it decided by.

    `is_remembered`: it knows the cursor because it set it last, and has not asked since. Then `revision` has to be
    that of the config, and no pause, ended or not, may reach beyond `seen`.
    """

    name: str
    digest: str
    seen: datetime
    through: datetime
    revision: str | None = None
    is_remembered: bool = False


class Wanted(NamedTuple):
    """An occurrence that a runner wants to own, or to see `waits` where it is not to start at once.

    `is_backlog`: one of several of its name that are made up for together.
    """

    name: str
    scheduled_for: datetime
    task: str
    token: UUID
    queue: str
    priority: int
    trigger: str
    exclusive: bool
    turn: int = 0
    start_by: datetime | None = None
    overlap: str = "skip"
    waits: bool = False
    is_backlog: bool = False


class Claim(NamedTuple):
    """An occurrence that is owned: `attempts` is what earlier tries said, `params` what a trigger adds to the spec."""

    name: str
    scheduled_for: datetime
    task: str
    token: UUID
    queue: str
    priority: int
    attempts: list[dict[str, Any]]
    params: dict[str, Any] | None
    trigger: str
    replays: datetime | None
    digest: str
    exclusive: bool
    started_at: datetime | None
    revision: str | None
    cancel_requested: str | None = None
    follow: bool = False


class Returned(NamedTuple):
    """A claim to give back unowned: not to start before `not_before`, with what its attempts said so far."""

    name: str
    scheduled_for: datetime
    token: UUID
    not_before: datetime
    attempts: list[dict[str, Any]]


# The fields of a `Claim`, in their order, of `task_claims c`. The revision is that of the spec it was decided by, which
# may have been edited or pruned since, and may have come back: then the one before its instant counts.
_REVISION = """(
    select r.revision from task_revisions r where r.name = c.name and r.digest = c.digest
    order by r.applied_at > c.scheduled_for, r.applied_at desc, r.id desc limit 1) as revision"""
COLUMNS = ", ".join(_REVISION if field == "revision" else f"c.{field}" for field in Claim._fields)


def move_columns(moves: Sequence[Move]) -> dict[str, Any]:
    """What `decision` calls names to remembered."""
    names, digests, seen, through, revisions, remembered = _columns(moves, 6)
    return {
        "names": Texts(names),
        "digests": Texts(digests),
        "seen": Instants(seen),
        "through": Instants(through),
        "revisions": Texts(revisions),
        "remembered": Flags(remembered),
    }


def fire_columns(fires: Sequence[Wanted], digests: Mapping[str, str]) -> dict[str, Any]:
    """What `decision` calls fire_names to backlogs; `digests` by name."""
    names, instants, tasks, tokens, queues, priorities, triggers, exclusive, *rest = _columns(fires, 13)
    turns, start_bys, overlaps, waits, backlogs = rest
    return {
        "fire_names": Texts(names),
        "fire_instants": Instants(instants),
        "tasks": Texts(tasks),
        "tokens": Tokens(tokens),
        "queues": Texts(queues),
        "priorities": Numbers(priorities),
        "triggers": Texts(triggers),
        "exclusive": Flags(exclusive),
        "turns": Numbers(turns),
        "start_bys": Instants(said(start_bys)),
        "fire_digests": Texts([digests[name] for name in names]),
        "overlaps": Texts(overlaps),
        "waits": Flags(waits),
        "backlogs": Flags(backlogs),
    }


def skip_columns(skips: Sequence[Skip]) -> dict[str, Any]:
    """What `decision` calls skip_names to details."""
    return {
        "skip_names": Texts([skip.name for skip in skips]),
        "firsts": Instants([skip.first for skip in skips]),
        "lasts": Instants([skip.last for skip in skips]),
        "counts": Numbers([skip.count for skip in skips]),
        "reasons": Texts([skip.reason for skip in skips]),
        "details": Texts([skip.detail for skip in skips]),
    }


def return_columns(claims: Sequence[Returned]) -> dict[str, Any]:
    """What `finishing` calls names to attempts."""
    names, instants, tokens, not_before, attempts = _columns(claims, 5)
    return {
        "names": Texts(names),
        "instants": Instants(instants),
        "tokens": Tokens(tokens),
        "not_before": Instants(not_before),
        "attempts": Documents([Jsonb(tries) for tries in attempts]),
    }


def record_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `finishing` calls names to revisions; what hardly any run says is sent only where one does."""

    def each(column: str) -> list[Any]:
        return [record.get(column) for record in records]

    return {
        "names": Texts(each("name")),
        "instants": Instants(each("scheduled_for")),
        "tokens": Tokens(each("token")),
        "tasks": Texts(each("task")),
        "started_at": Instants(each("started_at")),
        "finished_at": Instants(each("finished_at")),
        "is_success": Flags(each("is_success")),
        "errors": Texts(said(each("error"))),
        "tracebacks": Texts(said(each("traceback"))),
        "results": Documents(said(map(_document, each("result")))),
        "logs": Texts(said(each("log"))),
        "attempts": Documents(said(_document(tries or None) for tries in each("attempts"))),
        "runners": Texts(each("runner")),
        "revisions": Texts(each("revision")),
    }


def _document(value: Any) -> Jsonb | None:
    return None if value is None else Jsonb(value)


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width
