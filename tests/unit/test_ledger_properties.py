"""Whatever happens to a name, each instant that a spec named has one verdict, and none fires that should not.

A world on a pretended clock: the rules are the real ones (what is decided, the overlap rule, what follows a failed
attempt, what an edit leaves behind), and the store is memory that takes and refuses as the statements do: a cursor is
compared and set, an occurrence has one claim or one row. What happens to it is drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from reconciler.attempts import Attempt, after_failure
from reconciler.ledger import Claimed, Evidence, Override, Presence, Revision, Run, Skipped, Verdict, ledger, verdict
from reconciler.occurrences import Decision, Fire, Pause, Skip, decide, turn_of, wake_at
from reconciler.overlap import Held, overlap_verdict
from reconciler.plan import Change
from reconciler.spec import TaskSpec
from reconciler.sync.apply import _undecided as undecided

TICK = timedelta(microseconds=1)
# No more looks of a runner in one step: one that is slower is late, which is fair.
MOST_LOOKS = 60
MOST_COMPARED = 3_000
# The days on which clocks change in Berlin and New York, and a plain one.
DAYS = ("2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-06-10")
SCHEDULES: tuple[list[str], ...] = (
    ["0 * * * *"], ["*/20 * * * *"], ["30 2 * * *"], ["@every 35m"], ["15 1,2,3 * * *", "0 */3 * * *"],
    ["@every 4m"], [],
)  # fmt: skip


@dataclass
class Claim:
    """As the row has it; `ends` is when the run would be over, and whether it would be a success."""

    scheduled_for: datetime
    trigger: str
    spec: TaskSpec
    exclusive: bool
    not_before: datetime
    turn: int
    start_by: datetime | None = None
    owner: str | None = None
    started_at: datetime | None = None
    ends: datetime | None = None
    good: bool = True
    attempts: list[dict[str, Any]] = field(default_factory=list)
    cancel: str | None = None


class World:
    def __init__(self, start: datetime, data: st.DataObject) -> None:
        self.now = start
        self.data = data
        self.spec: TaskSpec | None = None
        self.revisions: list[Revision] = []
        self.cursor: datetime | None = None
        self.claims: dict[datetime, Claim] = {}
        self.runs: dict[datetime, Run] = {}
        self.skips: dict[datetime, Skip] = {}
        self.pauses: list[Override] = []
        self.presences: list[Presence] = []
        self.runner: str | None = None
        self.fired: list[datetime] = []
        self._numbers = count(1)

    # What a person does.

    def apply(self, spec: TaskSpec | None) -> None:
        """Bring a spec into force, or none, as one transaction of a sync does."""
        old, self.spec = self.spec, spec
        if old is None and spec is None:
            return
        verb = "create" if old is None else "delete" if spec is None else "update"
        change = Change(verb, "a", "a.yaml", "edited", moves_cursor=_moves(old, spec))  # type: ignore[arg-type]
        if (change.moves_cursor or verb == "delete") and self.cursor is not None:
            if old is not None:
                self._skip(undecided(old, change, self.cursor, self.now, self._pauses(self.cursor)))
            self.cursor = max(self.cursor, self.now)
        self.cursor = self.cursor or self.now
        if self.revisions and self.revisions[-1].ended_at is None:
            self.revisions[-1] = replace(self.revisions[-1], ended_at=self.now, is_removed=spec is None)
        if spec is not None:
            self.revisions.append(Revision(spec, spec.digest, self.now, commit=f"{next(self._numbers):07x}"))

    def pause(self, length: timedelta | None, selector: dict[str, str] | None) -> None:
        until = self.now + length if length else None
        self.pauses.append(Override(self.now, until, "ada", "maintenance", selector))

    def resume(self) -> None:
        open_ = [one.until is None or one.until > self.now for one in self.pauses]
        self.pauses = [
            replace(one, until=self.now) if is_open else one for one, is_open in zip(self.pauses, open_, strict=True)
        ]

    def trigger(self) -> None:
        if self.spec is not None:
            self.now += timedelta(milliseconds=1) if not self.now.microsecond else timedelta(0)
            at = self.now
            if at not in self.claims and at not in self.runs:
                exclusive = self.spec.overlap != "allow"
                self.claims[at] = Claim(at, "manual", self.spec, exclusive, self.now, turn_of(at))

    def cancel(self) -> None:
        for claim in list(self.claims.values()):
            if claim.owner is None and not claim.attempts:
                self._drop(claim, "cancelled", "cancelled by ada")
            else:
                claim.cancel = "cancelled by ada"

    # What happens to a runner.

    def start(self) -> None:
        if self.runner is None:
            self.runner = f"alpha:{next(self._numbers)}"
            self.presences.append(Presence(self.runner, self.now, None))

    def stop(self, *, dies: bool) -> None:
        """A death is a failed attempt of what it ran; a stop hands that back."""
        if self.runner is None:
            return
        self.presences[-1] = replace(self.presences[-1], until=self.now, ending="died" if dies else "stopped")
        self.runner = None
        for claim in list(self.claims.values()):
            if claim.owner is not None and dies:
                self._fail(claim, self.now, "the runner died")
            elif claim.owner is not None:
                claim.owner, claim.started_at, claim.ends, claim.not_before = None, None, None, self.now

    # Time.

    def advance(self, length: timedelta, *, is_cut_off: bool) -> None:
        end = self.now + length
        looks = 0
        while self.runner is not None and not is_cut_off and looks < MOST_LOOKS:
            self._look()
            following = self._next_event()
            if following is None or following > end:
                break
            self.now, looks = max(following, self.now), looks + 1
        self.now = end
        if self.runner is not None and not is_cut_off:
            self._look()

    def _next_event(self) -> datetime | None:
        found = [claim.ends for claim in self.claims.values() if claim.ends]
        found += [claim.not_before for claim in self.claims.values() if claim.not_before > self.now]
        if self.spec is not None and self.spec.is_scheduled and self.cursor is not None:
            schedule = self.spec.when()
            following = schedule.next_after(max(self.cursor, self.now - timedelta(minutes=1))) if schedule else None
            if following is not None:
                found.append(wake_at(self.spec, following))
        later = [moment for moment in found if moment > self.now]
        return min(later, default=None)

    def _look(self) -> None:
        for claim in list(self.claims.values()):
            if claim.owner is not None and claim.ends is not None and claim.ends <= self.now:
                self._end(claim, claim.ends)
        for _ in range(2):  # two runners saw the same; the second one gets nothing
            self._decide(self.spec, self.cursor)
        self._pick_up()

    # What the statements do.

    def _decide(self, seen_spec: TaskSpec | None, seen: datetime | None) -> None:
        spec = self.spec
        if spec is None or seen_spec is None or seen is None or not spec.is_scheduled:
            return
        if any(pause.covers(self.now) for pause in self._covering()):
            return
        decision: Decision = decide(spec, seen, self.now, self._pauses(seen))
        if self.cursor != seen or decision.is_empty:
            return
        assert decision.through >= seen
        self.cursor = decision.through
        held = [self._held(claim) for claim in self.claims.values() if claim.exclusive]
        known = [one for one in held if one is not None]
        for fire in decision.fires:
            assert fire.scheduled_for > seen, "none fires from before its cursor"
            self._fire(spec, fire, known)
        self._skip(iter(decision.skips))

    def _fire(self, spec: TaskSpec, fire: Fire, held: list[Held]) -> None:
        instant = fire.scheduled_for
        assert instant not in self.fired, "none fires twice"
        assert not any(pause.covers(instant) for pause in self._covering()), "a pause fires nothing that it covers"
        assert instant not in self.claims
        assert instant not in self.runs
        said = overlap_verdict(spec.overlap, instant, held, is_backlog=fire.waits)
        if said.verdict == "skip":
            self._skip(iter([Skip("a", instant, instant, 1, "overlap", said.detail)]))
            return
        self.fired.append(instant)
        claim = Claim(instant, fire.trigger, spec, spec.overlap != "allow", instant, fire.turn, start_by=fire.start_by)
        if said.verdict == "replace":
            for other in list(self.claims.values()):
                if other.exclusive and (other.owner or other.attempts):
                    other.cancel = said.detail
                elif other.exclusive and other.trigger in ("schedule", "catch_up"):
                    self._drop(other, "overlap", said.detail)
        self.claims[instant] = claim
        if said.verdict == "start":
            self._own(claim)

    def _held(self, claim: Claim) -> Held | None:
        if claim.owner is not None:
            return Held(claim.scheduled_for, "owned")
        if claim.attempts:
            return Held(claim.scheduled_for, "back-off")
        return Held(claim.scheduled_for, "waiting") if claim.trigger in ("schedule", "catch_up") else None

    def _pick_up(self) -> None:
        for claim in sorted(self.claims.values(), key=lambda one: one.turn):
            if claim.owner is not None:
                if claim.cancel:
                    self._finish(claim, self.now, claim.cancel)
            elif claim.cancel:
                self._finish(claim, self.now, claim.cancel)
            elif claim.start_by and not claim.attempts and claim.start_by < self.now:
                self._drop(claim, "deadline", "not started in time")
            elif claim.not_before <= self.now and not self._is_held_up(claim):
                self._own(claim)

    def _is_held_up(self, claim: Claim) -> bool:
        others = [one for one in self.claims.values() if one.exclusive and one is not claim]
        return claim.exclusive and any(one.owner or (one.attempts and not claim.attempts) for one in others)

    def _own(self, claim: Claim) -> None:
        draw = self.data.draw
        claim.owner, claim.started_at = self.runner, self.now
        claim.ends = self.now + timedelta(seconds=draw(st.sampled_from([1, 1, 90, 2_000, 9_000])))
        claim.good = draw(st.sampled_from([True, True, False]))
        assert sum(bool(one.owner and one.exclusive) for one in self.claims.values()) <= 1

    def _end(self, claim: Claim, moment: datetime) -> None:
        if claim.good:
            self._finish(claim, moment, None)
        else:
            self._fail(claim, moment, "ValueError: on purpose")

    def _fail(self, claim: Claim, moment: datetime, error: str) -> None:
        assert claim.started_at is not None
        at = Attempt("a", claim.scheduled_for, len(claim.attempts) + 1, claim.trigger, claim.started_at)
        again = None if claim.cancel else after_failure(claim.spec, at, moment, kinds=("builtins.ValueError",))
        if again is None:
            self._finish(claim, moment, claim.cancel or error)
            return
        said = {"attempt": at.number, "started_at": claim.started_at.isoformat(), "error": error, "runner": claim.owner}
        claim.attempts.append({**said, "finished_at": moment.isoformat()})
        claim.owner, claim.started_at, claim.ends, claim.not_before = None, None, None, again

    def _finish(self, claim: Claim, moment: datetime, error: str | None) -> None:
        del self.claims[claim.scheduled_for]
        assert claim.scheduled_for not in self.runs
        self.runs[claim.scheduled_for] = Run(
            claim.scheduled_for,
            claim.started_at or moment,
            max(moment, claim.started_at or moment),
            error is None,
            claim.trigger,
            error,
            tuple(claim.attempts),
            runner=claim.owner,
        )

    def _drop(self, claim: Claim, reason: str, detail: str | None) -> None:
        del self.claims[claim.scheduled_for]
        self._skip(iter([Skip("a", claim.scheduled_for, claim.scheduled_for, 1, reason, detail)]))

    def _skip(self, skips: Iterator[Skip]) -> None:
        for skip in skips:
            self.skips.setdefault(skip.first, skip)

    def _covering(self) -> list[Override]:
        labels = self.spec.labels if self.spec else {}
        return [one for one in self.pauses if (one.selector or {}).items() <= labels.items()]

    def _pauses(self, moment: datetime) -> list[Pause]:
        found = [one for one in self._covering() if one.until is None or one.until > moment]
        return [Pause(one.since, one.until, one.reason, one.actor) for one in found]

    def evidence(self) -> Evidence:
        claims = [
            Claimed(
                one.scheduled_for,
                one.trigger,
                one.spec.queue,
                one.not_before,
                one.started_at,
                one.owner,
                tuple(one.attempts),
                exclusive=one.exclusive,
                start_by=one.start_by,
                cancel_requested=one.cancel,
            )
            for one in self.claims.values()
        ]
        covering = [
            one
            for one in self.pauses
            if any((one.selector or {}).items() <= revision.spec.labels.items() for revision in self.revisions)  # type: ignore[union-attr]
        ]
        return Evidence(
            name="a",
            now=self.now,
            through=self.cursor,
            revisions=tuple(self.revisions),
            runs=tuple(self.runs.values()),
            claims=tuple(claims),
            skips=tuple(Skipped(one.first, one.last, one.count, one.reason, one.detail) for one in self.skips.values()),
            pauses=tuple(covering),
            presences=tuple(self.presences),
        )


def _moves(old: TaskSpec | None, new: TaskSpec | None) -> bool:
    if old is None or new is None:
        return True
    before, after = old.document(), new.document()
    return old.suspend is True != (new.suspend is True) or any(
        before[key] != after[key] for key in ("schedule", "timezone", "dst")
    )


SPECS = st.builds(
    lambda **fields: TaskSpec.from_document({"name": "a", "task": "t", **fields}),
    schedule=st.sampled_from(SCHEDULES),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    overlap=st.sampled_from(["skip", "allow", "queue", "replace"]),
    missed=st.sampled_from(["latest", "all", "skip"]),
    missed_limit=st.sampled_from([2, 50]),
    missed_within=st.sampled_from(["1h", "12h"]),
    suspend=st.sampled_from([None, None, None, False, True]),
    jitter=st.sampled_from(["0s", "0s", "5m"]),
    retries=st.sampled_from([{"attempts": 1}, {"attempts": 3, "backoff": "1m"}]),
    deadline=st.sampled_from([{}, {}, {"start": "10m"}]),
    labels=st.sampled_from([{}, {"team": "data"}]),
    description=st.sampled_from(["", "other words"]),
)
# Often such that the next thing happens at the very moment of an instant.
LENGTHS = st.one_of(
    st.sampled_from([timedelta(minutes=minutes) for minutes in (5, 10, 20, 50, 60, 130, 480)]),
    st.timedeltas(TICK, timedelta(hours=3)),
    st.timedeltas(timedelta(0), timedelta(days=2)),
)
STEPS = st.sampled_from(
    ["advance"] * 6 + ["away"] * 2 + ["edit"] * 2 + ["start"] * 2
    + ["remove", "return", "pause", "label", "resume", "stop", "die", "trigger", "cancel"]
)  # fmt: skip


def live(start: datetime, data: st.DataObject) -> World:
    """A world after some twenty things have happened to it."""
    world = World(start, data)
    world.apply(data.draw(SPECS))
    world.start()
    for step in data.draw(st.lists(STEPS, min_size=3, max_size=25)):
        if step == "advance":
            world.advance(data.draw(LENGTHS), is_cut_off=False)
        elif step == "away":
            world.advance(data.draw(LENGTHS), is_cut_off=True)
        elif step in ("edit", "return"):
            world.apply(data.draw(SPECS))
        elif step == "remove":
            world.apply(None)
        elif step in ("pause", "label"):
            length = data.draw(st.sampled_from([None, timedelta(minutes=50), timedelta(hours=7)]))
            world.pause(length, {"team": "data"} if step == "label" else None)
        elif step == "stop" or step == "die":
            world.stop(dies=step == "die")
        else:
            getattr(world, step)()
    return world


def named_by(world: World) -> Iterator[datetime]:
    """Every instant that a spec in force named, gone through one by one."""
    for revision in world.revisions:
        spec = revision.spec
        if spec is None or not spec.is_scheduled:
            continue
        schedule = spec.when()
        assert schedule is not None
        for instant in schedule.upcoming(revision.applied_at):
            if instant > min(revision.ended_at or world.now, world.now):
                break
            yield instant


def held_to_account(world: World) -> list[Verdict]:
    """The whole ledger, once it has been found complete and without contradiction."""
    evidence = world.evidence()
    found = ledger(evidence, datetime(2020, 1, 1, tzinfo=UTC), world.now)
    scheduled = [one for one in found if one.is_scheduled]
    named = list(named_by(world))
    assert sum(one.count or 0 for one in scheduled) == len(named)
    stretches = iter(sorted(scheduled, key=lambda one: one.first))
    current = next(stretches, None)
    for instant in named:
        while current is not None and current.last < instant:
            current = next(stretches, None)
        assert current is not None and current.first <= instant, f"{instant} has no verdict"
    for before, after in pairwise(scheduled):
        assert before.last < after.first, f"two verdicts for one instant: {before} and {after}"
    extra = [one for one in found if not one.is_scheduled]
    asked_for = {*world.runs, *world.claims, *(one.first for one in world.skips.values())} - set(named)
    assert sorted(one.first for one in extra) == sorted(asked_for)
    return found


@settings(max_examples=150, deadline=None, print_blob=True)
@given(day=st.sampled_from(DAYS), data=st.data())
def test_each_instant_that_a_spec_named_has_exactly_one_verdict(day: str, data: st.DataObject) -> None:
    world = live(datetime.fromisoformat(f"{day}T20:10:00").replace(tzinfo=UTC), data)
    found = held_to_account(world)
    assert [one for one in found if "nothing recorded says why" in one.sentence] == []
    evidence = world.evidence()
    for one in found[:40]:
        for instant in {one.first, one.last}:
            alone = verdict(evidence, instant)
            assert (alone.kind, alone.is_scheduled) == (one.kind, one.is_scheduled), instant


@settings(max_examples=60, deadline=None, print_blob=True)
@given(day=st.sampled_from(DAYS), data=st.data())
def test_the_ledger_of_a_part_is_that_part_of_the_ledger(day: str, data: st.DataObject) -> None:
    world = live(datetime.fromisoformat(f"{day}T20:10:00").replace(tzinfo=UTC), data)
    evidence, start = world.evidence(), datetime(2020, 1, 1, tzinfo=UTC)
    cut = data.draw(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda one: one.replace(tzinfo=UTC)))
    cut = min(max(cut, world.revisions[0].applied_at), world.now)
    whole = sum(one.count or 0 for one in ledger(evidence, start, world.now))
    parts = [ledger(evidence, start, cut), ledger(evidence, cut, world.now)]
    assert sum(one.count or 0 for part in parts for one in part) == whole
