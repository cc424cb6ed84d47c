"""What is written about an attempt: one row where it is news, and where the source stands after it.

Told once: the same revision with the same error is not written again at each pass, nor is a success that changes
nothing; of those only the time of the last attempt moves, and that at most once a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from reconciler.db import sources, syncs
from reconciler.db.link import Statements
from reconciler.db.sources import Source, Tried
from reconciler.db.syncs import Sync
from reconciler.plan import VERBS, Plan
from reconciler.plan.text import as_json
from reconciler.sync.request import Request

LONGEST_ERROR: Final = 8192
TOUCHED_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at `now`, and the row of its source as it was found."""

    request: Request
    source: Source | None
    now: datetime

    @property
    def label(self) -> str | None:
        return self.request.revision.label

    @property
    def place(self) -> str:
        return self.request.origin.place if self.request.origin else ""

    @property
    def name(self) -> str:
        return self.request.options.source

    def tried(self, error: str | None) -> Tried:
        return Tried(self.name, self.place, self.label, self.now, error)


async def record(
    tx: Statements,
    attempt: Attempt,
    plan: Plan | None,
    error: str | None,
    *,
    reason: str | None = None,
) -> int | None:
    """The id of the row about this attempt; None where nothing changed and all of it was said before.

    The source has reached the revision where there is no error, or where part of the plan is in force by now.
    """
    error = storable(error)
    has_changes = plan is not None and plan.has_changes
    reaches = has_changes or error is None
    if not has_changes and _was_said(attempt, error, reaches):
        await _touch(tx, attempt, error)
        return None
    sync_id = None
    if has_changes or await _is_news(tx, attempt, error):
        sync_id = await syncs.record(tx, _row(attempt, plan, error, reason))
    if reaches and (sync_id is not None or not _is_at(attempt)):
        commit = attempt.request.revision.commit
        await sources.applied(tx, attempt.tried(error), revision=commit, sync_id=sync_id)
    else:
        await sources.tried(tx, attempt.tried(error))
    return sync_id


async def record_idle(tx: Statements, attempt: Attempt) -> None:
    """An attempt that found the source pinned: it was made, and brought nothing into force."""
    if _was_said(attempt, None, reaches=False):
        await _touch(tx, attempt, None)
    else:
        await sources.tried(tx, attempt.tried(None))


def storable(text: str | None) -> str | None:
    """As PostgreSQL can hold it: a file's name, and so a fault, may be made of any bytes."""
    return text and text[:LONGEST_ERROR].encode(errors="replace").decode().replace("\0", "\ufffd")


def _was_said(attempt: Attempt, error: str | None, reaches: bool) -> bool:
    source = attempt.source
    return (
        source is not None
        and source.tried_at is not None
        and (source.tried_revision, source.error) == (attempt.label, error)
        and attempt.place in ("", source.place)
        and (not reaches or _is_at(attempt))
    )


def _is_at(attempt: Attempt) -> bool:
    source = attempt.source
    return source is not None and source.applied_at is not None and source.revision == attempt.request.revision.commit


async def _touch(tx: Statements, attempt: Attempt, error: str | None) -> None:
    source = attempt.source
    if source is None or source.tried_at is None or attempt.now - source.tried_at >= TOUCHED_EVERY:
        await sources.tried(tx, attempt.tried(error))


async def _is_news(tx: Statements, attempt: Attempt, error: str | None) -> bool:
    """Whether a row would say what none has said since the last success.

    Two services that stand at two revisions would otherwise add two rows at each of their passes.
    """
    since = attempt.source.sync_id if attempt.source else None
    if since is None:
        since = 0
    said = await syncs.since(tx, attempt.name, since, attempt.label)
    if error is not None:
        return (attempt.label, error) not in [(sync.revision, sync.error) for sync in said]
    own = [sync for sync in said if sync.revision == attempt.label]
    # Files that are edited and put back, at the same commit and without any change of a spec, are no news.
    return not own[-1].is_success if own else not _is_at(attempt)


def _row(attempt: Attempt, plan: Plan | None, error: str | None, reason: str | None) -> Sync:
    counts = plan.counts() if plan else dict.fromkeys(VERBS, 0)
    revision = attempt.request.revision
    return Sync(
        source=attempt.name,
        revision=revision.label,
        author=storable(revision.author),
        subject=storable(revision.subject),
        created=counts["create"],
        updated=counts["update"],
        deleted=counts["delete"],
        adopted=counts["adopt"],
        plan=as_json(plan) if plan else None,
        is_success=error is None,
        error=error,
        actor=attempt.request.actor,
        started_at=attempt.now,
        finished_at=attempt.now,
        reason=storable(reason),
    )
