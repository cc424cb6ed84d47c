"""What is said of an occurrence that ran, runs, or waits to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from reconciler.durations import span
from reconciler.ledger.book import Book
from reconciler.ledger.evidence import Claimed, Row, Run
from reconciler.ledger.lateness import Reason, guess, held_up
from reconciler.ledger.skipping import skipped
from reconciler.ledger.words import Words, error, ordinal
from reconciler.occurrences import wake_at

# Below this nobody asks why.
ON_TIME = timedelta(seconds=1)
SCHEDULED = frozenset({"schedule", "catch_up"})
Said = tuple[str, tuple[Row, ...]]


def ran(book: Book, run: Run, words: Words) -> Said:
    """`ran 12 s late: the runner was down from … to …; it succeeded in 3 s on alpha:41`, with the rows it rests on."""
    start, rows = _start(book, run, run.attempts, _first_start(run), words)
    took = span(run.finished_at - run.started_at)
    where = f" on {run.runner}" if run.runner else ""
    end = f"it succeeded in {took}{where}" if run.is_success else f"it failed after {took}{where}: {error(run.error)}"
    if run.attempts:
        end += f"; that was its {ordinal(len(run.attempts) + 1)} attempt: {_attempts(run.attempts, words)}"
    replayed, again = _replays(book, run.scheduled_for, words)
    at_first, skips = _at_first(book, run, words)
    return f"{start}; {end}{at_first}{replayed}", (run, *rows, *skips, *again)


def runs(book: Book, claim: Claimed, words: Words) -> Said:
    """`is running since 03:00:01 on alpha:41, 40 % done ('loading')`."""
    assert claim.started_at is not None
    start, rows = _start(book, claim, claim.attempts, _first(claim.attempts) or claim.started_at, words)
    start = start.removesuffix(" and ran")
    where = f" on {claim.runner}" if claim.runner else ""
    text = f"{start}; it is running since {words.at(claim.started_at)}{where}{_progress(claim.progress)}"
    if claim.attempts:
        text += f"; this is its {ordinal(len(claim.attempts) + 1)} attempt: {_attempts(claim.attempts, words)}"
    if claim.cancel_requested:
        text += f"; it has been asked to end: {claim.cancel_requested}"
    return text, (claim, *rows)


def waits(book: Book, claim: Claimed, words: Words) -> Said:
    """`waits for its 2nd attempt, at 03:05:00 or later: attempt 1 failed …`, or for what else it waits."""
    why, rows = _waits_for(book, claim, words)
    text = f"{_origin(book, claim, words)}waits {why}"
    if claim.start_by and not claim.attempts:
        text += f"; it starts by {words.at(claim.start_by)} or not at all"
    return text, (claim, *rows)


def _waits_for(book: Book, claim: Claimed, words: Words) -> Said:
    if claim.cancel_requested:
        return f"to be ended: {claim.cancel_requested}", ()
    if claim.attempts:
        when = f" at {words.at(claim.not_before)} or later" if claim.not_before > book.now else ""
        return f"for its {ordinal(len(claim.attempts) + 1)} attempt{when}: {_attempts(claim.attempts, words)}", ()
    if claim.exclusive:
        for other in book.evidence.claims:
            if other.exclusive and other is not claim and (other.started_at or other.attempts):
                since = f", running since {words.at(other.started_at)}" if other.started_at else ", to be tried again"
                return f"for the run of {words.instant(other.scheduled_for)}{since}", (other,)
    if not any(one.until is None for one in book.evidence.presences):
        return f"for a runner: none is there that has its task and serves queue '{claim.queue}'", ()
    return f"for a free slot in queue '{claim.queue}'", ()


def _start(book: Book, one: Run | Claimed, attempts: Sequence[dict[str, Any]], started: datetime, words: Words) -> Said:
    """`ran on time`, `ran 12 s late: …`, `triggered by ada at 12:00:01.123`."""
    origin = _origin(book, one, words)
    if one.trigger not in SCHEDULED:
        if one.trigger != "manual":
            return f"{origin}ran", ()
        waited = started - one.scheduled_for
        why = _late(book, one.scheduled_for, started, words) if waited >= ON_TIME else None
        late = f" {span(waited)} later" if waited >= ON_TIME else ""
        return f"{origin}ran{late}{_because(why)}", why.rows if why else ()
    due = _due(book, one.scheduled_for)
    late_by = started - due
    put_off = f", with {span(due - one.scheduled_for)} of jitter" if due > one.scheduled_for else ""
    if late_by < ON_TIME:
        return f"ran on time{put_off}", ()
    why = _late(book, due, started, words)
    caught = ", to make up for it" if one.trigger == "catch_up" else ""
    return f"ran {span(late_by)} late{put_off}{caught}{_because(why)}", why.rows if why else ()


def _late(book: Book, due: datetime, started: datetime, words: Words) -> Reason | None:
    return held_up(book, due, started, words) or guess(book, due, started)


def _because(why: Reason | None) -> str:
    return f": {why.text}" if why else ""


def _due(book: Book, instant: datetime) -> datetime:
    revision = book.in_force(instant)
    return wake_at(revision.spec, instant) if revision and revision.spec else instant


def _origin(book: Book, one: Run | Claimed, words: Words) -> str:
    """Whose wish it was, where the schedule did not name it."""
    by = f" by {one.actor}" if one.actor else ""
    if one.trigger == "manual":
        return f"was asked for by hand{by} and "
    if one.trigger == "rerun" and one.replays:
        return f"is a rerun of {words.instant(one.replays)}, asked for{by}, and "
    if one.trigger == "backfill":
        return f"was filled in by hand{by} and "
    if one.trigger == "after":
        revision = book.in_force(one.scheduled_for)
        names = ", ".join(revision.spec.after) if revision and revision.spec and revision.spec.after else "others"
        return f"followed the success of {names} and "
    return ""


def _replays(book: Book, instant: datetime, words: Words) -> Said:
    again = book.replays.get(instant, [])
    if not again:
        return "", ()
    said = []
    for one in again:
        state = ("succeeded" if one.is_success else "failed") if isinstance(one, Run) else "not over yet"
        said.append(f"{words.instant(one.scheduled_for)} ({state})")
    return f"; run again at {', '.join(said)}", tuple(again)


def _at_first(book: Book, run: Run, words: Words) -> Said:
    """Of what was filled in: why it did not run when it was due."""
    skip = book.passed_over(run.scheduled_for) if run.trigger == "backfill" else None
    if skip is None:
        return "", ()
    text, rows = skipped(book, skip, run.scheduled_for, words)
    return f"; when it was due it {text}", rows


def _attempts(attempts: Sequence[dict[str, Any]], words: Words) -> str:
    return "; ".join(_attempt(number, one, words) for number, one in enumerate(attempts, 1))


def _attempt(number: int, one: dict[str, Any], words: Words) -> str:
    when, where = one.get("finished_at"), one.get("runner")
    said = f"attempt {one.get('attempt', number)} failed"
    said += f" at {words.at(datetime.fromisoformat(when))}" if when else ""
    said += f" on {where}" if where else ""
    return f"{said}: {error(one.get('error'))}"


def _progress(progress: dict[str, Any] | None) -> str:
    if not progress or progress.get("fraction") is None:
        return ""
    text = f" ('{progress['text']}')" if progress.get("text") else ""
    return f", {progress['fraction']:.0%} done{text}".replace("%", " %")


def _first_start(run: Run) -> datetime:
    return _first(run.attempts) or run.started_at


def _first(attempts: Sequence[dict[str, Any]]) -> datetime | None:
    text = attempts[0].get("started_at") if attempts else None
    return datetime.fromisoformat(text) if text else None
