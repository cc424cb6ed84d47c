"""What became of one instant, in a sentence with its rows. One rule for a single instant and for a stretch of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from reconciler.durations import format_duration, span
from reconciler.ledger import skipping
from reconciler.ledger.book import Book, Point, names, schedule_of
from reconciler.ledger.clocks import clock_words
from reconciler.ledger.evidence import Claimed, Evidence, Revision, Row, Run, Skipped
from reconciler.ledger.lateness import Reason, guess, reason
from reconciler.ledger.running import ran, runs, waits
from reconciler.ledger.undue import not_due, nothing_ahead
from reconciler.ledger.words import Words, change
from reconciler.occurrences import wake_at

Kind = Literal[
    "ran", "failed", "running", "waiting", "skipped", "missed", "paused", "not due", "expired", "due", "planned"
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The `count` instants from `first` to `last` (None: too many to count), or the one, and what became of them.

    `is_scheduled`: the spec in force named them; others were asked for by a person or by other tasks.
    """

    kind: Kind
    first: datetime
    last: datetime
    count: int | None
    sentence: str
    is_scheduled: bool = True
    trigger: str | None = None
    rows: tuple[Row, ...] = field(default=())


def verdict(evidence: Evidence | Book, instant: datetime) -> Verdict:
    """The verdict on one instant, named by a spec or not."""
    book = evidence if isinstance(evidence, Book) else Book(evidence)
    point = book.points.get(instant)
    if point is not None:
        return of_point(book, instant, point)
    revision = book.in_force(instant)
    if revision is None or not names(revision, instant) or schedule_of(revision) is None:
        sentence, rows = not_due(book, instant, _words(book, instant))
        return Verdict("not due", instant, instant, 0, sentence, is_scheduled=False, rows=rows)
    return of_stretch(book, revision, instant, instant, 1)


def coming(book: Book) -> Verdict:
    """The verdict on the next instant; where there is none, why not, on the moment now."""
    if book.next_due is not None:
        return verdict(book, book.next_due)
    sentence, rows = nothing_ahead(book, _words(book, book.now))
    return Verdict("not due", book.now, book.now, 0, sentence, is_scheduled=False, rows=rows)


def of_point(book: Book, instant: datetime, point: Point) -> Verdict:
    """The verdict that one row of its own gives an instant."""
    words, is_named = _words(book, instant), book.is_named(instant)
    kind: Kind
    if isinstance(point, Run):
        kind, (sentence, rows) = "ran" if point.is_success else "failed", ran(book, point, words)
        return Verdict(kind, instant, instant, 1, sentence, is_named, point.trigger, rows)
    if isinstance(point, Claimed):
        kind = "running" if point.started_at else "waiting"
        sentence, rows = (runs if point.started_at else waits)(book, point, words)
        return Verdict(kind, instant, instant, 1, sentence, is_named, point.trigger, rows)
    return of_skip(book, point, instant, instant, 1, is_scheduled=is_named)


def of_skip(
    book: Book, skip: Skipped, first: datetime, last: datetime, count: int | None, *, is_scheduled: bool = True
) -> Verdict:
    """The verdict on (part of) a row that says what was decided against."""
    kind: Kind = "skipped"
    if skip.reason == "missed":
        kind = "missed"
    elif skip.reason == "paused":
        kind = "paused"
    sentence, rows = skipping.skipped(book, skip, first, _words(book, first))
    return Verdict(kind, first, last, count, sentence, is_scheduled, rows=rows)


def of_stretch(book: Book, revision: Revision, first: datetime, last: datetime, count: int | None) -> Verdict:
    """The verdict on instants that `revision` names, none of which has a row of its own, and to which one rule applies.

    Callers cut stretches where the answer may change (`reconciler.ledger.listing`).
    """
    skip = book.covering(last)
    if skip is not None:
        return of_skip(book, skip, first, last, count)
    words, through = _words(book, first), book.evidence.through
    if through is not None and last <= through:
        return _without_a_row(book, revision, first, last, count, words)
    return _undecided(book, revision, first, last, count, words)


