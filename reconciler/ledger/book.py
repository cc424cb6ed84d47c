"""Evidence in the order in which it is asked: what a spec named when, and which row stands at an instant."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from itertools import accumulate, islice

from reconciler.ledger.evidence import Claimed, Evidence, Override, Revision, Run, Skipped
from reconciler.ledger.gaps import Gap, gaps
from reconciler.occurrences import TICK
from reconciler.schedule import Schedule

Point = Run | Claimed | Skipped

# Ranges do not lie in each other, but single rows may begin inside one.
MOST_BEHIND = 100
LAST = datetime.max.replace(tzinfo=UTC)


class Book:
    """One name's evidence, indexed. Nothing in it changes."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.now = evidence.now
        self._ranges = sorted((skip for skip in evidence.skips if skip.first < skip.last), key=lambda one: one.first)
        self._firsts = [skip.first for skip in self._ranges]

    @cached_property
    def points(self) -> dict[datetime, Point]:
        """The one row of each instant that has a row of its own: a run before a claim before a skip."""
        found: dict[datetime, Point] = dict(self._single_skips)
        found.update((claim.scheduled_for, claim) for claim in self.evidence.claims)
        found.update((run.scheduled_for, run) for run in self.evidence.runs)
        return found

    @cached_property
    def _single_skips(self) -> dict[datetime, Skipped]:
        return {skip.first: skip for skip in self.evidence.skips if skip.first == skip.last}

    @cached_property
    def moments(self) -> list[datetime]:
        """The instants of `points`, in order."""
        return sorted(self.points)

    @property
    def ranges(self) -> list[Skipped]:
        return self._ranges

    @cached_property
    def revisions(self) -> list[Revision]:
        return sorted(self.evidence.revisions, key=lambda one: one.applied_at)

    @property
    def current(self) -> Revision | None:
        """The spec in force now; None where the name has none (any more)."""
        last = self.revisions[-1] if self.revisions else None
        return None if last is None or last.is_removed else last

    def in_force(self, instant: datetime) -> Revision | None:
        """The spec that an instant was decided by, or would have been."""
        at = bisect_left(self.revisions, instant, key=lambda one: one.applied_at) - 1
        if at < 0:
            return None
        found = self.revisions[at]
        return None if found.ended_at is not None and instant > found.ended_at else found

    def following(self, revision: Revision) -> Revision | None:
        """What was applied next, whether or not the name was gone in between."""
        at = bisect_right(self.revisions, revision.applied_at, key=lambda one: one.applied_at)
        return self.revisions[at] if at < len(self.revisions) else None

    def is_named(self, instant: datetime) -> bool:
        """Whether the spec in force named this instant, suspended or not."""
        revision = self.in_force(instant)
        return revision is not None and names(revision, instant)

    def covering(self, instant: datetime) -> Skipped | None:
        """The range of skips that the instant lies in."""
        at = bisect_right(self._firsts, instant)
        for skip in reversed(self._ranges[max(0, at - MOST_BEHIND) : at]):
            if instant <= skip.last:
                return skip
        return None

    def passed_over(self, instant: datetime) -> Skipped | None:
        """The skip of an instant, also where it has run after all."""
        return self._single_skips.get(instant) or self.covering(instant)

    def pause_at(self, instant: datetime) -> Override | None:
        """The pause that covers an instant; of several the one that ends last."""
        found = [pause for pause in self.evidence.pauses if pause.covers(instant)]
        return max(found, key=lambda pause: (pause.until is None, pause.until or pause.since), default=None)

    def last_finished_between(self, after: datetime, until: datetime) -> Run | None:
        """The run that ended last in (after, until]."""
        at = bisect_right(self._finished, until, key=_finished_at) - 1
        return self._finished[at] if at >= 0 and self._finished[at].finished_at > after else None

    @cached_property
    def _finished(self) -> list[Run]:
        return sorted(self.evidence.runs, key=_finished_at)

    def decided_by(self, instant: datetime) -> datetime:
        """When something later of the name started, and so this instant was decided; now where nothing has."""
        instants, starts = self._starts
        at = bisect_right(instants, instant)
        claims = self._claim_starts[bisect_right(self._claim_starts, instant) :]
        return min([*starts[at : at + 1], *claims[:1]], default=self.now)

    @cached_property
    def _starts(self) -> tuple[list[datetime], list[datetime]]:
        """The instants of the runs, in order, and when the first of those from each on started."""
        runs = sorted(self.evidence.runs, key=_scheduled_for, reverse=True)
        # A clock that is behind may say that it started before it was due.
        starts = accumulate((max(run.started_at, run.scheduled_for) for run in runs), min)
        return [run.scheduled_for for run in reversed(runs)], list(starts)[::-1]

    @cached_property
    def _claim_starts(self) -> list[datetime]:
        return sorted(claim.started_at for claim in self.evidence.claims if claim.started_at)

    @cached_property
    def replays(self) -> dict[datetime, list[Run | Claimed]]:
        """Of each instant that was run again, the occurrences that did."""
        found: dict[datetime, list[Run | Claimed]] = {}
        known: tuple[Run | Claimed, ...] = (*self.evidence.runs, *self.evidence.claims)
        for one in known:
            if one.replays:
                found.setdefault(one.replays, []).append(one)
        return found

    @cached_property
    def _gaps(self) -> list[Gap]:
        return list(gaps(self.evidence.presences))

    def gaps_between(self, since: datetime, until: datetime) -> Iterator[Gap]:
        """The gaps between runners that touch [since, until]."""
        at = bisect_left(self._gaps, since, key=lambda gap: gap.until or LAST)
        for gap in self._gaps[at:]:
            if gap.since is not None and gap.since > until:
                return
            yield gap

    def last_row_until(self, moment: datetime) -> datetime | None:
        """The latest instant up to then of which a row is left."""
        at = bisect_right(self.moments, moment)
        found = [self.moments[at - 1]] if at else []
        end = bisect_right(self._firsts, moment)
        found += [min(skip.last, moment) for skip in self._ranges[max(0, end - MOST_BEHIND) : end]]
        return max(found, default=None)

    @cached_property
    def expired_before(self) -> datetime:
        """Rows of instants before this may have gone: too old, or more than are kept."""
        is_counted = any(one.spec and one.spec.history.keep_last for one in self.revisions)
        found = [self.evidence.oldest] if self.evidence.oldest and is_counted else []
        return max([self.aged_before, *found])

    @cached_property
    def aged_before(self) -> datetime:
        """Rows of instants before this may be too old: no longer kept by a spec that was in force, or by none."""
        found = [self.now - self.evidence.keep] if self.current is None else []
        for revision in self.revisions:
            keep = revision.spec.history.keep if revision.spec else self.evidence.keep
            found.append((revision.ended_at or self.now) - keep)
        # Between a removal and a return what is kept is what is kept of a name without a config.
        pairs = zip(self.revisions, self.revisions[1:], strict=False)
        found += [after.applied_at - self.evidence.keep for before, after in pairs if before.is_removed]
        return max(found, default=self.now - self.evidence.keep)

    def before(self, instant: datetime, *, by_hand: bool = True) -> datetime | None:
        """The nearest earlier instant that a spec named or that has a row; `by_hand`: triggers and reruns too."""
        earlier = reversed(self.moments[: bisect_left(self.moments, instant)])
        found = list(islice((at for at in earlier if by_hand or not self._is_wish(at)), 1))
        found += list(self._scheduled_before(instant))[:1]
        return max(found, default=None)

    def after(self, instant: datetime, *, by_hand: bool = True) -> datetime | None:
        """The nearest later one."""
        later = self.moments[bisect_right(self.moments, instant) :]
        found = list(islice((at for at in later if by_hand or not self._is_wish(at)), 1))
        found += list(self._scheduled_after(instant))[:1]
        return min(found, default=None)

    def _is_wish(self, moment: datetime) -> bool:
        """Whether it is a moment at which somebody asked for a run, not an instant that anything named."""
        point = self.points[moment]
        return not isinstance(point, Skipped) and point.trigger in ("manual", "rerun")

    @property
    def last_due(self) -> datetime | None:
        """The newest instant up to now that a spec named and that was not suspended."""
        return next(self._scheduled_before(self.now + TICK), None)

    @property
    def next_due(self) -> datetime | None:
        return next(self._scheduled_after(self.now), None)

    def _scheduled_before(self, instant: datetime) -> Iterator[datetime]:
        for revision in reversed(self.revisions):
            schedule = schedule_of(revision)
            end = min(instant - TICK, revision.ended_at or instant)
            if schedule and end > revision.applied_at:
                found = schedule.last_until(end, revision.applied_at)
                if found:
                    yield found

    def _scheduled_after(self, instant: datetime) -> Iterator[datetime]:
        for revision in self.revisions:
            schedule = schedule_of(revision)
            if schedule and (revision.ended_at is None or revision.ended_at > instant):
                found = schedule.next_after(max(instant, revision.applied_at))
                if found and (revision.ended_at is None or found <= revision.ended_at):
                    yield found


def _finished_at(run: Run) -> datetime:
    return run.finished_at


def _scheduled_for(run: Run) -> datetime:
    return run.scheduled_for


def schedule_of(revision: Revision) -> Schedule | None:
    """What a spec names instants by; None where it is suspended, or has no schedule."""
    return revision.spec.when() if revision.spec and revision.spec.is_scheduled else None


def names(revision: Revision, instant: datetime) -> bool:
    """Whether the schedule of this spec names the instant, suspended or not."""
    schedule = revision.spec.when() if revision.spec else None
    return schedule is not None and schedule.last_until(instant, instant - TICK) == instant
