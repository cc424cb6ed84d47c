"""Every verdict of a stretch of time: complete, none twice, ranges as ranges.

What it costs goes by the rows there are and by the cuts they make, not by how many instants a schedule names.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from reconciler.ledger.book import Book, schedule_of
from reconciler.ledger.evidence import Evidence, Revision
from reconciler.ledger.verdict import Verdict, of_point, of_skip, of_stretch
from reconciler.occurrences import TICK


def ledger(evidence: Evidence | Book, since: datetime, until: datetime) -> list[Verdict]:
    """The verdicts on (since, until], oldest first.

    Each instant that a spec in force then named is in exactly one; so is each occurrence that none named.
    """
    book = evidence if isinstance(evidence, Book) else Book(evidence)
    floor = max(since, book.evidence.floor) if book.evidence.floor else since
    found = list(_of_rows(book, floor, until))
    for revision in book.revisions:
        start, end = max(floor, revision.applied_at), min(until, revision.ended_at or until)
        if start < end and schedule_of(revision) is not None:
            found += _merged(_of_revision(book, revision, start, end))
    return sorted(found, key=lambda one: (one.first, one.last))


def _of_rows(book: Book, since: datetime, until: datetime) -> Iterator[Verdict]:
    low, high = bisect_right(book.moments, since), bisect_right(book.moments, until)
    for instant in book.moments[low:high]:
        yield of_point(book, instant, book.points[instant])
    # A range that no known spec explains stands for itself; of the others their instants are gone through below.
    for skip in book.ranges:
        if since < skip.first <= until and not _is_explained(book, skip.first, skip.last):
            yield of_skip(book, skip, skip.first, skip.last, skip.count, is_scheduled=False)


def _is_explained(book: Book, first: datetime, last: datetime) -> bool:
    for revision in book.revisions:
        schedule = schedule_of(revision)
        if schedule is not None:
            start = max(first - TICK, revision.applied_at)
            end = min(last, revision.ended_at or last)
            if start < end and schedule.last_until(end, start) is not None:
                return True
    return False


def _of_revision(book: Book, revision: Revision, since: datetime, until: datetime) -> Iterator[Verdict | None]:
    """What the schedule names in (since, until] and no row of its own answers, cut where the answer may change.

    None: here lies an instant that has a row of its own.
    """
    schedule = schedule_of(revision)
    assert schedule is not None
    for after, end in pairwise(_cuts(book, since, until)):
        if end in book.points and end - after == TICK:
            yield None
            continue
        first = schedule.next_after(after)
        if first is None or first > end:
            continue
        last = schedule.last_until(end, after)
        assert last is not None
        count = 1 if first == last else schedule.count(after, end)
        yield of_stretch(book, revision, first, last, count)


def _cuts(book: Book, since: datetime, until: datetime) -> list[datetime]:
    low, high = bisect_right(book.moments, since), bisect_right(book.moments, until)
    cuts = {since, until, book.now, book.aged_before - TICK, book.expired_before - TICK, book.evidence.through or until}
    for moment in book.moments[low:high]:
        cuts.update((moment - TICK, moment))
    for skip in book.ranges:
        cuts.update((skip.first - TICK, skip.last))
    for pause in book.evidence.pauses:
        cuts.add(pause.since - TICK)
        if pause.until:
            cuts.add(pause.until - TICK)
    # The stretches of a spec after the last row it left have an explanation of their own: it was replaced.
    if (last := book.last_row_until(until)) is not None:
        cuts.add(last)
    # One instant more or less has another answer where it is the next to come, or where its jitter has not passed.
    cuts.update(_near_now(book))
    ordered = sorted(cuts)
    return ordered[bisect_left(ordered, since) : bisect_right(ordered, until)]


def _near_now(book: Book) -> Iterator[datetime]:
    current = book.current
    if current is not None and current.spec is not None and current.spec.jitter:
        schedule = schedule_of(current)
        last = schedule.last_until(book.now, book.revisions[0].applied_at) if schedule else None
        if last is not None:
            yield last - TICK


def _merged(found: Iterator[Verdict | None]) -> Iterator[Verdict]:
    """Neighbours that rest on the same rows, in the same words, as one."""
    kept: Verdict | None = None
    for one in found:
        if kept is not None and one is not None and _is_same(kept, one):
            count = None if kept.count is None or one.count is None else kept.count + one.count
            kept = replace(kept, last=one.last, count=count)
            continue
        if kept is not None:
            yield kept
        kept = one
    if kept is not None:
        yield kept


def _is_same(one: Verdict, other: Verdict) -> bool:
    if one.kind == "expired" and one.sentence != other.sentence:
        return False
    return one.kind == other.kind and one.rows[:1] == other.rows[:1] and one.kind not in ("due", "planned")
