"""Why did it not start when it was due? From who was there, what was cut off, and what else ran."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.durations import span
from reconciler.ledger.book import Book
from reconciler.ledger.evidence import Outage, Override, Row, Run
from reconciler.ledger.words import Words

# What is shorter explains nothing: beats, and so the last sign of a runner, are about so far apart.
SHORTEST = timedelta(seconds=1)
WORTH_A_GUESS = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Reason:
    """Half a sentence, and the rows that it rests on."""

    text: str
    rows: tuple[Row, ...] = ()


def reason(book: Book, due: datetime, until: datetime, words: Words) -> Reason | None:
    """What kept an instant that was due at `due` from starting before `until`; None where nothing recorded does."""
    return _paused(book, due, until, words) or _absent(book, due, until, words) or _cut_off(book, due, until, words)


def held_up(book: Book, due: datetime, started: datetime, words: Words) -> Reason | None:
    """The same, with runs of the name itself that were under way: another one may have had to end first."""
    return reason(book, due, started, words) or _behind(book, due, started, words)


def guess(book: Book, due: datetime, until: datetime) -> Reason | None:
    """What is most likely where nothing recorded explains it: whoever was there then had no free slot."""
    there = (one for one in book.evidence.presences if one.since <= until and (one.until is None or one.until >= due))
    if until - due < WORTH_A_GUESS or not any(there):
        return None
    return Reason("runners were there, so most likely none had a free slot")


def _paused(book: Book, due: datetime, until: datetime, words: Words) -> Reason | None:
    pause: Override | None = book.pause_at(due)
    if pause is None or pause.until is None or pause.until > until:
        return None
    return Reason(f"it was paused by {pause.actor} {words.between(pause.since, pause.until)}", (pause,))


def _absent(book: Book, due: datetime, until: datetime, words: Words) -> Reason | None:
    """The longest stretch of [due, until] with no runner there."""
    if due < book.now - book.evidence.keep:
        return None  # the runners of that time are forgotten
    found = [gap for gap in book.gaps_between(due, until) if gap.within(due, until) >= SHORTEST]
    if not found:
        return None
    gap = max(found, key=lambda one: one.within(due, until))
    before, after = gap.before, gap.after
    if before is None or gap.since is None:
        when = f" until {words.at(after.since)}" if after else ""
        return Reason(f"no runner that could run it was there{when}", (after,) if after else ())
    how = "the runner was down" if before.ending != "died" else "the runner had died, and none was there"
    if after is None:
        return Reason(f"{how} since {words.at(gap.since)}", (before,))
    return Reason(f"{how} {words.between(gap.since, after.since)}", (before, after))


def _cut_off(book: Book, due: datetime, until: datetime, words: Words) -> Reason | None:
    found = [one for one in book.evidence.outages if one.began_at < until and one.ended_at > due]
    if not found:
        return None
    longest: Outage = max(found, key=lambda one: min(one.ended_at, until) - max(one.began_at, due))
    if min(longest.ended_at, until) - max(longest.began_at, due) < SHORTEST:
        return None
    when = words.between(longest.began_at, longest.ended_at)
    return Reason(f"{longest.runner} was cut off {when} ({longest.what})", (longest,))


def _behind(book: Book, due: datetime, started: datetime, words: Words) -> Reason | None:
    """The run of the same name that ended last before this one started, if it was under way when this was due."""
    blocking: Run | None = book.last_finished_between(due, started)
    if blocking is None or blocking.finished_at - due < SHORTEST:
        return None
    took = span(blocking.finished_at - blocking.started_at)
    return Reason(f"it waited for the run of {words.instant(blocking.scheduled_for)}, which took {took}", (blocking,))
