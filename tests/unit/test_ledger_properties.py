"""Whatever happens to a name, each instant that a spec named has one verdict, and none fires that should not.

A world on a pretended clock: the rules are the real ones (what is decided, the overlap rule, what follows a failed
attempt, what an edit leaves behind), and the store is memory that takes and refuses as the statements do: a cursor and
a digest are compared, the cursor is set, an occurrence has one claim or one row. Two runners decide from the same
sight, or from one that they took long ago. What happens is drawn at random, and often at the very moment of an instant.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice, pairwise
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from reconciler.attempts import Attempt, after_failure
from reconciler.ledger import Claimed, Evidence, Override, Presence, Revision, Run, Skipped, Verdict, ledger, verdict
from reconciler.ledger.evidence import KEEP, Row
from reconciler.occurrences import Decision, Fire, Pause, Skip, decide, turn_of, wake_at
from reconciler.overlap import Held, overlap_verdict
from reconciler.plan import Change
from reconciler.spec import TaskSpec
from reconciler.sync.apply import _undecided as undecided

TICK = timedelta(microseconds=1)
# No more looks of a runner in one step: one that is slower is late, which is fair.
MOST_LOOKS = 60
# The days on which clocks change in Berlin and New York, and a plain one.
DAYS = ("2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-06-10")
SCHEDULES: tuple[list[str], ...] = (
    ["0 * * * *"], ["*/20 * * * *"], ["30 2 * * *"], ["@every 35m"], ["15 1,2,3 * * *", "0 */3 * * *"],
    ["@every 4m"], [],
)  # fmt: skip


@dataclass(frozen=True)
class Sight:
    """What a runner read before it decides; PostgreSQL may have moved on when it does."""

    now: datetime
    spec: TaskSpec | None
    cursor: datetime | None
    pauses: list[Pause]


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
        self.runners: list[str] = []
        self.frozen: tuple[str, Sight] | None = None
        self.fired: list[datetime] = []
        # Each backlog that was decided, and what started for the first time, both in order.
        self.backlogs: list[list[datetime]] = []
        self.starts: list[datetime] = []
        self.asked_for: set[datetime] = set()
        self.pruned: list[tuple[datetime, datetime]] = []
        self.keep_last: int | None = None
        self._numbers = count(1)

    # What a person does.

    def apply(self, spec: TaskSpec | None) -> None:
        """Bring a spec into force, or none, as one transaction of a sync does."""
        old, pauses = self.spec, self._pauses(self.cursor or self.now)
        self.spec = spec
        if old is None and spec is None:
            return
        verb = "create" if old is None else "delete" if spec is None else "update"
        change = Change(verb, "a", "a.yaml", "edited", moves_cursor=_moves(old, spec))  # type: ignore[arg-type]
        if (change.moves_cursor or verb == "delete") and self.cursor is not None:
            if old is not None:
                left = list(undecided(old, change, self.cursor, self.now, pauses))
                _tells_paused_apart(left, old, pauses)
                self._skip(left)
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
            if at not in self.claims and at not in self.runs and at not in self.skips:
                self.asked_for.add(at)
                exclusive = self.spec.overlap != "allow"
                self.claims[at] = Claim(at, "manual", self.spec, exclusive, self.now, turn_of(at))

    def cancel(self) -> None:
        for claim in list(self.claims.values()):
            if claim.owner is None and not claim.attempts:
                self._drop(claim, "cancelled", "cancelled by ada")
            else:
                claim.cancel = "cancelled by ada"

    def fill(self) -> None:
        """Ask for an instant that was decided against."""
        skips = [skip for skip in self.skips.values() if skip.first not in self.asked_for]
        if self.spec is None or not skips:
            return
        skip = self.data.draw(st.sampled_from(skips))
        instants = list(islice(_named(self.revisions, skip.first, skip.last), 5))
        at = self.data.draw(st.sampled_from(instants or [skip.first]))
        if instants and at not in self.claims and at not in self.runs:
            self.asked_for.add(at)
            exclusive = self.spec.overlap != "allow"
            self.claims[at] = Claim(at, "backfill", self.spec, exclusive, self.now, turn_of(at))

    def prune(self) -> None:
        """Forget what is older than the history kept, and the runs that are too many; the newest stays."""
        before = self.now - (self.spec.history.keep if self.spec else KEEP)
        runs = sorted(self.runs)
        too_many = set(runs[: -self.keep_last] if self.keep_last else [])
        for instant in runs[:-1]:
            if self.runs[instant].finished_at < before or instant in too_many:
                del self.runs[instant]
                self.pruned.append((instant, instant))
        for skip in list(self.skips.values()):
            if skip.last < before:
                del self.skips[skip.first]
                self.pruned.append((skip.first, skip.last))

    # What happens to a runner.

    def start(self) -> None:
        if len(self.runners) < 2:
            self.runners.append(f"alpha:{next(self._numbers)}")
            self.presences.append(Presence(self.runners[-1], self.now, None))

    def stop(self, *, dies: bool) -> None:
        """A death is a failed attempt of what it ran; a stop hands that back."""
        if not self.runners:
            return
        gone, ending = self.runners.pop(0), "died" if dies else "stopped"
        self.presences = [
            replace(one, until=self.now, ending=ending) if one.runner == gone else one for one in self.presences
        ]
        for claim in list(self.claims.values()):
            if claim.owner == gone and dies:
                self._fail(claim, self.now, "the runner died")
            elif claim.owner == gone:
                claim.owner, claim.started_at, claim.ends, claim.not_before = None, None, None, self.now

    def freeze(self) -> None:
        """A runner stops between what it reads and what it decides from that."""
        if self.runners:
            self.frozen = (self.runners[-1], self._sight())

    def thaw(self) -> None:
        if self.frozen is not None and self.frozen[0] in self.runners:
            self._decide(*self.frozen)
        self.frozen = None

    # Time.

    def upcoming(self, number: int) -> datetime | None:
        """The instant that is due after so many others; of no schedule None."""
        schedule = self.spec.when() if self.spec else None
        return next(islice(schedule.upcoming(self.now), number, None), None) if schedule else None

    def advance(self, length: timedelta, *, is_cut_off: bool) -> None:
        end = self.now + length
        looks = 0
        while self.runners and not is_cut_off and looks < MOST_LOOKS:
            self._look()
            following = self._next_event()
            if following is None or following > end:
                break
            self.now, looks = max(following, self.now), looks + 1
        self.now = end
        if self.runners and not is_cut_off:
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
        ended = [one for one in self.claims.values() if one.owner and one.ends and one.ends <= self.now]
        for claim in sorted(ended, key=lambda one: one.ends or self.now):
            self._end(claim, claim.ends or self.now)
        sight = self._sight()
        for runner in self.runners:
            self._decide(runner, sight)
        if len(self.runners) == 1:
            self._decide(self.runners[0], sight)  # as if its answer had been lost
        for runner in reversed(self.runners):
            self._pick_up(runner)

    # What the statements do.

    def _sight(self) -> Sight:
        return Sight(self.now, self.spec, self.cursor, self._pauses(self.cursor or self.now))

    def _decide(self, runner: str, seen: Sight) -> None:
        if seen.spec is None or seen.cursor is None or not seen.spec.is_scheduled:
            return
        if any(pause.until is None or pause.until > seen.now for pause in seen.pauses):
            return
        decision: Decision = decide(seen.spec, seen.cursor, seen.now, seen.pauses)
        if decision.is_empty or self.cursor != seen.cursor or self.spec is None or self.spec.digest != seen.spec.digest:
            return
        if any(pause.covers(self.now) for pause in self._covering()):
            return
        assert decision.through >= seen.cursor
        self.cursor = decision.through
        _tells_paused_apart(decision.skips, self.spec, seen.pauses)
        self._skip(decision.skips)
        held = [self._held(claim) for claim in self.claims.values() if claim.exclusive]
        known = [one for one in held if one is not None]
        self.backlogs.append([fire.scheduled_for for fire in decision.fires if fire.waits])
        for fire in decision.fires:
            assert fire.scheduled_for > seen.cursor, "none fires from before its cursor"
            assert not any(_covers(pause, fire.scheduled_for) for pause in seen.pauses), "none fires in a pause"
            self._fire(runner, self.spec, fire, known)

    def _fire(self, runner: str, spec: TaskSpec, fire: Fire, held: list[Held]) -> None:
        instant = fire.scheduled_for
        assert instant not in self.fired, "none fires twice"
        assert not any(skip.first <= instant <= skip.last for skip in self.skips.values()), "a skip lies over a fire"
        assert instant not in self.claims
        assert instant not in self.runs
        said = overlap_verdict(spec.overlap, instant, held, is_backlog=fire.waits)
        if said.verdict == "skip":
            self._skip([Skip("a", instant, instant, 1, "overlap", said.detail)])
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
            self._own(runner, claim)

    def _held(self, claim: Claim) -> Held | None:
        if claim.owner is not None:
            return Held(claim.scheduled_for, "owned")
        if claim.attempts:
            return Held(claim.scheduled_for, "back-off")
        return Held(claim.scheduled_for, "waiting") if claim.trigger in ("schedule", "catch_up") else None

    def _pick_up(self, runner: str) -> None:
        for claim in sorted(self.claims.values(), key=lambda one: one.turn):
            if claim.owner is not None:
                if claim.cancel:
                    self._finish(claim, self.now, claim.cancel)
            elif claim.cancel:
                self._finish(claim, self.now, claim.cancel)
            elif claim.start_by and not claim.attempts and claim.start_by < self.now:
                self._drop(claim, "deadline", "not started in time")
            elif claim.not_before <= self.now and not self._is_held_up(claim):
                self._own(runner, claim)

    def _is_held_up(self, claim: Claim) -> bool:
        others = [one for one in self.claims.values() if one.exclusive and one is not claim]
        return claim.exclusive and any(one.owner or (one.attempts and not claim.attempts) for one in others)

    def _own(self, runner: str, claim: Claim) -> None:
        draw = self.data.draw
        if claim.scheduled_for not in self.starts:
            self.starts.append(claim.scheduled_for)
        claim.owner, claim.started_at = runner, self.now
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
        self._skip([Skip("a", claim.scheduled_for, claim.scheduled_for, 1, reason, detail)])

    def _skip(self, skips: Iterable[Skip]) -> None:
        """What a person asked for and dropped again may lie in a range of skips; a skip that is there stays."""
        for skip in skips:
            if skip.first not in self.asked_for:
                others = [one for one in self.skips.values() if one.first not in self.asked_for]
                rows = [one for one in others if one.first <= skip.last and skip.first <= one.last]
                assert rows == [], f"{skip} over {rows}"
                fired = [
                    at for at in self.fired if skip.first <= at <= skip.last and (at in self.claims or at in self.runs)
                ]
                assert fired == [], f"{skip} over what fired at {fired}"
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
            oldest=min(self.runs, default=None),
        )


def _covers(pause: Pause, moment: datetime) -> bool:
    return pause.since <= moment and (pause.until is None or moment < pause.until)


def _tells_paused_apart(skips: Iterable[Skip], spec: TaskSpec, pauses: Sequence[Pause]) -> None:
    """What lies in a pause is skipped as paused, and nothing else is."""
    schedule = spec.when()
    for skip in skips:
        assert schedule is not None
        if skip.reason == "paused":
            assert any(_covers(pause, skip.first) and _covers(pause, skip.last) for pause in pauses), skip
        for pause in pauses if skip.reason != "paused" else ():
            start = max(skip.first, pause.since)
            end = min(skip.last, pause.until - TICK) if pause.until else skip.last
            assert start > end or schedule.last_until(end, start - TICK) is None, f"{skip} in {pause}"


def _moves(old: TaskSpec | None, new: TaskSpec | None) -> bool:
    if old is None or new is None:
        return True
    before, after = old.document(), new.document()
    return (old.suspend is True) != (new.suspend is True) or any(
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
    history=st.sampled_from([{}, {}, {"keep": "2h"}, {"keep": "1d"}]),
)
LENGTHS = st.one_of(
    st.sampled_from([timedelta(minutes=minutes) for minutes in (5, 10, 20, 50, 60, 130, 480)]),
    st.timedeltas(TICK, timedelta(hours=3)),
    st.timedeltas(timedelta(0), timedelta(days=2)),
)
# To the instant that is due after so many others, or just beside it; None: some other length.
PLACES = st.sampled_from([None, 0, 0, 1, 1, 2, 4])
BESIDE = st.sampled_from([timedelta(0)] * 4 + [TICK, -TICK])
STEPS = st.sampled_from(
    ["advance"] * 6 + ["away"] * 3 + ["unseen"] * 3 + ["edit"] * 2 + ["toggle"] * 2 + ["start"] * 2
    + ["pause"] * 2 + ["resume"] * 2 + ["remove", "return", "label", "stop", "die", "trigger", "cancel"]
    + ["fill", "freeze", "thaw", "prune"]
)  # fmt: skip
TOGGLES: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("suspend", (None, True)), ("labels", ({}, {"team": "data"})), ("description", ("", "other words")),
)  # fmt: skip


def length(world: World) -> timedelta:
    place = world.data.draw(PLACES)
    instant = None if place is None else world.upcoming(place)
    if instant is None:
        return world.data.draw(LENGTHS)
    return max(instant + world.data.draw(BESIDE) - world.now, timedelta(0))


def some_spec(world: World) -> TaskSpec:
    spec = world.data.draw(SPECS)
    document = spec.document()
    if world.keep_last:
        document["history"]["keep_last"] = world.keep_last
    return TaskSpec.from_document(document)


def toggle(world: World) -> None:
    """An edit of one field, so that the schedule goes on, or stops for a while."""
    if world.spec is not None:
        document = world.spec.document()
        key, (one, other) = world.data.draw(st.sampled_from(TOGGLES))
        document[key] = other if document[key] == one else one
        world.apply(TaskSpec.from_document(document))


def unseen(world: World) -> None:
    """A pause begins, and mostly ends, while no runner looks; what has come due before is not decided either."""
    world.advance(length(world), is_cut_off=True)
    world.pause(max(length(world), TICK), None)
    if world.data.draw(st.booleans()):
        world.advance(length(world), is_cut_off=True)
        world.resume()


def live(start: datetime, data: st.DataObject) -> World:
    """A world after some twenty things have happened to it."""
    world = World(start, data)
    world.keep_last = data.draw(st.sampled_from([None, None, 3]))
    world.apply(some_spec(world))
    world.start()
    for step in data.draw(st.lists(STEPS, min_size=3, max_size=25)):
        if step == "advance":
            world.advance(length(world), is_cut_off=False)
        elif step == "away":
            world.advance(length(world), is_cut_off=True)
        elif step in ("edit", "return"):
            world.apply(some_spec(world))
        elif step in ("toggle", "unseen"):
            {"toggle": toggle, "unseen": unseen}[step](world)
        elif step == "remove":
            world.apply(None)
        elif step in ("pause", "label"):
            until = data.draw(st.sampled_from([True, True, False]))
            world.pause(max(length(world), TICK) if until else None, {"team": "data"} if step == "label" else None)
        elif step == "stop" or step == "die":
            world.stop(dies=step == "die")
        else:
            getattr(world, step)()
    world.prune()
    return world


def _named(revisions: Sequence[Revision], first: datetime, last: datetime) -> Iterator[datetime]:
    """Every instant in [first, last] that a spec in force named, gone through one by one."""
    for revision in revisions:
        spec = revision.spec
        if spec is None or not spec.is_scheduled:
            continue
        schedule = spec.when()
        assert schedule is not None
        for instant in schedule.upcoming(max(revision.applied_at, first - TICK)):
            if instant > min(revision.ended_at or last, last):
                break
            yield instant


@dataclass(frozen=True)
class Told:
    """What the rows themselves say of an instant: what became of it (any of these), and by which row."""

    kinds: tuple[str, ...]
    row: Row | None = None


def told(world: World, evidence: Evidence, named: list[datetime]) -> dict[datetime, Told]:
    """The verdict on each named instant as it is found by looking at every row, without any cut."""
    found: dict[datetime, Told] = {}

    def within(first: datetime, last: datetime) -> list[datetime]:
        return named[bisect_left(named, first) : bisect_right(named, last)]

    for first, last in world.pruned:
        found.update((instant, Told(("expired",))) for instant in within(first, last))
    for skip in sorted(evidence.skips, key=lambda one: one.first == one.last):
        said = Told(({"missed": "missed", "paused": "paused"}.get(skip.reason, "skipped"),), skip)
        found.update((instant, said) for instant in within(skip.first, skip.last))
    for claim in evidence.claims:
        found[claim.scheduled_for] = Told(("running" if claim.started_at else "waiting",), claim)
    for run in evidence.runs:
        found[run.scheduled_for] = Told(("ran" if run.is_success else "failed",), run)
    return {instant: found.get(instant) or _open(world, evidence, instant) for instant in named}


def _open(world: World, evidence: Evidence, instant: datetime) -> Told:
    assert world.cursor is not None
    assert instant > world.cursor, f"{instant} is decided, and has no row"
    assert world.spec is not None
    if any(pause.covers(instant) for pause in world._covering()):
        return Told(("paused",))
    is_due = "planned" if wake_at(world.spec, instant) > world.now else "due"
    # By labels that the spec had once, it may have been paused then.
    return Told((is_due, "paused") if any(pause.covers(instant) for pause in evidence.pauses) else (is_due,))


def held_to_account(world: World) -> list[Verdict]:
    """The whole ledger, once it has been found complete and without contradiction."""
    evidence, start = world.evidence(), world.revisions[0].applied_at
    found = ledger(evidence, datetime(2020, 1, 1, tzinfo=UTC), world.now)
    named = list(_named(world.revisions, start, world.now))
    known = told(world, evidence, named)
    for one, instants in spread(found, named):
        assert one.count == len(instants), one
        for instant in instants if one.is_scheduled else ():
            assert one.kind in known[instant].kinds, f"{instant}: {one}, not {known[instant]}"
            assert known[instant].row in (None, *one.rows[:1]), f"{instant}: {one}, not by {known[instant]}"
    assert [instant for one, instants in spread(found, named) if one.is_scheduled for instant in instants] == named
    extra = [one for one in found if not one.is_scheduled]
    asked_for = {*world.runs, *world.claims, *(one.first for one in world.skips.values())} - set(named)
    assert sorted(one.first for one in extra) == sorted(asked_for)
    return found


def spread(found: Iterable[Verdict], named: list[datetime]) -> Iterator[tuple[Verdict, list[datetime]]]:
    """Each verdict with the instants it is on."""
    for one in found:
        low, high = bisect_left(named, one.first), bisect_right(named, one.last)
        yield one, named[low:high] if one.is_scheduled else [one.first]


def no_row_overlaps(world: World) -> None:
    """What fired has one row or claim and no skip over it, and no two skips share an instant."""
    ranges = sorted(
        (skip for skip in world.skips.values() if skip.first not in world.asked_for), key=lambda one: one.first
    )
    for before, after in pairwise(ranges):
        assert before.last < after.first, f"{before} and {after}"
    assert not world.runs.keys() & world.claims.keys()
    for instant in {*world.runs, *world.claims} & set(world.fired):
        assert not [skip for skip in ranges if skip.first <= instant <= skip.last], instant


def each_backlog_starts_with_its_oldest(world: World) -> None:
    for backlog in world.backlogs:
        started = [instant for instant in world.starts if instant in backlog]
        assert started == sorted(started)


@settings(max_examples=400, deadline=None, print_blob=True)
@given(day=st.sampled_from(DAYS), data=st.data())
def test_each_instant_that_a_spec_named_has_exactly_one_verdict(day: str, data: st.DataObject) -> None:
    world = live(datetime.fromisoformat(f"{day}T20:10:00").replace(tzinfo=UTC), data)
    no_row_overlaps(world)
    each_backlog_starts_with_its_oldest(world)
    found = held_to_account(world)
    assert [one for one in found if "nothing recorded says why" in one.sentence] == []
    evidence = world.evidence()
    for one in found[:40]:
        for instant in {one.first, one.last}:
            alone = verdict(evidence, instant)
            assert (alone.kind, alone.is_scheduled) == (one.kind, one.is_scheduled), instant


@settings(max_examples=200, deadline=None, print_blob=True)
@given(day=st.sampled_from(DAYS), data=st.data())
def test_the_ledger_of_a_part_is_that_part_of_the_ledger(day: str, data: st.DataObject) -> None:
    world = live(datetime.fromisoformat(f"{day}T20:10:00").replace(tzinfo=UTC), data)
    evidence, start = world.evidence(), datetime(2020, 1, 1, tzinfo=UTC)
    named = list(_named(world.revisions, world.revisions[0].applied_at, world.now))
    whole = ledger(evidence, start, world.now)
    moments = [world.now, *named, *(moment for one in whole for moment in (one.first, one.last))]
    cut = min(data.draw(st.sampled_from(moments)) + data.draw(BESIDE), world.now)
    parts = [*ledger(evidence, start, cut), *ledger(evidence, cut, world.now)]

    def each(verdicts: list[Verdict]) -> list[tuple[datetime, str, Row | None]]:
        return [
            (instant, one.kind, *(one.rows[:1] or [None]))
            for one, instants in spread(verdicts, named)
            for instant in instants
        ]

    assert each(parts) == each(whole)
