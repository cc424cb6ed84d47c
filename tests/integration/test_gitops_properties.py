"""Whatever people and machines do to the repository and to both stores: it converges, and the guards hold.

A life is a list of what happens, in any order: commits, force-pushes, edits by hand in either store, a pass that dies
between the two, pauses, two applies at once. Real git, real PostgreSQL, real Redis; what must hold is asked after each.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler.db import configs, overrides, tables
from reconciler.db.link import Link
from reconciler.errors import ReconcilerError
from reconciler.gitrepo import origin_of
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.settings import SourceSettings
from reconciler.specfiles import SpecReader
from reconciler.sync import reconcile as reconciling
from reconciler.sync.options import options_of
from reconciler.sync.reconcile import Pass, Request, reconcile
from reconciler.sync.rollback import Rollback, release, rollback

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git command here")

NAMES = tuple("abcdef")
SCHEDULES = ("0 2 * * *", "*/5 * * * *", "@every 1h")
PERSON = {"NAME": "Ada", "EMAIL": "ada@example.org"}
IDENTITY = {f"GIT_{role}_{key}": text for role in ("AUTHOR", "COMMITTER") for key, text in PERSON.items()}

NAME = st.sampled_from(NAMES)
ACTIONS = st.one_of(
    st.tuples(st.just("edit"), NAME, st.sampled_from(SCHEDULES), st.integers(0, 5)),
    st.tuples(st.just("edit_all"), st.integers(0, 5)),
    st.tuples(st.just("remove"), st.lists(NAME, min_size=1, max_size=4, unique=True)),
    st.tuples(st.just("spoil"), NAME),
    st.tuples(st.just("force_push")),
    st.tuples(st.just("allow_rewind")),
    st.tuples(
        st.just("tamper"), NAME, st.sampled_from(["spec", "schedule", "digest", "path", "source", "row", "cursor"])
    ),
    st.tuples(st.just("add_by_hand"), NAME),
    st.tuples(st.just("days_pass")),
    st.tuples(st.just("set_another_kind"), st.sampled_from(["status:{id}", "due:default", "configs", "epoch", "seen"])),
    st.tuples(st.just("lose_in_redis"), NAME),
    st.tuples(st.just("flush")),
    st.tuples(st.just("die"), st.sampled_from(["after-lock", "after-apply", "after-commit"])),
    st.tuples(st.just("pause"), NAME),
    st.tuples(st.just("resume"), NAME),
    st.tuples(st.just("race")),
    st.tuples(st.just("go_back_and_let_go")),
)
TAMPERING = {
    "spec": """update task_configs set spec = jsonb_set(spec, '{timeout}', '"7s"') where name = %(name)s""",
    "schedule": """
        update task_configs set spec = jsonb_set(spec, '{schedule}', '["* * * * *"]') where name = %(name)s""",
    "source": "update task_configs set source = 'nobody' where name = %(name)s",
    "digest": "update task_configs set digest = 'x' where name = %(name)s",
    "path": "update task_configs set path = 'elsewhere.yaml' where name = %(name)s",
    "row": "delete from task_configs where name = %(name)s",
    "cursor": "delete from task_cursors where name = %(name)s",
}
BY_HAND = """
insert into task_configs (name, source, spec, digest, path)
select 'by_hand', source, spec, digest, path from task_configs where name = %(name)s on conflict do nothing
"""
INSTANTS = "select name, spec -> 'schedule' from task_configs"
MOST_DELETED = 2


class Died(BaseException):
    """The process is gone, at a failpoint."""


class Life:
    """A repository and both stores, and what must be so in them."""

    def __init__(self, directory: Path, link: Link, redis: RedisServiceManager, other: Link) -> None:
        self.directory, self.link, self.redis = directory, link, redis
        # Each of two services reads for itself, over a connection of its own, and keeps what has not changed.
        self.reader, self.other = SpecReader(directory / "specs"), (SpecReader(directory / "specs"), other)
        self.scheduler = SchedulerService(redis)
        self.specs: dict[str, str] = {}
        self.spoiled: set[str] = set()
        self.removed_by: dict[str, str] = {}
        self.paused: set[str] = set()
        self.is_rewound = False
        self.through: dict[str, datetime] = {}
        self.git("init", "--quiet", "-b", "main")
        (directory / "specs").mkdir()
        (directory / "README").write_text("specs\n")
        self.commit("begin")

    def git(self, *arguments: str) -> str:
        environment = os.environ | IDENTITY | {"GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *arguments], cwd=self.directory, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, subject: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")

    # ── what happens ──

    async def edit(self, name: str, schedule: str, number: int) -> None:
        self._write(name, f'task: t\nschedule: "{schedule}"\nparams: {{n: {number}}}\n')
        self.commit(f"edit {name}")

    async def edit_all(self, number: int) -> None:
        for name in NAMES:
            self._write(name, f"task: t\nparams: {{n: {number}}}\n")
        self.commit("edit all")

    async def remove(self, names: list[str]) -> None:
        for name in names:
            self._file(name).unlink(missing_ok=True)
            self.spoiled.discard(name)
        commit = self.commit(f"remove {' '.join(names)}")
        self.removed_by |= {name: commit for name in names if self.specs.pop(name, None)}

    async def spoil(self, name: str) -> None:
        self._file(name).write_text("task: [")
        self.spoiled.add(name)
        self.commit(f"spoil {name}")

    async def force_push(self) -> None:
        """The last commit is made anew, as by an amend: what was applied is no longer among its ancestors."""
        before = self.git("rev-parse", "HEAD")
        (self.directory / "README").write_text(f"instead of {before}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--amend", "-m", f"instead of {before[:7]}")
        after = self.git("rev-parse", "HEAD")
        self.removed_by = {name: after if commit == before else commit for name, commit in self.removed_by.items()}
        self.is_rewound = self.is_rewound or await self._reached() == before

    async def allow_rewind(self) -> None:
        await self.pass_(allow_rewind=True, reason="the branch was made anew")

    async def tamper(self, name: str, how: str) -> None:
        await self.link.run(TAMPERING[how], {"name": name})

    async def add_by_hand(self, name: str) -> None:
        await self.link.run(BY_HAND, {"name": name})

    async def days_pass(self) -> None:
        """Without any runner: what was due meanwhile is still to be decided."""
        await self.link.run("update task_cursors set through = through - interval '2 days'")
        self.through = {}

    async def set_another_kind(self, key: str) -> None:
        for config_id in await self._ids(*NAMES):
            await self.redis.client.set(f"{self.redis.prefix}schedule:{key.format(id=config_id)}", "x")

    async def lose_in_redis(self, name: str) -> None:
        for config_id in await self._ids(name):
            await self.redis.client.delete(f"{self.redis.prefix}schedule:status:{config_id}")

    async def flush(self) -> None:
        if keys := [key async for key in self.redis.client.scan_iter(f"{self.redis.prefix}*")]:
            await self.redis.client.delete(*keys)

    async def die(self, step: str) -> None:
        with _dying(step):
            try:
                await self.pass_()
            except Died:
                return

    async def pause(self, name: str) -> None:
        await overrides.pause(self.link, name, "maintenance", "bob", None)
        self.paused.add(name)

    async def resume(self, name: str) -> None:
        await overrides.resume(self.link, name)
        self.paused.discard(name)

    async def go_back_and_let_go(self) -> None:
        """A rollback that is released: what is in force is not what git says, and nobody changed it by hand."""
        wish = Rollback("previous", options_of(SourceSettings()), "bob")
        with suppress(ReconcilerError):  # where there is nothing to go back to
            await rollback(self.other[1], self.scheduler, wish)
            await release(self.other[1], "default", "bob")

    async def race(self) -> None:
        await asyncio.gather(self.pass_(), self.pass_(is_other=True))

    # ── a pass, and what it may do ──

    async def pass_(self, is_other: bool = False, **allowed: Any) -> Pass:
        source = SourceSettings()
        reader, link = self.other if is_other else (self.reader, self.link)
        origin = origin_of(source, self.directory)
        revision = await asyncio.to_thread(origin.look)
        read = reader.read()
        before = dict(await link.run(INSTANTS))
        [(since,)] = await link.run("select clock_timestamp()")
        request = Request(options_of(source, **allowed), "ada", revision, origin)
        outcome = await reconcile(read, link, self.scheduler, request)
        self._judge(outcome)
        assert outcome.trouble is None
        await self._names_no_instant_of_the_past(before, since)
        if allowed and not read.faults:
            self.is_rewound = False
        return outcome

    async def _names_no_instant_of_the_past(self, before: dict[str, Any], since: datetime) -> None:
        """What is new, or has another schedule, is decided up to the pass that brought it."""
        through = dict(await self.link.run("select name, through from task_cursors"))
        for name, schedule in await self.link.run(INSTANTS):
            if name not in before or before[name] != schedule:
                assert through[name] >= since, f"{name} may fire the past"

    def _judge(self, outcome: Pass) -> None:
        changes = outcome.plan.changes if outcome.plan else ()
        if self.spoiled:
            assert outcome.plan is None or not changes, "with a fault nothing is applied"
        for change in changes:
            if change.verb == "delete" and not change.is_drift:
                assert change.removal is not None, f"{change.name} was deleted without evidence"
                assert change.removal.commit == self.removed_by[change.name]
        deleted = sum(change.verb == "delete" for change in changes)
        assert deleted <= MOST_DELETED

    async def settle(self) -> None:
        """Passes until nothing changes, at most two: then everything must be as git says, as far as guards allow."""
        first = await self.pass_()
        if first.plan and first.plan.refusals and first.plan.has_changes:
            first = await self.pass_()  # what was created counts in the words of the refusal only from now on
        before = await self._everything()
        second = await self.pass_()
        assert await self._everything() == before, "a second pass changes nothing"
        assert second.plan is None or not second.plan.changes
        await self._holds(first)

    async def _holds(self, outcome: Pass) -> None:
        rows = {config.name: config for config in await configs.load(self.link)}
        refused = {refusal.what for refusal in outcome.plan.refusals} if outcome.plan else set()
        assert ("rewind" in refused) == (self.is_rewound and not self.spoiled)
        if not self.spoiled and not self.is_rewound:
            held_back = {name for refusal in (outcome.plan.refusals if outcome.plan else ()) for name in refusal.names}
            assert set(rows) == set(self.specs) | held_back
            for name, text in self.specs.items():
                assert rows[name].spec["params"] == {"n": int(text.rpartition("n: ")[2][0])}
                assert rows[name].spec["timeout"] is None
                assert rows[name].path == f"{name}.yaml"
        await self._nothing_of_the_past_is_due(rows)
        status = await self.scheduler.status([row.id for row in rows.values()])
        for name, row in rows.items():
            assert status[row.id]["digest"] == row.digest
            assert (status[row.id]["state"] == "paused") == (name in self.paused)

    async def _nothing_of_the_past_is_due(self, rows: Any) -> None:
        found = dict(await self.link.run("select name, through from task_cursors"))
        if not self.spoiled and not self.is_rewound:
            assert rows.keys() <= found.keys()
        for name in rows.keys() & found.keys():  # without a cursor nothing fires
            assert found[name] >= self.through.get(name, found[name]), f"the cursor of {name} went back"
        self.through |= found
        assert await self.link.run("select name from task_claims") == []

    # ── asked of the stores ──

    async def _everything(self) -> list[Any]:
        kept: list[Any] = []
        for table in ("task_configs", "task_cursors", "task_revisions", "task_skips", "syncs", "sources", "drifts"):
            kept += await self.link.run(f"select t.xmin::text, t::text from {table} t order by 2")
        return [*kept, await self.scheduler.status(await self._ids(*NAMES)), await self.scheduler.epoch()]

    async def _ids(self, *names: str) -> list[int]:
        return [config.id for config in await configs.load(self.link, names)]

    async def _reached(self) -> str | None:
        rows = await self.link.run("select revision from sources")
        return rows[0][0] if rows else None

    def _file(self, name: str) -> Path:
        return self.directory / "specs" / f"{name}.yaml"

    def _write(self, name: str, text: str) -> None:
        self._file(name).write_text(text)
        self.specs[name] = text
        self.spoiled.discard(name)


@contextmanager
def _dying(step: str) -> Iterator[None]:
    def failpoint(name: str) -> None:
        if name == step:
            raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconciling, "failpoint", failpoint)
        yield


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
# Each is what one of the guards is for.
@example(happened=[("edit_all", 1), ("remove", ["a", "b", "c"])])
@example(
    happened=[("edit_all", 1), ("remove", ["a"]), ("force_push",), ("edit", "a", "0 2 * * *", 1), ("allow_rewind",)]
)
@example(
    happened=[("edit", "a", "0 2 * * *", 1), ("days_pass",), ("edit", "a", "@every 1h", 1), ("tamper", "a", "row")]
)
@example(happened=[("edit_all", 1), ("edit", "a", "0 2 * * *", 2), ("go_back_and_let_go",), ("race",)])
@given(happened=st.lists(ACTIONS, min_size=1, max_size=10))
def test_whatever_happens_it_converges_and_the_guards_hold(
    happened: list[tuple[Any, ...]], database_url: str, redis_url: str, redis_prefix: str
) -> None:
    async def live(directory: Path) -> None:
        link, other, redis = Link(database_url), Link(database_url), RedisServiceManager(redis_url, redis_prefix)
        try:
            every = ", ".join(table.name for table in tables.metadata.sorted_tables)
            await link.run(f"truncate {every} restart identity")
            life = Life(directory, link, redis, other)
            await life.flush()
            for what, *arguments in happened:
                await getattr(life, what)(*arguments)
                await life.settle()
        finally:
            await link.close()
            await other.close()
            await redis.close()

    with TemporaryDirectory() as directory:
        asyncio.run(live(Path(directory)))
