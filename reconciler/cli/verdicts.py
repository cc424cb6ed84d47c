"""How verdicts and the rows that they rest on look: lines and columns for a person, plain values for a program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.cli.output import Column
from reconciler.cli.words import exact
from reconciler.durations import span
from reconciler.lines import first_line

if TYPE_CHECKING:
    from reconciler.db.provenance import Culprit
    from reconciler.ledger import Evidence, Verdict

# What a person would call each kind of row.
ROWS = {
    "Revision": "spec",
    "Run": "execution",
    "Claimed": "claim",
    "Skipped": "skip",
    "Override": "pause",
    "Presence": "runner",
    "Outage": "outage",
}
COLOURS = {"ran": "green", "failed": "red", "missed": "red", "due": "yellow", "running": "cyan", "waiting": "cyan"}
LABEL = 11


def as_json(verdict: Verdict, culprit: Culprit | None = None) -> dict[str, Any]:
    """A verdict with its rows, each with its kind first; `culprit`: the commit that it is the first failure after."""
    whole = {
        "verdict": verdict.kind,
        "first": verdict.first,
        "last": verdict.last,
        "count": verdict.count,
        "is_scheduled": verdict.is_scheduled,
        "trigger": verdict.trigger,
        "sentence": verdict.sentence,
        "first_failure_after": asdict(culprit) if culprit else None,
    }
    return {**whole, "evidence": [_row(row) for row in verdict.rows]}


def columns(zone: str) -> list[Column]:
    """A ledger's: an instant or a range, the verdict, and why."""
    return [
        Column(f"due ({zone})", lambda row: _moments(row, zone), lambda row: "bold"),
        Column("instants", _count, usual="1"),
        Column("verdict", lambda row: row["verdict"], lambda row: COLOURS.get(row["verdict"], "")),
        Column("trigger", lambda row: row["trigger"] or "", usual=""),
        Column("why", lambda row: row["sentence"], gives=True),
    ]


def lines(evidence: Evidence, verdict: Verdict, culprit: Culprit | None = None) -> Iterator[str]:
    """`NAME at MOMENT did not run: …`, and indented a line for each row; `culprit` as in `as_json`."""
    utc = "" if evidence.zone == "UTC" else f" ({exact(verdict.first)})"
    # What is said of now is said of the name, as where no instant is to come.
    moment = f" at {exact(verdict.first, evidence.zone)}{utc}" if verdict.first != evidence.now else ""
    yield f"{evidence.name}{moment} {verdict.sentence}"
    for row in verdict.rows:
        yield f"  {ROWS[type(row).__name__]:<{LABEL}}{_said(row, evidence.zone)}"
    if culprit:
        from reconciler.cli.history import first_failure_words

        yield f"  {'since':<{LABEL}}{first_failure_words(asdict(culprit))}"


def _row(row: Any) -> dict[str, Any]:
    kind = ROWS[type(row).__name__]
    if kind != "spec":
        return {"row": kind, **asdict(row)}
    spec = row.spec
    said = {"schedule": list(spec.schedule), "timezone": spec.timezone, "suspend": spec.suspend} if spec else {}
    named = ("digest", "commit", "author", "subject", "actor", "applied_at", "ended_at", "is_removed")
    removal = asdict(row.removal) if row.removal else None
    return {"row": kind, **{key: getattr(row, key) for key in named}, "removal": removal, **said}


def _said(row: Any, zone: str) -> str:
    kind = ROWS[type(row).__name__]
    if kind == "spec":
        author = ": ".join(filter(None, (row.author, row.subject)))
        what = row.commit or f"applied by {row.actor or 'somebody'}"
        return f"{what}{f' ({author})' if author else ''}, {_from_to(row.applied_at, row.ended_at, zone)}"
    if kind == "execution":
        state = "succeeded" if row.is_success else f"failed: {first_line(row.error)}"
        instant, ran = exact(row.scheduled_for, zone), _from_to(row.started_at, row.finished_at, zone)
        return f"{instant} ({row.trigger}), {ran}, {state}"
    if kind == "claim":
        state = f"since {exact(row.started_at, zone)}" if row.started_at else "waiting"
        return f"{exact(row.scheduled_for, zone)} ({row.trigger}), {state}{f' on {row.runner}' if row.runner else ''}"
    if kind == "skip":
        return f"{_instants(row, zone)}: {': '.join(filter(None, (row.reason, row.detail)))}"
    if kind == "pause":
        return f"{_from_to(row.since, row.until, zone)}, by {row.actor}{f': {row.reason}' if row.reason else ''}"
    if kind == "runner":
        return f"{row.runner}, {_from_to(row.since, row.until, zone)}{f' ({row.ending})' if row.ending else ''}"
    return f"{row.runner}: {row.what}, {_from_to(row.began_at, row.ended_at, zone)}"


def _from_to(since: datetime, until: datetime | None, zone: str) -> str:
    if until is None:
        return f"since {exact(since, zone)}"
    return f"from {exact(since, zone)} to {exact(until, zone)} ({span(until - since)})"


def _instants(row: Any, zone: str) -> str:
    if row.first == row.last:
        return exact(row.first, zone)
    return f"{_number(row.count)} instants from {exact(row.first, zone)} to {exact(row.last, zone)}"


def _moments(row: dict[str, Any], zone: str) -> str:
    first, last = (exact(row[key], zone).removesuffix(f" {zone}") for key in ("first", "last"))
    return first if first == last else f"{first} to {last}"


def _count(row: dict[str, Any]) -> str:
    return _number(row["count"])


def _number(count: int | None) -> str:
    return "many" if count is None else f"{count:,}"


def newest_first(verdicts: Sequence[Verdict], limit: int) -> list[Verdict]:
    """The newest `limit`, by their last instant."""
    return sorted(verdicts, key=lambda one: (one.last, one.first), reverse=True)[:limit]
