"""Was anything lost, or done twice? One answer for every fault, from the outside.

It holds four accounts against each other: what was due (the oracle), what really ran (the journal), what the tables
hold, and what the program says about it (its ledger). What is found is told in lines; none means that all of it holds.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg

from faultkit.journal import Entry, Journal
from faultkit.oracle import due, seconds_of
from faultkit.program import Project
from faultkit.waiting import rows, until
from reconciler.db import evidence
from reconciler.db.link import Link
from reconciler.ledger import Verdict, ledger

Occurrence = tuple[str, datetime]
Interval = tuple[datetime, datetime]
TICK = timedelta(microseconds=1)
BY_SCHEDULE = ("schedule", "catch_up")
# What an apply decides against, and what a person or the task's own rules do.
# Until an apply has committed, runners decide by the spec before it; the moment it names is a little earlier.
APPLYING = timedelta(seconds=5)
ALWAYS = frozenset({"edited", "adopted", "removed", "created", "cancelled"})


@dataclass(frozen=True, slots=True)
class Revision:
    """A spec, in force for the instants after `since` up to `until`."""

    since: datetime
    until: datetime
    document: dict[str, Any]


@dataclass
class Books:
    """Everything that the tables hold, read in one moment."""

    now: datetime
    revisions: dict[str, list[Revision]]
    cursors: dict[str, datetime]
    executions: dict[Occurrence, dict[str, Any]]
    claims: dict[Occurrence, dict[str, Any]]
    skips: dict[str, list[dict[str, Any]]]
    pauses: list[dict[str, Any]]
    runners: set[Any]
    starts: dict[Occurrence, list[Entry]] = field(default_factory=lambda: collections.defaultdict(list))
    ends: dict[Occurrence, list[Entry]] = field(default_factory=lambda: collections.defaultdict(list))

    def spec_of(self, name: str, instant: datetime) -> dict[str, Any]:
        """The spec in force for an instant; the newest for what none was in force for, as a trigger."""
        found = [one.document for one in self.revisions[name] if one.since < instant <= one.until]
        return found[0] if found else self.revisions[name][-1].document

    def due(self, name: str) -> list[datetime]:
        """The instants that the oracle finds, up to now or as far as is decided."""
        end = max(self.now, self.cursors.get(name, self.now))
        revisions = self.revisions[name]
        return [at for one in revisions for at in due(one.document, one.since, min(one.until, end))]

    def due_before_an_edit_was_seen(self, name: str) -> set[datetime]:
        """What a spec named while the apply that replaced it was not committed: it may run, and need not."""
        return {at for one in self.revisions[name] for at in due(one.document, one.until, one.until + APPLYING)}

    def skipped(self, name: str) -> Iterator[tuple[datetime, dict[str, Any]]]:
        """Each instant that a skip covers, a range as the instants that the oracle finds in it."""
        for skip in self.skips.get(name, ()):
            if skip["first"] == skip["last"]:
                yield skip["first"], skip
            else:
                for one in self.revisions[name]:
                    low, high = max(skip["first"] - TICK, one.since), min(skip["last"], one.until)
                    for instant in due(one.document, low, high) if low < high else ():
                        yield instant, skip

    def is_paused(self, name: str, instant: datetime) -> bool:
        labels = self.spec_of(name, instant).get("labels") or {}
        for pause in self.pauses:
            ends = [end for end in (pause["ended_at"], pause["expires_at"]) if end]
            covers = pause["created_at"] <= instant and (not ends or instant < min(ends))
            mine = pause["name"] == name or (pause["selector"] and pause["selector"].items() <= labels.items())
            if covers and mine:
                return True
        return False


def check(
    database_url: str,
    journal: Journal | None = None,
    *,
    faults: Sequence[Interval] = (),
    is_drained: bool = True,
    grace: float = 3.0,
    names: Collection[str] | None = None,
) -> list[str]:
    """What is wrong, a line each.

    `faults`: when instants may have been missed, by PostgreSQL's clock. `is_drained`: nothing may be under way any
    more. `grace`: seconds after which a due instant has to be decided. `names`: only these.
    """
    books = _read(database_url)
    for entry in journal.entries() if journal else ():
        (books.starts if entry.what == "start" else books.ends)[entry.occurrence].append(entry)
    chosen = sorted(books.revisions if names is None else names)
    found: list[str] = []
    for name in chosen:
        found += _verdicts(books, name, grace)
        found += _reasons(books, name, faults)
        found += _lost(books, name)
        if journal:
            found += _unknown_runs(books, name)
            found += _held_by_pauses(books, name)
    for occurrence in sorted(books.starts.keys() | books.executions.keys()):
        if journal and occurrence[0] in chosen:
            found += _attempts(books, occurrence)
    found += _claims(books, is_drained, grace, chosen)
    return found + asyncio.run(_against_the_ledger(database_url, books, chosen))


def settle(database_url: str, seconds: float = 30) -> None:
    """Until every scheduled cursor has moved past this moment, and nobody who is gone is listed any more."""
    cursors = """
        select count(*) from task_cursors k join task_configs c using (name)
        where k.through < %s and c.spec -> 'schedule' <> '[]' and (c.spec ->> 'suspend') is distinct from 'true'"""
    begin: list[datetime] = []

    def is_settled() -> bool:
        begin[:] = begin or [rows(database_url, "select clock_timestamp()")[0][0]]
        return rows(database_url, cursors, [begin[0]]) == [(0,)]

    until(is_settled, seconds, "every cursor moves on")


def drain(project: Project, seconds: float = 30) -> None:
    """Nothing comes due any more, and what was is over: all specs suspended, no claim left."""
    project.suspend_all()
    until(
        lambda: rows(project.database_url, "select count(*) from task_claims") == [(0,)],
        seconds,
        "every claim ends",
    )


def _read(database_url: str) -> Books:
    with psycopg.connect(database_url) as connection:
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("set local timezone to 'UTC'")

        def table(name: str) -> list[dict[str, Any]]:
            cursor = connection.execute(f"select * from {name}".encode())
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        [[now]] = connection.execute("select clock_timestamp()").fetchall()
        skips: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
        for skip in table("task_skips"):
            skips[skip["name"]].append(skip)
        return Books(
            now=now,
            revisions=_revisions(table("task_revisions"), now),
            cursors={row["name"]: row["through"] for row in table("task_cursors")},
            executions={(row["name"], row["scheduled_for"]): row for row in table("task_executions")},
            claims={(row["name"], row["scheduled_for"]): row for row in table("task_claims")},
            skips=skips,
            pauses=[row for row in table("task_overrides") if row["kind"] == "pause"],
            runners={row["id"] for row in table("runners") if row["ended_at"] is None},
        )


def _revisions(table: Iterable[dict[str, Any]], now: datetime) -> dict[str, list[Revision]]:
    far = now + timedelta(days=3650)
    found: dict[str, list[Revision]] = collections.defaultdict(list)
    ordered = sorted(table, key=lambda row: (row["name"], row["applied_at"], row["id"]))
    for row, following in zip(ordered, [*ordered[1:], None], strict=True):
        end = row["removed_at"] or (following["applied_at"] if following and following["name"] == row["name"] else far)
        found[row["name"]].append(Revision(row["applied_at"], end, row["spec"]))
    return found


def _verdicts(books: Books, name: str, grace: float) -> Iterator[str]:
    """Each due instant has exactly one verdict, and nothing else by the schedule has one."""
    verdicts: collections.Counter[datetime] = collections.Counter()
    for table in (books.executions, books.claims):
        verdicts.update(at for (owner, at), row in table.items() if owner == name and row["trigger"] in BY_SCHEDULE)
    by_hand = {
        at
        for table in (books.executions, books.claims)
        for (owner, at), row in table.items()
        if owner == name and row["trigger"] not in BY_SCHEDULE
    }
    verdicts.update(at for at, _ in books.skipped(name))
    expected, may_be = set(books.due(name)), books.due_before_an_edit_was_seen(name)
    through = books.cursors.get(name)
    jitter = timedelta(seconds=seconds_of(str(books.revisions[name][-1].document.get("jitter") or "0s")))
    for instant in sorted(expected | verdicts.keys()):
        times = verdicts[instant]
        if times > 1:
            yield f"{name} {instant:%H:%M:%S.%f}: {times} verdicts"
        elif times and instant not in expected | may_be and not _is_wish(books, name, instant):
            yield f"{name} {instant:%H:%M:%S.%f}: has a verdict, and was not due"
        elif not times and instant in expected and instant not in by_hand:
            if through is not None and instant <= through:
                yield f"{name} {instant:%H:%M:%S.%f}: decided, and no row says how"
            elif instant + jitter + timedelta(seconds=grace) < books.now and not books.is_paused(name, books.now):
                yield f"{name} {instant:%H:%M:%S.%f}: nobody decided it, and it is {books.now:%H:%M:%S} by now"


def _is_wish(books: Books, name: str, instant: datetime) -> bool:
    """Whether that verdict is of what was asked for by hand or came after others, and waited in vain."""
    return any(
        at == instant and skip["reason"] in ("cancelled", "deadline", "paused", "overlap")
        for at, skip in books.skipped(name)
    )


def _reasons(books: Books, name: str, faults: Sequence[Interval]) -> Iterator[str]:
    """What was skipped may be skipped, by the rules of its task and by what went on."""
    for instant, skip in books.skipped(name):
        spec, reason = books.spec_of(name, instant), skip["reason"]
        at = f"{name} {instant:%H:%M:%S.%f}"
        if reason == "missed":
            if not any(since <= instant <= end for since, end in faults):
                yield f"{at}: missed, and nothing was wrong then"
            elif (
                spec.get("missed") == "all" and "only the newest" not in skip["detail"] and "late" not in skip["detail"]
            ):
                yield f"{at}: missed, and its task makes up for all"
        elif reason == "overlap" and spec.get("overlap") == "allow":
            yield f"{at}: skipped for an overlap that its task allows"
        elif reason == "paused" and not books.is_paused(name, instant):
            yield f"{at}: skipped as paused, and no pause covers it"
        elif reason == "deadline" and not (spec.get("deadline") or {}).get("start"):
            yield f"{at}: skipped for a deadline that its task does not have"
        elif reason not in {"missed", "overlap", "paused", "deadline"} | ALWAYS:
            yield f"{at}: skipped for {reason}"


def _lost(books: Books, name: str) -> Iterator[str]:
    """Of what `missed: latest` passed over, the newest is made up for once there is nothing newer."""
    instants = books.due(name)
    for skip in books.skips.get(name, ()):
        spec = books.spec_of(name, skip["last"])
        newer = any(at > skip["last"] for at in instants)
        if skip["reason"] == "missed" and spec.get("missed", "latest") == "latest" and not newer:
            yield f"{name} {skip['last']:%H:%M:%S.%f}: missed, and it is the newest"


def _unknown_runs(books: Books, name: str) -> Iterator[str]:
    """What started is known: by a row, or by a claim."""
    for occurrence, starts in sorted(books.starts.items()):
        if occurrence[0] == name and occurrence not in books.executions and occurrence not in books.claims:
            skipped = [skip["reason"] for at, skip in books.skipped(name) if at == occurrence[1]]
            why = f"is skipped as {skipped[0]}" if skipped else "has no row"
            yield f"{name} {occurrence[1]:%H:%M:%S.%f}: started {len(starts)} times, and {why}"


def _held_by_pauses(books: Books, name: str) -> Iterator[str]:
    for (owner, instant), starts in sorted(books.starts.items()):
        if owner == name and starts[0].trigger in BY_SCHEDULE and books.is_paused(name, instant):
            yield f"{name} {instant:%H:%M:%S.%f}: started, though it came due inside a pause"


def _attempts(books: Books, occurrence: Occurrence) -> Iterator[str]:
    """No attempt twice, none too many, and only who held the claim says that it succeeded."""
    name, instant = occurrence
    at = f"{name} {instant:%H:%M:%S.%f}"
    by_attempt: dict[int, list[Entry]] = collections.defaultdict(list)
    for start in books.starts.get(occurrence, ()):
        by_attempt[start.attempt].append(start)
    for attempt, starts in sorted(by_attempt.items()):
        if len(starts) > 1:
            who = ", ".join(f"token {one.token[:8]} pid {one.pid}" for one in starts)
            yield f"{at}: attempt {attempt} started {len(starts)} times ({who})"
    most = max(by_attempt, default=0)
    allowed = int((books.spec_of(name, instant).get("retries") or {}).get("attempts") or 1)
    if most > allowed:
        yield f"{at}: {most} attempts, and its task has {allowed}"
    row = books.executions.get(occurrence)
    if row is None:
        return
    if most > len(row["attempts"]) + 1:
        yield f"{at}: attempt {most} started, and its row tells of {len(row['attempts']) + 1}"
    if not row["is_success"]:
        return
    token = str(row["token"])
    last = by_attempt.get(len(row["attempts"]) + 1, [])
    if not any(start.token == token for start in last):
        yield f"{at}: succeeded by token {token[:8]}, which never started it"
    if others := [start for start in last if start.token != token]:
        yield f"{at}: succeeded by token {token[:8]}, and {others[0].token[:8]} started it too"
    if not any(end.token == token for end in books.ends.get(occurrence, ())):
        yield f"{at}: succeeded by token {token[:8]}, which never ended it"


def _claims(books: Books, is_drained: bool, grace: float, names: Collection[str]) -> Iterator[str]:
    """What is under way is in somebody's hands, or about to be; once all is over there is none."""
    late = books.now - timedelta(seconds=grace)
    for (name, instant), claim in sorted(books.claims.items()):
        at = f"{name} {instant:%H:%M:%S.%f}"
        if name not in names:
            continue
        if (name, instant) in books.executions:
            yield f"{at}: has a row and a claim"
        if is_drained:
            yield f"{at}: still has a claim"
        elif claim["runner_id"] is not None and claim["runner_id"] not in books.runners:
            yield f"{at}: is held by a runner that is gone"
        elif claim["runner_id"] is None and claim["not_before"] < late and not _is_behind_another(books, name, instant):
            yield f"{at}: waits since {claim['not_before']:%H:%M:%S}"


