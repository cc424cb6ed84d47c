"""The ledger as PostgreSQL has it: lived through by the statements of sync, runners and people, read from the tables.

Time passes by making everything that is there older: each moment in each table is moved back by whole hours, so that
schedules which repeat within an hour still name the same instants.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any
from uuid import UUID, uuid4

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from reconciler.db import byhand, claims, configs, cursors, evidence, finishing, overrides, runners, traces, waiting
from reconciler.db.claims import Claim, Move, Returned, Wanted
from reconciler.db.link import Link
from reconciler.gitrepo import Revision
from reconciler.ledger import Verdict, ledger, verdict
from reconciler.occurrences import decide
from reconciler.plan.guards import Options
from reconciler.scheduler import SchedulerService
from reconciler.spec import TaskSpec
from reconciler.spec.specset import LocatedSpec, SpecSet
from reconciler.sync.reconcile import Request, reconcile

MOMENTS = {
    "task_cursors": ("through",),
    "task_claims": ("scheduled_for", "not_before", "claimed_at", "started_at", "start_by"),
    "task_executions": ("scheduled_for", "started_at", "finished_at", "replays"),
    "task_skips": ("first", "last"),
    "task_revisions": ("applied_at", "removed_at"),
    "task_overrides": ("created_at", "expires_at", "ended_at"),
    "syncs": ("started_at", "finished_at"),
    "runners": ("started_at", "seen_at", "ended_at"),
}
NUMBERS = count(1)
HOUR = timedelta(hours=1)


class Life:
    """One name in a real database, with whatever is done to it."""

    def __init__(self, link: Link, scheduler: SchedulerService) -> None:
        self.link = link
        self.scheduler = scheduler
        self.name = f"n{next(NUMBERS)}"
        self.runner: UUID | None = None

    async def apply(self, fields: dict[str, Any] | None) -> None:
        found: tuple[LocatedSpec, ...] = ()
        if fields is not None:
            spec = TaskSpec.from_document({"name": self.name, "task": "t", **fields})
            found = (LocatedSpec(spec, "a.yaml", 1, spec.digest),)
        revision = Revision(f"{next(NUMBERS):07x}" * 5, False, "Ada", f"{'as' if found else 'without'} {self.name}")
        # There is no git that could say of these commits which one comes first.
        options = Options(source=self.name, allow_empty=True, max_prune="100%", allow_rewind=True, reason="made up")
        outcome = await reconcile(
            SpecSet(found, files=len(found)), self.link, self.scheduler, Request(options, "ada", revision)
        )
        assert outcome.plan is not None

    async def pause(self, whom: str | dict[str, str], length: timedelta | None) -> None:
        [(now,)] = await self.link.run("select clock_timestamp()")
        await overrides.pause(self.link, whom, "maintenance", "ada", now + length if length else None)

    async def resume(self) -> None:
        await overrides.resume(self.link, self.name)
        await overrides.resume(self.link, {"team": self.name})

    async def start(self) -> None:
        self.runner = uuid4()
        await runners.register(
            self.link, self.runner, host=self.name, pid=next(NUMBERS), queues=["default"], tasks={"t": {}}, lease=30
        )

    async def stop(self) -> None:
        if self.runner is not None:
            await runners.leave(self.link, self.runner)
            self.runner = None

    async def look(self, good: bool, tries: int) -> None:
        """What a runner does: decide what is due, pick up what waits, and end what it has."""
        if self.runner is None:
            await self.start()
        assert self.runner is not None
        await waiting.skip(self.link)
        for config in await configs.load(self.link, [self.name]):
            [row] = await cursors.sight(self.link, [config.id])
            [(now,)] = await self.link.run("select clock_timestamp()")
            spec = TaskSpec.from_document(config.spec)
            decision = decide(spec, row.through, now, row.pauses)
            moves = [Move(row.name, row.digest, row.through, decision.through)]
            fires = [
                Wanted(
                    row.name, fire.scheduled_for, "t", uuid4(), "default", 0, fire.trigger, spec.overlap != "allow",
                    fire.turn, fire.start_by, spec.overlap, fire.waits, fire.waits,
                )
                for fire in decision.fires
            ]  # fmt: skip
            for _ in range(2):  # another one saw the same
                await claims.decide(self.link, self.runner, moves, fires, decision.skips)
        for _ in range(tries):
            await claims.pick_up(self.link, self.runner, ["default"], ["t"], 10)
            for claim in await finishing.of_runner(self.link, self.runner):
                if claim.name == self.name:
                    await self._end(claim, good)

    async def _end(self, claim: Claim, good: bool) -> None:
        [(now,)] = await self.link.run("select clock_timestamp()")
        started = claim.started_at or now
        if not good and not claim.attempts:
            said = {
                "attempt": 1,
                "started_at": started.isoformat(),
                "finished_at": now.isoformat(),
                "error": "ValueError",
            }
            back = Returned(claim.name, claim.scheduled_for, claim.token, now, [{**said, "runner": "alpha:1"}])
            assert await finishing.hand_back(self.link, [back])
            return
        record = {
            "name": claim.name, "scheduled_for": claim.scheduled_for, "token": claim.token, "task": "t",
            "started_at": started, "finished_at": now, "is_success": good, "error": None if good else "ValueError: no",
            "traceback": None, "result": None, "log": None, "attempts": claim.attempts, "runner": "alpha:1",
            "revision": None,
        }  # fmt: skip
        assert await finishing.finish(self.link, [record])

    async def age(self, length: timedelta) -> None:
        """Make everything of this name so much older; by way of the far past, where no row meets another."""
        for far in (timedelta(days=36_525) + length, -timedelta(days=36_525)):
            for table, columns in MOMENTS.items():
                moved = ", ".join(f"{column} = {column} - %(far)s::interval" for column in columns)
                await self.link.run(f"update {table} set {moved} where {_of(table)}", {"far": far, "name": self.name})

    async def held_to_account(self) -> list[Verdict]:
        """The whole ledger, once it has been found complete and without contradiction."""
        known = await evidence.between(self.link, self.name, None, None)
        found = ledger(known, known.floor or known.now, known.now)
        scheduled = [one for one in found if one.is_scheduled]
        for before, after in pairwise(scheduled):
            assert before.last < after.first
        named = []
        for revision in known.revisions:
            schedule = revision.spec.when() if revision.spec and revision.spec.is_scheduled else None
            for instant in schedule.upcoming(revision.applied_at) if schedule else ():
                if instant > min(revision.ended_at or known.now, known.now):
                    break
                named.append(instant)
        assert sum(one.count or 0 for one in scheduled) == len(named)
        for instant in named:
            assert sum(one.first <= instant <= one.last for one in scheduled) == 1
        assert [one.sentence for one in found if "nothing recorded says why" in one.sentence] == []
        for one in found[-5:]:
            near = await evidence.around(self.link, self.name, one.first)
            assert verdict(near, one.first).kind == one.kind
        return found


def _of(table: str) -> str:
    if table == "task_overrides":
        return "(name = %(name)s or selector ->> 'team' = %(name)s)"
    return {"syncs": "source", "runners": "host"}.get(table, "name") + " = %(name)s"


SPECS = st.fixed_dictionaries(
    {
        "schedule": st.sampled_from([["*/20 * * * *"], ["@every 5m"], ["7 * * * *", "@every 30m"], []]),
        "overlap": st.sampled_from(["skip", "allow", "queue", "replace"]),
        "missed": st.sampled_from(["latest", "all", "skip"]),
        "missed_limit": st.sampled_from([2, 50]),
        "suspend": st.sampled_from([None, None, None, True]),
        "deadline": st.sampled_from([{}, {"start": "10m"}]),
        "is_labelled": st.booleans(),
    }
)
STEPS = st.lists(
    st.sampled_from(["age"] * 4 + ["look"] * 5 + ["edit"] * 2 + [
        "remove", "pause", "label", "resume", "stop", "trigger", "cancel",
    ]),
    min_size=4, max_size=18,
)  # fmt: skip


async def live(life: Life, data: st.DataObject) -> None:
    """Let some ten things happen to it."""
    for step in ["edit", *data.draw(STEPS)]:
        if step == "edit":
            fields = data.draw(SPECS)
            labels = {"team": life.name} if fields.pop("is_labelled") else {}
            await life.apply({**fields, "labels": labels})
        elif step == "remove":
            await life.apply(None)
        elif step == "age":
            await life.age(data.draw(st.sampled_from([1, 1, 2, 9, 40])) * HOUR)
        elif step == "look":
            await life.look(data.draw(st.booleans()), data.draw(st.integers(0, 3)))
        elif step in ("pause", "label"):
            whom = {"team": life.name} if step == "label" else life.name
            await life.pause(whom, data.draw(st.sampled_from([None, timedelta(minutes=90)])))
        elif step == "trigger":
            await byhand.trigger(life.link, life.name, actor="ada")
        elif step == "cancel":
            await byhand.cancel(life.link, life.name, None, "cancelled by ada")
        else:
            await (life.resume() if step == "resume" else life.stop())


@settings(
    max_examples=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_each_instant_that_a_spec_named_has_exactly_one_verdict(
    link: Link, scheduler: SchedulerService, data: st.DataObject
) -> None:
    life = Life(link, scheduler)
    await live(life, data)
    await life.held_to_account()


HOURLY = {"schedule": ["0 * * * *"]}


async def lived(link: Link, scheduler: SchedulerService, **fields: Any) -> Life:
    """A name with an hourly schedule that came ten hours ago."""
    life = Life(link, scheduler)
    await life.apply({**HOURLY, **fields})
    await life.age(10 * HOUR)
    return life


async def said(life: Life, instant: datetime) -> str:
    return verdict(await evidence.around(life.link, life.name, instant), instant).sentence


async def last_hour(link: Link) -> datetime:
    [(moment,)] = await link.run("select date_trunc('hour', clock_timestamp(), 'UTC')")
    assert isinstance(moment, datetime)
    return moment


async def test_who_removed_a_name_is_told_after_it_is_gone(link: Link, scheduler: SchedulerService) -> None:
    life = await lived(link, scheduler)
    await life.apply(None)
    await life.age(2 * HOUR)
    last = await last_hour(link)
    assert f"(Ada: 'without {life.name}') had removed it" in await said(life, last)
    before = await said(life, last - 3 * HOUR)
    assert "did not run: before it was decided, commit " in before
    assert before.endswith(f"(Ada: 'without {life.name}') removed the spec")


async def test_an_edit_is_told_with_its_commit(link: Link, scheduler: SchedulerService) -> None:
    life = await lived(link, scheduler, schedule=["0 * * * *"])
    await life.apply({"schedule": ["30 * * * *"]})
    await life.age(2 * HOUR)
    last = await last_hour(link)
    assert "was not due: the schedule said 'every hour' until commit " in await said(life, last)
    assert f"(Ada: 'as {life.name}') changed the spec" in await said(life, last - 3 * HOUR)


async def test_a_pause_by_label_is_evidence_for_what_had_the_label(link: Link, scheduler: SchedulerService) -> None:
    other = await lived(link, scheduler)
    life = await lived(link, scheduler, labels={"team": "x"})
    await overrides.pause(link, {"team": "x"}, "freeze", "ada", None)
    await link.run("update task_overrides set created_at = created_at - interval '9 hours'")
    last = await last_hour(link)
    assert "did not run: paused with everything labelled team=x by ada" in await said(life, last)
    assert "paused" not in await said(other, last)


async def test_the_run_that_a_skip_names_is_found_however_far_away(link: Link, scheduler: SchedulerService) -> None:
    life = await lived(link, scheduler)
    last = await last_hour(link)
    await executed(life, last - 9 * HOUR, took=8 * HOUR)
    for second in range(100):
        at = last - 8 * HOUR + timedelta(seconds=second, milliseconds=1)
        await executed(life, at, trigger="manual")
    name = (last - 9 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    await skipped(life, last - 2 * HOUR, last - 2 * HOUR, "overlap", f"the run of {name} was still going")
    assert "was still going (it took 8 h, from " in await said(life, last - 2 * HOUR)


async def test_reruns_are_listed_with_what_they_replay(link: Link, scheduler: SchedulerService) -> None:
    life = await lived(link, scheduler)
    last = await last_hour(link)
    await executed(life, last - 8 * HOUR)
    await executed(life, last + timedelta(milliseconds=7), trigger="rerun", replays=last - 8 * HOUR)
    await byhand.trigger(link, life.name, trigger="rerun", replays=last - 8 * HOUR, actor="ada")
    sentence = await said(life, last - 8 * HOUR)
    assert "; run again at " in sentence
    assert "(succeeded)" in sentence
    assert "(not over yet)" in sentence


async def test_of_a_long_history_only_as_much_is_read_as_is_asked_for(link: Link, scheduler: SchedulerService) -> None:
    life = await lived(link, scheduler, schedule=["* * * * *"])
    last = await last_hour(link)
    for minute in range(1, 400):
        await executed(life, last - timedelta(minutes=minute))
    known = await evidence.between(link, life.name, None, last, limit=20)
    assert len(known.runs) == 21
    assert known.floor == last - timedelta(minutes=21)
    found = [one for one in ledger(known, known.floor, last) if one.kind == "ran"]
    assert [one.first for one in found] == [last - timedelta(minutes=minute) for minute in range(20, 0, -1)]


async def test_why_it_was_missed_does_not_depend_on_where_the_ledger_ends(
    link: Link, scheduler: SchedulerService
) -> None:
    life = await lived(link, scheduler)
    last = await last_hour(link)
    await life.start()
    await life.stop()
    await link.run(
        "update runners set started_at = %(since)s, ended_at = %(until)s where host = %(name)s",
        {"since": last - 9 * HOUR, "until": last - 4 * HOUR, "name": life.name},
    )
    await skipped(life, last - 8 * HOUR, last - 6 * HOUR, "missed")
    await executed(life, last - 5 * HOUR)
    for until in (last - 6 * HOUR, last - 5 * HOUR, last):
        known = await evidence.between(link, life.name, last - 9 * HOUR, until)
        [missed] = [one for one in ledger(known, last - 9 * HOUR, until) if one.first == last - 8 * HOUR]
        assert missed.sentence == "did not run: missed: runners were there, so most likely none had a free slot"


async def test_nothing_about_a_name_is_looked_for_row_by_row(link: Link, scheduler: SchedulerService) -> None:
    """Each statement, on tables in which one name is a small part, goes by an index."""
    await link.run(
        "insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest) "
        "select 'n' || n % 20, t, 't', t, t, true, 'schedule', 'd' from generate_series(1, 20000) n, "
        "lateral (select timestamptz '2026-01-01' + n * interval '1 minute' as t) as at"
    )
    await link.run(
        "insert into task_skips (name, first, last, count, reason) "
        "select 'n' || n % 20, t, t, 1, 'missed' from generate_series(1, 20000) n, "
        "lateral (select timestamptz '2026-01-01' + n * interval '1 minute' as t) as at"
    )
    await link.run("analyze task_executions, task_skips")
    moment = datetime(2026, 1, 8, tzinfo=UTC)
    window = evidence.Window("n1", moment, moment, evidence.AROUND, evidence.KEEP)
    params = window.params(instants=[moment])
    for statement in ("SKIPS_BEFORE", "SKIPS_AFTER", "RUNS_BEFORE", "RUNS_AFTER", "RUNS_AT", "RERUNS", "CURSOR"):
        plan = "\n".join(row[0] for row in await link.run(f"explain {getattr(traces, statement)}", params))
        assert "Seq Scan on task_" not in plan, f"{statement}\n{plan}"


async def test_every_name_that_ever_was_is_known(link: Link, scheduler: SchedulerService) -> None:
    lives = [await lived(link, scheduler) for _ in range(3)]
    await lives[1].apply(None)
    assert await evidence.names(link) == sorted(life.name for life in lives)
    assert await evidence.is_known(link, lives[1].name)
    assert not await evidence.is_known(link, "other")


async def executed(
    life: Life,
    at: datetime,
    *,
    took: timedelta = timedelta(seconds=1),
    trigger: str = "schedule",
    replays: datetime | None = None,
) -> None:
    await life.link.run(
        "insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest, "
        "replays) values (%s, %s, 't', %s, %s, true, %s, 'd', %s)",
        [life.name, at, at, at + took, trigger, replays],
    )
    await life.link.run("update task_cursors set through = greatest(through, %s) where name = %s", [at, life.name])


async def skipped(life: Life, first: datetime, last: datetime, reason: str, detail: str | None = None) -> None:
    await life.link.run(
        "insert into task_skips (name, first, last, count, reason, detail) values (%s, %s, %s, 1, %s, %s)",
        [life.name, first, last, reason, detail],
    )
