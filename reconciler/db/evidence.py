"""All that is known of one name around an instant, or in a range: what the ledger makes its verdicts of.

Each part by an index and with a limit, whatever the length of the history. What is decided is read before its rows,
and claims before what becomes of them, so that nothing falls between two statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.db import traces
from reconciler.db.link import Link, Row, Statements
from reconciler.errors import ReconcilerError
from reconciler.ledger import Claimed, Evidence, Outage, Override, Presence, Revision, Run, Skipped
from reconciler.ledger.evidence import KEEP, Removal
from reconciler.ledger.skipping import named_run
from reconciler.occurrences import TICK
from reconciler.spec import TaskSpec
from reconciler.spec.by_digest import spec_of

# Around an instant so many rows of each kind are read on either side of it.
AROUND = 20
# No more rows of a kind than this are looked at.
MOST = 100_000
MOST_REVISIONS = 1_000
MOST_RUNNERS = 1_000
# Single skips may begin inside a range of them, so a range is looked for this far back.
BEHIND = 100
# How long after an instant a runner that was away is looked for.
REACH = timedelta(hours=25)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# A live runner that has not been seen for this long, or for its lease, was gone from when it was seen last.
LEASES = 2


@dataclass(frozen=True, slots=True)
class Window:
    """Which instants are asked for: those in (since, until], or the one where both are the same."""

    name: str
    since: datetime
    until: datetime
    limit: int
    keep: timedelta

    @property
    def is_one(self) -> bool:
        return self.since == self.until

    def params(self, **more: Any) -> dict[str, Any]:
        given = {"name": self.name, "since": self.since, "until": self.until, "limit": self.limit + 1}
        return {**given, "is_one": self.is_one, "behind": BEHIND, **more}


async def around(link: Link, name: str, instant: datetime | None = None, *, keep: timedelta = KEEP) -> Evidence:
    """What bears on one instant (None: now), and on its neighbours. `keep`: as in `Evidence`."""
    async with link.transaction() as tx:
        seen = (await tx.run(traces.CURSOR, {"name": name}))[0]
        at = instant or seen[0]
        return await _read(tx, Window(name, at, at, AROUND, keep), seen)


async def between(
    link: Link, name: str, since: datetime | None, until: datetime | None, *, limit: int = MOST, keep: timedelta = KEEP
) -> Evidence:
    """What bears on the instants in (since, until], by default all up to now; of each kind the newest `limit` rows.

    Only beyond `floor` of the answer is it complete: `since`, the first spec, or where there are more rows than that.
    """
    async with link.transaction() as tx:
        seen = (await tx.run(traces.CURSOR, {"name": name}))[0]
        end = until or seen[0]
        start = min(since or BEGINNING, end - TICK)
        return await _read(tx, Window(name, start, end, limit, keep), seen)


async def is_known(link: Statements, name: str) -> bool:
    """Whether there is a spec of that name, or ever was one."""
    [(found,)] = await link.run(traces.IS_KNOWN, {"name": name})
    return bool(found)


async def names(link: Statements) -> list[str]:
    """Every name that ever had a spec."""
    return [name for (name,) in await link.run(traces.NAMES)]


async def _read(tx: Statements, window: Window, seen: Row) -> Evidence:
    now, through, oldest = seen
    params = window.params()
    revisions = await _revisions(tx, window)
    claims = [_claimed(row) for row in await tx.run(traces.CLAIMS, {**params, "limit": MOST_REVISIONS})]
    skips = await tx.run(traces.SKIPS_BEFORE, params)
    rows = await tx.run(traces.RUNS_BEFORE, params)
    floor = None if window.is_one else _floor(window, rows, skips)
    if window.is_one:
        skips += await tx.run(traces.SKIPS_AFTER, params)
        rows += await tx.run(traces.RUNS_AFTER, params)
    runs = {row[0]: _run(row) for row in rows}
    for row in await _named(tx, window, runs, claims, skips):
        runs.setdefault(row[0], _run(row))
    end = max([window.until, *(row[1] for row in skips if row[0] <= window.until <= row[1])])
    if not window.is_one:
        # What ran next says by when the last of the range was decided.
        for row in await tx.run(traces.RUNS_AFTER, {**params, "until": end, "limit": AROUND}):
            runs.setdefault(row[0], _run(row))
    reach = window.params(since=floor or window.since, until=min(now, end + REACH))
    return Evidence(
        name=window.name,
        now=now,
        through=through,
        revisions=tuple(revisions),
        runs=tuple(runs[key] for key in sorted(runs)),
        claims=tuple(claims),
        skips=tuple(sorted((Skipped(*row) for row in skips), key=lambda one: one.first)),
        pauses=await _pauses(tx, {**reach, "until": max(now, window.until)}, revisions),
        presences=await _presences(tx, reach, revisions),
        outages=tuple(Outage(*row) for row in await tx.run(traces.OUTAGES, {**reach, "limit": MOST_RUNNERS})),
        floor=floor,
        oldest=oldest,
        keep=window.keep,
    )


async def _revisions(tx: Statements, window: Window) -> list[Revision]:
    rows = await tx.run(traces.REVISIONS, window.params(around=AROUND, limit=MOST_REVISIONS))
    starts = [row[2] for row in rows][1:]
    return [_revision(row, following) for row, following in zip(rows, [*starts, None], strict=bool(rows))]


def _revision(row: Row, following: datetime | None) -> Revision:
    digest, document, applied_at, removed_at, commit, author, subject, actor, *removal, is_told = row
    spec: TaskSpec | None
    try:
        spec = spec_of(digest, document)
    except ReconcilerError:
        spec = None
    return Revision(
        spec,
        digest,
        applied_at,
        removed_at or following,
        removed_at is not None,
        commit,
        author,
        subject,
        actor,
        removal=Removal(*removal) if removed_at and is_told else None,
    )


def _claimed(row: Row) -> Claimed:
    claim = Claimed(*row)
    return replace(claim, attempts=tuple(claim.attempts))


def _run(row: Row) -> Run:
    run = Run(*row)
    return replace(run, attempts=tuple(run.attempts))


def _floor(window: Window, runs: Sequence[Row], skips: Sequence[Row]) -> datetime:
    """Beyond which moment both kinds are complete; both are newest first, and of `limit` + 1 rows one is too many."""
    found = [window.since]
    found += [runs[window.limit][0]] if len(runs) > window.limit else []
    found += [skips[window.limit][1]] if len(skips) > window.limit else []
    return max(found)


async def _named(
    tx: Statements, window: Window, runs: dict[datetime, Run], claims: Sequence[Claimed], skips: Sequence[Row]
) -> list[Row]:
    """The runs that others name: what collided with a skip, what a rerun replays, and the reruns of these."""
    wanted = {moment for row in skips if (moment := named_run(row[4])) is not None}
    replaying: list[Run | Claimed] = [*runs.values(), *claims]
    wanted |= {one.replays for one in replaying if one.replays}
    wanted -= runs.keys()
    params = {"name": window.name, "limit": MOST_REVISIONS}
    found = await tx.run(traces.RUNS_AT, {**params, "instants": sorted(wanted)}) if wanted else []
    instants = sorted({*runs, *([window.until] if window.is_one else [])})
    return found + (await tx.run(traces.RERUNS, {**params, "instants": instants}) if instants else [])


async def _pauses(tx: Statements, params: dict[str, Any], revisions: Sequence[Revision]) -> tuple[Override, ...]:
    """Those of the name, and those by label that a spec of it had while they lasted."""
    limited = {**params, "limit": MOST_REVISIONS}
    found = [Override(*row) for row in await tx.run(traces.OF_NAME, limited)]
    by_label = [Override(*row) for row in await tx.run(traces.OF_LABELS, limited)]
    found += [one for one in by_label if any(_is_covered(revision, one) for revision in revisions)]
    return tuple(sorted(found, key=lambda one: one.since))


def _is_covered(revision: Revision, pause: Override) -> bool:
    is_then = (pause.until is None or revision.applied_at < pause.until) and (
        revision.ended_at is None or revision.ended_at >= pause.since
    )
    labels = revision.spec.labels if revision.spec else {}
    return is_then and all(labels.get(key) == value for key, value in (pause.selector or {}).items())


async def _presences(tx: Statements, params: dict[str, Any], revisions: Sequence[Revision]) -> tuple[Presence, ...]:
    specs = [one.spec for one in revisions if one.spec]
    asked = {
        "until": params["until"],
        "tasks": sorted({spec.task for spec in specs}),
        "queues": sorted({spec.queue for spec in specs}),
        "leases": LEASES,
        "limit": MOST_RUNNERS,
    }
    return tuple(sorted((Presence(*row) for row in await tx.run(traces.RUNNERS, asked)), key=lambda one: one.since))