def _is_behind_another(books: Books, name: str, instant: datetime) -> bool:
    return any(owner == name and at != instant for owner, at in books.claims)


async def _against_the_ledger(database_url: str, books: Books, names: Iterable[str]) -> list[str]:
    """The program's own account: each instant once, as its row has it."""
    found: list[str] = []
    link = Link(database_url)
    try:
        for name in names:
            since = books.revisions[name][0].since
            end = max(books.now, books.cursors.get(name, books.now))
            known = await evidence.between(link, name, since, end)
            kinds: dict[datetime, str] = {}
            for verdict in ledger(known, since, books.cursors.get(name, end)):
                if "nothing recorded says why" in verdict.sentence:
                    found.append(f"{name} {verdict.first:%H:%M:%S.%f}: the ledger says: {verdict.sentence}")
                for instant in _expanded(books, name, verdict):
                    if instant in kinds:
                        found.append(f"{name} {instant:%H:%M:%S.%f}: two verdicts in the ledger")
                    kinds[instant] = verdict.kind
            found += _compared(books, name, kinds)
    finally:
        await link.close()
    return found


def _expanded(books: Books, name: str, verdict: Verdict) -> list[datetime]:
    if not verdict.is_scheduled or verdict.first == verdict.last:
        return [verdict.first]
    return [at for at in books.due(name) if verdict.first <= at <= verdict.last]


def _compared(books: Books, name: str, kinds: dict[datetime, str]) -> Iterator[str]:
    expected = {
        at: "ran" if row["is_success"] else "failed" for (owner, at), row in books.executions.items() if owner == name
    }
    expected |= {
        at: {"missed": "missed", "paused": "paused"}.get(skip["reason"], "skipped") for at, skip in books.skipped(name)
    }
    for instant, kind in sorted(expected.items()):
        # Between two reads a claim may have become a row; never the other way.
        if instant <= books.cursors.get(name, books.now) and kinds.get(instant) != kind:
            yield f"{name} {instant:%H:%M:%S.%f}: the tables say {kind}, the ledger {kinds.get(instant, 'nothing')}"
