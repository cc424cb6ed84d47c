"""Why was nothing due at that instant? The spec named none there: then, not yet, or no longer."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from reconciler.ledger.book import Book, names
from reconciler.ledger.clocks import clock_words
from reconciler.ledger.evidence import Revision, Row
from reconciler.ledger.words import Words, change
from reconciler.occurrences import TICK
from reconciler.schedule.describe import describe
from reconciler.spec import TaskSpec

Said = tuple[str, tuple[Row, ...]]


def not_due(book: Book, instant: datetime, words: Words) -> Said:
    """`was not due: the schedule said 03:00 until commit 1a2b3c4 (Ada: 'later')`, with the revisions that show it."""
    verb = "is not due" if instant > book.now else "was not due"
    why, rows = _why(book, instant, words)
    return f"{verb}: {why}{_around(book, instant, words)}", rows


def nothing_ahead(book: Book, words: Words) -> Said:
    """`has no next instant: the spec is suspended since commit 1a2b3c4 (Ada: 'stop')`."""
    revision = book.current
    spec = revision.spec if revision else None
    if revision is None or spec is None or (schedule := spec.when()) is None:
        why, rows = _why(book, book.now + TICK, words)
    elif spec.suspend:
        why, rows = f"the spec is suspended since {change(revision, words, revision.applied_at)}", (revision,)
    elif schedule.ends_at and schedule.ends_at <= book.now:
        why, rows = f"the schedule ended at {spec.ends_at}", (revision,)
    else:
        why, rows = f"the schedule, {describe(schedule)}, names none any more", (revision,)
    return f"has no next instant: {why}", rows


def _why(book: Book, instant: datetime, words: Words) -> Said:
    revision = book.in_force(instant)
    if revision is None:
        return _without_a_spec(book, instant, words)
    spec = revision.spec
    if spec is None:
        return "the spec of then is of another version and cannot be read", (revision,)
    if spec.suspend and names(revision, instant):
        return f"the spec is suspended since {change(revision, words, revision.applied_at)}", (revision,)
    if (schedule := spec.when()) is None:
        after = f", only after {', '.join(spec.after)}" if spec.after else ", only when it is asked for"
        return f"it has no schedule{after}", (revision,)
    if (out := _left_out(spec, instant)) is not None:
        return out, (revision,)
    by_another = _by_another(book, revision, instant, words)
    return by_another or (f"the schedule is {describe(schedule)}{clock_words(spec, instant)}", (revision,))


def _without_a_spec(book: Book, instant: datetime, words: Words) -> Said:
    earlier = [one for one in book.revisions if one.applied_at < instant]
    later = next((one for one in book.revisions if one.applied_at >= instant), None)
    if earlier:
        last = earlier[-1]
        by = change(last.removal, words, last.ended_at or instant) if last.removal else "an apply"
        back = f"; it came back with {change(later, words, later.applied_at)}" if later else ""
        was, had = ("is", "") if instant > book.now else ("was", "had ")
        return f"there {was} no spec: {by} {had}removed it{back}", (last, *((later,) if later else ()))
    if later is None:
        return "no spec of that name is known", ()
    when = f", at {words.at(later.applied_at)}" if later.commit else ""
    return f"the spec came with {change(later, words, later.applied_at)}{when}", (later,)


def _left_out(spec: TaskSpec, instant: datetime) -> str | None:
    """What keeps an instant away that the expressions alone would name."""
    schedule = spec.when()
    assert schedule is not None
    bare = replace(schedule, starts_at=None, ends_at=None, skip_on=frozenset())
    if bare.last_until(instant, instant - TICK) != instant:
        return None
    if schedule.starts_at and instant < schedule.starts_at:
        return f"the schedule starts at {spec.starts_at}"
    if schedule.ends_at and instant > schedule.ends_at:
        return f"the schedule ended at {spec.ends_at}"
    day = instant.astimezone(ZoneInfo(spec.timezone)).date()
    return f"{day} is among the days in skip_on" if day in schedule.skip_on else None


def _by_another(book: Book, revision: Revision, instant: datetime, words: Words) -> Said | None:
    """The nearest other spec of the name that would have named it: the change in between is the answer."""
    at = book.revisions.index(revision)
    before = next((one for one in reversed(book.revisions[:at]) if names(one, instant)), None)
    if before is not None:
        by = book.following(before) or revision
        said = _expressions(before)
        return f"the schedule said {said} until {change(by, words, by.applied_at)}", (before, by)
    after = next((one for one in book.revisions[at + 1 :] if names(one, instant)), None)
    if after is not None:
        now, then = _expressions(after), _expressions(revision)
        return f"the schedule says {now} only since {change(after, words, after.applied_at)}; it said {then}", (
            revision,
            after,
        )
    return None


def _expressions(revision: Revision) -> str:
    schedule = revision.spec.when() if revision.spec else None
    return f"'{describe(schedule)}'" if schedule else "nothing"


def _around(book: Book, instant: datetime, words: Words) -> str:
    before, after = book.before(instant, by_hand=False), book.after(instant, by_hand=False)
    said = [f"the one before is {words.instant(before)}"] if before else []
    said += [f"the next is {words.instant(after)}"] if after else []
    if not said and (ran := book.before(instant)):
        said.append(f"the run before is {words.instant(ran)}")
    return f"; {', '.join(said)}" if said else ""
