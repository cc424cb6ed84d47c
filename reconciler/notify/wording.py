"""How a notice reads: one line that says it all, and below it what to look at. Values in, text out.

What a task said is masked before it is stored; nothing here knows a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from reconciler.db.incidents import About, Incident
from reconciler.lines import cut, first_line

Phase = Literal["opening", "closing", "both"]

SUBJECT = 140
DETAIL = 1000


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `mood` is apprise's: `failure`, `warning` or `success`."""

    subject: str
    body: str
    mood: Literal["failure", "warning", "success", "info"]


def phase_of(incident: Incident, on: list[str] | tuple[str, ...]) -> Phase | None:
    """Which notice is due, by what the spec wants to hear; None: nothing is left to tell.

    What was over before anybody was told is told in one message. A silence is told whoever asked for it.
    """
    is_wanted = incident.kind == "silence" or incident.kind in on
    opens = is_wanted and incident.opening_told_at is None
    if incident.closed_at is None:
        return "opening" if opens else None
    if opens:
        return "both"
    return "closing" if "recovery" in on and incident.closing_told_at is None else None


def message(incident: Incident, about: About, phase: Phase) -> Message:
    """The notice of this phase."""
    what, name = first_line(incident.detail, SUBJECT), incident.name
    over = first_line(incident.closing, SUBJECT) or "it is over"
    good = over.startswith("succeeded")
    if phase == "closing":
        subject = f"{name} has recovered: {over}" if good else f"{name}: no longer watched: {over}"
    else:
        # What the watcher found is a sentence about the name; of a failure there is only the error.
        too = " and has recovered" if phase == "both" and good else ""
        subject = f"{name} failed{too}: {what}" if incident.kind == "failure" else f"{name} {what}{too}"
    mood: Literal["failure", "warning", "success", "info"] = "failure" if incident.kind == "failure" else "warning"
    if phase == "closing" or (phase == "both" and good):
        mood = "success" if good else "info"
    return Message(cut(subject, SUBJECT), "\n".join(_body(incident, about, phase)), mood)


def test_message(target: str) -> Message:
    """What `reconciler notify test` sends."""
    body = "Somebody typed: reconciler notify test " + target
    return Message("reconciler: a test", f"{body}\nNotices to '{target}' arrive.", "info")


def _body(incident: Incident, about: About, phase: Phase) -> list[str]:
    name, instant = incident.name, incident.scheduled_for if incident.kind != "silence" else None
    lines = [cut(incident.detail or incident.kind, DETAIL), ""]
    if instant:
        lines.append(f"instant       {_stamp(instant)}")
    if about.attempts is not None:
        lines.append(f"attempts      {len(about.attempts) + 1}")
        lines.append(f"revision      {about.revision or 'not from git'}")
        lines.append(f"runner        {about.runner or 'unknown'}")
    lines.append(f"since         {_second(incident.opened_at)}")
    if incident.closed_at and phase != "opening":
        lines.append(f"over          {_second(incident.closed_at)}: {first_line(incident.closing, DETAIL)}")
    lines.append(f"last success  {_success(about)}")
    lines += ["", "look:"]
    lines.append(f"  reconciler why {name}" + (f" {_stamp(instant)}" if instant else ""))
    if instant and about.attempts is not None:
        lines.append(f"  reconciler logs {name} {_stamp(instant)}")
    else:
        lines.append(f"  reconciler history {name}")
    return lines


def _success(about: About) -> str:
    if about.last_success is None or about.last_finished is None:
        return "none that is kept"
    return f"that of {_stamp(about.last_success)}, finished {_second(about.last_finished)}"


def _second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _stamp(moment: datetime) -> str:
    """As the commands take it: `2026-01-02T02:00:00Z`, fractions only where there are any."""
    return moment.isoformat().replace("+00:00", "Z")
