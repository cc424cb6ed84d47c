"""What is said of an instant that was decided against."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from reconciler.durations import span
from reconciler.ledger.book import Book
from reconciler.ledger.evidence import Override, Row, Run, Skipped
from reconciler.ledger.lateness import guess, reason
from reconciler.ledger.words import Words, change
from reconciler.occurrences import start_by

NAMED_RUN: Final = re.compile(r"the run of (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)")
CHANGES: Final = {
    "edited": "changed the spec",
    "adopted": "took it over for another source",
    "removed": "removed the spec",
}
Said = tuple[str, tuple[Row, ...]]


def skipped(book: Book, skip: Skipped, instant: datetime, words: Words) -> Said:
    """`did not run: …`, by the reason that was recorded, and the rows that tell more of it."""
    if skip.reason == "paused":
        return _paused(book, skip, instant, words)
    if skip.reason == "missed":
        return _missed(book, skip, instant, words)
    if skip.reason in CHANGES:
        return _changed(book, skip, words)
    if skip.reason == "overlap":
        return _overlapped(book, skip, words)
    if skip.reason == "cancelled":
        return f"did not run: {skip.detail or 'cancelled'}", (skip,)
    if skip.reason == "deadline":
        return _too_late(book, skip, instant, words)
    return f"did not run: {': '.join(filter(None, (skip.reason, skip.detail)))}", (skip,)


def named_run(detail: str | None) -> datetime | None:
    """The instant of the run that a skip names in its detail."""
    found = NAMED_RUN.search(detail or "")
    return datetime.fromisoformat(found[1]) if found else None


def pause_words(pause: Override, words: Words) -> str:
    """`paused by ada from 01:50 to 04:00, 'db maintenance'`."""
    which = f" everything labelled {_labels(pause.selector)}" if pause.selector else ""
    why = f", '{pause.reason}'" if pause.reason else ""
    until = words.between(pause.since, pause.until)
    return f"paused{f' with{which}' if which else ''} by {pause.actor} {until}{why}"


def _labels(selector: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in selector.items())


def _paused(book: Book, skip: Skipped, instant: datetime, words: Words) -> Said:
    pause = book.pause_at(instant)
    if pause is None:
        return f"did not run: {skip.detail or 'paused'}", (skip,)
    return f"did not run: {pause_words(pause, words)}", (skip, pause)


def _missed(book: Book, skip: Skipped, instant: datetime, words: Words) -> Said:
    """Missed is what nobody decided in time: so nobody was there, or whoever was could not."""
    decided = book.decided_by(skip.last)
    why = reason(book, instant, decided, words) or guess(book, instant, decided)
    detail = f" ({skip.detail})" if skip.detail else ""
    cause = f": {why.text}" if why else ""
    return f"did not run: missed{cause}{detail}", (skip, *(why.rows if why else ()))


def _too_late(book: Book, skip: Skipped, instant: datetime, words: Words) -> Said:
    """What the deadline passed over, with what kept it from starting in time, where that is recorded."""
    said = f"did not run: {': '.join(filter(None, (skip.reason, skip.detail)))}"
    revision = book.in_force(instant)
    end = start_by(revision.spec, instant) if revision and revision.spec else None
    why = reason(book, instant, end, words) or guess(book, instant, end) if end else None
    return (f"{said}: {why.text}", (skip, *why.rows)) if why else (said, (skip,))


def _changed(book: Book, skip: Skipped, words: Words) -> Said:
    what = CHANGES[skip.reason]
    revision = book.in_force(skip.last)
    by = None
    if revision is not None and revision.is_removed and skip.reason == "removed" and revision.removal:
        by = change(revision.removal, words, revision.ended_at or skip.last)
    elif revision is not None and skip.reason == "edited" and (following := book.following(revision)):
        by = change(following, words, following.applied_at)
    rows = (skip,) if revision is None else (skip, revision)
    return f"did not run: before it was decided, {by or 'an apply'} {what}", rows


def _overlapped(book: Book, skip: Skipped, words: Words) -> Said:
    detail = skip.detail or "another run was under way"
    instant = named_run(detail)
    named = book.points.get(instant) if instant else None
    if instant:
        detail = NAMED_RUN.sub(f"the run of {words.instant(instant)}", detail)
    if isinstance(named, Run) and not detail.startswith("replaced"):
        when = words.between(named.started_at, named.finished_at)
        took = span(named.finished_at - named.started_at)
        how = f"it ran {when}" if named.started_at > skip.first else f"it took {took}, {when}"
        return f"did not run: overlap: {detail} ({how})", (skip, named)
    rows = (skip, named) if named is not None and not isinstance(named, Skipped) else (skip,)
    return f"did not run: overlap: {detail}", rows
