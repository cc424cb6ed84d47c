"""Everything about one task, as `status NAME` shows it; and what both of its forms show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.cli.output import columns_of_terminal, is_terminal, line, table
from reconciler.cli.standing import Standing, last_words, next_words, now_words, pause_words, progress_words
from reconciler.cli.words import exact, when
from reconciler.durations import span
from reconciler.lines import first_line

if TYPE_CHECKING:
    from reconciler.cli.sourcelines import SourceState
    from reconciler.db.executions import TaskExecution
    from reconciler.db.overrides import Override
    from reconciler.db.pending import Pending
    from reconciler.db.provenance import Origin
    from reconciler.db.runners import RunnerRow


@dataclass(frozen=True, slots=True)
class Picture:
    """All that status shows, as the database had it at `now`, its own clock."""

    now: datetime
    rows: list[Standing]
    sources: list[SourceState]
    runners: list[RunnerRow]
    recent: list[TaskExecution]
    claims: list[Pending]
    pauses: list[Override]
    awaited: list[tuple[str, datetime | None]]
    has_redis: bool
    origin: Origin | None = None


def show_detail(picture: Picture) -> None:
    """Its facts, a line each; what runs or waits; its last runs."""
    from reconciler.cli.history import columns, listed

    (row,) = picture.rows
    config, now = row.found.config, picture.now
    spec = config.spec
    facts = {
        "name": config.name,
        "description": spec.get("description"),
        "task": spec.get("task"),
        "schedule": f"{row.schedule}  ({', '.join(spec['schedule'])}, {row.timezone})"
        if spec.get("schedule")
        else row.schedule,
        "next run": next_words(row, now),
        "last result": last_words(row, now),
        "after": list(_awaited(picture)),
        "now": now_words(row, now, has_runner=bool(picture.runners)),
        "pauses": list(_pauses(picture)),
        "under way": list(_claims(picture)),
        "params": spec.get("params"),
        "labels": spec.get("labels"),
        "spec": f"{config.path} at {config.revision or 'no revision'} (source {config.source})",
        "commit": _commit(picture.origin),
        "changed": f"{when(config.updated_at, now)} · {exact(config.updated_at.replace(microsecond=0), row.timezone)}",
    }
    for key, value in facts.items():
        for text in fact_lines(key, value) if value else ():
            line(text)
    if picture.recent:
        line()
        table([listed(run) for run in picture.recent], columns(now)[1:])


def _commit(origin: Origin | None) -> str:
    """`1a2b3c4, Ada: nightly, not hourly, applied by ci in sync 12`; what is not known is left out."""
    if origin is None:
        return ""
    from reconciler.cli.syncs import revision

    told = ": ".join(filter(None, (origin.author, first_line(origin.subject, 60))))
    commit = revision(origin.revision) if origin.revision else ""
    by = f"applied by {origin.actor} in sync {origin.sync_id}" if origin.actor else ""
    return ", ".join(filter(None, (commit, told, by, origin.reason)))


def _pauses(picture: Picture) -> Iterator[str]:
    """Every pause that covers it, where one alone is not all: each has to be ended, or end, by itself."""
    (row,) = picture.rows
    labels = row.found.config.spec.get("labels", {})
    covering = [one for one in picture.pauses if one.covers(row.name, labels)]
    for one in covering if len(covering) > 1 else ():
        yield pause_words(one, row.timezone, picture.now)


def _awaited(picture: Picture) -> Iterator[str]:
    """Whom it runs after, and which of them have succeeded since it last did because of them."""
    (row,) = picture.rows
    for upstream, first in picture.awaited:
        if first is None:
            yield f"{upstream}  has not succeeded since"
        else:
            yield f"{upstream}  ✓ {exact(first, row.timezone)}"


def _claims(picture: Picture) -> Iterator[str]:
    """A line each for what runs or waits: its instant, why it is there, who asked, how far it is."""
    (row,) = picture.rows
    for claim in picture.claims:
        parts = [exact(claim.scheduled_for, row.timezone), claim.trigger]
        if claim.replays:
            parts[-1] += f" of {exact(claim.replays, row.timezone)}"
        if claim.actor:
            parts.append(f"by {claim.actor}")
        if claim.is_owned:
            since = claim.started_at or claim.scheduled_for
            parts.append(f"running for {span(picture.now - since)} on {claim.runner or 'a runner that is gone'}")
        elif claim.not_before > picture.now:
            parts.append(f"waits, to start {when(claim.not_before, picture.now)}")
        else:
            parts.append("waits")
        if claim.progress and claim.is_owned:
            parts.append(progress_words(claim.progress))
        if claim.attempts:
            failed = f"attempt {len(claim.attempts)} failed"
            parts.append(f"{failed}: {first_line(str(claim.attempts[-1].get('error')), 60)}")
        if claim.cancel_requested:
            parts.append(claim.cancel_requested)
        yield "  ".join(parts)
    more = row.found.waiting - sum(not claim.is_owned for claim in picture.claims)
    if more > 0:
        yield f"… and {more:,} more that wait"


LABEL = 13


def fact_lines(key: str, value: Any) -> list[str]:
    """`task         reports.build`; a mapping has a line a key, a list one an entry; long text goes on indented."""
    import json

    if isinstance(value, dict):
        texts = [f"{name}: {json.dumps(part, ensure_ascii=False)}" for name, part in value.items()]
    else:
        texts = list(value) if isinstance(value, list) else [str(value)]
    lines = [part for text in texts for part in _wrapped(text)]
    return [f"{'' if number else key:<{LABEL}}{text}" for number, text in enumerate(lines)]


def _wrapped(text: str) -> list[str]:
    """Broken between words for a terminal; whole for a pipe."""
    import textwrap

    if not is_terminal():
        return [" ".join(text.splitlines())]
    room = max(20, columns_of_terminal() - LABEL)
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False, subsequent_indent="  ")