def _without_a_row(
    book: Book, revision: Revision, first: datetime, last: datetime, count: int | None, words: Words
) -> Verdict:
    """Decided, and nothing is left that says how."""
    if last < book.expired_before:
        text = f"{_expired(book, last)}, so nothing says what became of it"
        return Verdict("expired", first, last, count, text, rows=(revision,))
    left = _left_undecided(book, revision, last, words)
    if left is not None:
        return Verdict("skipped", first, last, count, left, rows=(revision,))
    text = "did not run: it was passed over, and nothing recorded says why"
    return Verdict("missed", first, last, count, text, rows=(revision,))


def _expired(book: Book, instant: datetime) -> str:
    history = book.current.spec.history if book.current and book.current.spec else None
    if instant >= book.aged_before:
        most = history.keep_last if history else None
        newest = "the newest run" if most == 1 else f"the newest {most:,} runs" if most else "the newest runs"
        return f"came before {newest}, and no others are kept"
    keep = history.keep if history else book.evidence.keep
    return f"is older than the history that is kept ({format_duration(keep)})"


def _undecided(
    book: Book, revision: Revision, first: datetime, last: datetime, count: int | None, words: Words
) -> Verdict:
    if revision.ended_at is not None:
        left = _left_undecided(book, revision, last, words)
        if left is not None:
            return Verdict("skipped", first, last, count, left, rows=(revision,))
    pause = book.pause_at(last)
    if pause is not None:
        tense = "will not run" if first > book.now else "did not run"
        return Verdict("paused", first, last, count, f"{tense}: {skipping.pause_words(pause, words)}", rows=(pause,))
    # What an edit left undecided is decided by the spec of now, with its jitter.
    by = book.current or revision
    wake = wake_at(by.spec, first) if by.spec else first
    if first > book.now or wake > book.now:
        put_off = f", starting {span(wake - first)} later by its jitter" if wake > first else ""
        text = f"is due in {span(first - book.now)}" if first > book.now else "is due"
        clocks = clock_words(by.spec, first) if by.spec and first == last else ""
        return Verdict("planned", first, last, count, f"{text}{put_off}{clocks}", rows=(revision,))
    why = _held(book, words) or reason(book, wake, book.now, words) or guess(book, wake, book.now)
    because = why.text if why else "a runner may do so at any moment"
    text = f"was due {span(book.now - wake)} ago and is not decided yet: {because}"
    return Verdict("due", first, last, count, text, rows=(revision, *(why.rows if why else ())))


def _held(book: Book, words: Words) -> Reason | None:
    """The pause that holds the name by now, and with it what came due before it and was not decided."""
    pause = book.pause_at(book.now)
    return Reason(f"it is {skipping.pause_words(pause, words)}, and decided after that", (pause,)) if pause else None


def _left_undecided(book: Book, revision: Revision, instant: datetime, words: Words) -> str | None:
    """What kept an instant from ever being decided: its spec was replaced first; None where that was not it."""
    if revision.ended_at is None:
        return None
    row = book.last_row_until(revision.ended_at)
    if row is not None and row > instant:
        return None
    following = book.following(revision)
    if revision.is_removed or following is None:
        by = change(revision.removal, words, revision.ended_at) if revision.removal else "a later apply"
        return f"did not run: before it was decided, {by} removed the spec"
    by = change(following, words, following.applied_at)
    if following.spec is not None and revision.spec is not None and following.spec.suspend:
        return f"did not run: before it was decided, {by} suspended it"
    is_moved = following.spec is None or schedule_of(following) != schedule_of(revision)
    return f"did not run: before it was decided, {by} changed the schedule" if is_moved else None


def _words(book: Book, near: datetime) -> Words:
    return Words(book.evidence.zone, near)
