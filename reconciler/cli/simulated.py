"""How the answer of `simulate` looks: a page for a person, one object for a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from reconciler.cli.loadpicture import picture
from reconciler.cli.output import Column, columns_of_terminal, is_terminal, line, table
from reconciler.durations import span
from reconciler.simulate import (
    Outcome,
    PileUp,
    Ran,
    Setup,
    Summary,
    Totals,
    clock_changes,
    fires_by_hour,
    pile_ups,
    summaries,
    totals,
)
from reconciler.spec import TaskSpec

if TYPE_CHECKING:
    from reconciler.cli.simulate import Assumed
    from reconciler.occurrences import Skip

# How many lines of a kind are shown; JSON has more.
MOST_LINES = 10
MOST_ROWS = 30
MOST_PILE_UPS = 1000
PIPED_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """What was simulated, on which assumptions, and what came of it."""

    specs: Sequence[TaskSpec]
    setup: Setup
    assumed: Assumed
    runners: int
    outcome: Outcome
    zone: ZoneInfo

    def summed(self) -> list[Summary]:
        return summaries((spec.name for spec in self.specs), self.outcome, self.setup.end)

    def pile_ups(self) -> list[PileUp]:
        queues = {spec.name: spec.queue for spec in self.specs}
        return pile_ups(self.outcome.ran, self.outcome.unstarted, queues, self.setup.end)

    def at(self, moment: datetime) -> str:
        return f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def print_answer(answer: Answer, *, fires: bool, everything: bool) -> None:
    """The totals, the load, what piles up, what clock changes do, and a row a task."""
    summed = answer.summed()
    found = totals(answer.outcome, summed)
    for text in _headlines(answer, found):
        line(text)
    setup, zone = answer.setup, answer.zone
    room = columns_of_terminal() if is_terminal() else PIPED_WIDTH
    shown = picture(fires_by_hour(found.minutes, zone), setup.begin.astimezone(zone), setup.end.astimezone(zone), room)
    _section(f"Load, fires an hour ({zone.key})", shown)
    _section("Waits, the longest first", _limited(_waits(answer)))
    changes = clock_changes(answer.specs, setup.begin, setup.end)
    _section("Clock changes", _limited(f"{change.name}: {change}" for change in changes))
    if fires:
        line()
        table(sorted(_happenings(answer), key=lambda row: row["at"]), _fire_columns(answer))
        return
    rows = _chosen(summed, everything)
    if rows:
        line()
        table(rows, _columns(answer))
    if len(rows) < len(summed):
        line(f"and {len(summed) - len(rows):,} more; --all shows them")


def _headlines(answer: Answer, found: Totals) -> Iterator[str]:
    setup = answer.setup
    skipped = ", ".join(f"{count:,} {reason}" for reason, count in found.skipped.items()) or "none"
    yield f"{answer.at(setup.begin)} to {answer.at(setup.end)} {answer.zone.key}"
    yield f"  tasks       {len(answer.specs):,}{_unscheduled(answer.specs)}"
    yield f"  fires       {found.fires:,}" + (f", {found.unstarted:,} more never start" if found.unstarted else "")
    yield f"  skipped     {skipped}"
    if found.busiest:
        minute, count = found.busiest
        yield f"  busiest     {answer.at(minute)}: {count:,} in one minute"
    yield (
        f"  slots       {found.most_async:,} of {setup.async_slots:,} async, {found.most_worker:,} of "
        f"{setup.worker_slots:,} worker processes taken at most ({answer.runners} runner{'s'[: answer.runners > 1]})"
    )
    yield f"  runs take   {_durations(answer)}"


def _unscheduled(specs: Sequence[TaskSpec]) -> str:
    suspended = sum(spec.suspend is True for spec in specs)
    manual = sum(not spec.schedule and not spec.after and spec.suspend is not True for spec in specs)
    parts = [f"{suspended:,} suspended"] if suspended else []
    parts += [f"{manual:,} only when triggered"] if manual else []
    return f" ({', '.join(parts)})" if parts else ""


def _durations(answer: Answer) -> str:
    assumed = answer.assumed
    known = sum(spec.name in assumed.took for spec in answer.specs)
    past = f"as past ones did{', the slowest twentieth' if assumed.is_slow else ', the median'} ({_tasks(known)})"
    rest = f"{span(assumed.assume)} as assumed ({_tasks(len(answer.specs) - known)})"
    return f"{past}, {rest}" if known and known < len(answer.specs) else past if known else rest


def _tasks(count: int) -> str:
    return f"{count:,} {'task' if count == 1 else 'tasks'}"


def _section(title: str, lines: Iterable[str]) -> None:
    shown = list(lines)
    if shown:
        line()
        line(title)
        for text in shown:
            line(f"  {text}".rstrip())


def _limited(lines: Iterable[str]) -> Iterator[str]:
    every = list(lines)
    yield from every[:MOST_LINES]
    if len(every) > MOST_LINES:
        yield f"and {len(every) - MOST_LINES:,} more; -o json has more"


def _waits(answer: Answer) -> Iterator[str]:
    """One line for each thing that was waited for, the longest wait first."""
    found: dict[tuple[str, str], list[PileUp]] = {}
    for pile in answer.pile_ups():
        found.setdefault((pile.cause, pile.what), []).append(pile)
    for (cause, what), piles in found.items():
        why = {
            "slots": f"all {what} taken",
            "queue": f"queue {what} full",
            "overlap": f"{what} still running",
            "down": "during the outage",
        }[cause]
        worst, runs = piles[0], sum(pile.runs for pile in piles)
        until = "the end" if worst.end >= answer.setup.end else answer.at(worst.end)
        yield (
            f"{why}: {runs:,} run{'s'[: runs > 1]} waited, up to {span(worst.worst)} ({worst.name}) and "
            f"{max(pile.most for pile in piles):,} at once; the worst from {answer.at(worst.begin)} to {until}"
        )


def _chosen(summed: Sequence[Summary], everything: bool) -> list[Summary]:
    """Those with something to say first, then those that run most."""
    if everything:
        return list(summed)
    ranked = sorted(summed, key=lambda one: (one.is_smooth, -sum(one.skipped.values()), -one.longest_wait, -one.fires))
    return ranked[:MOST_ROWS]


def _columns(answer: Answer) -> list[Column]:
    return [
        Column("name", lambda row: row.name, lambda row: "bold"),
        Column("fires", lambda row: f"{row.fires:,}"),
        Column("takes", lambda row: span(answer.assumed.takes(row.name))),
        Column("longest wait", lambda row: span(row.longest_wait) if row.longest_wait else "-", usual="-"),
        Column("skipped", _skipped, lambda row: "yellow" if row.skipped else "", usual="-", gives=True),
        Column("beside", lambda row: f"{row.beside:,}" if row.beside else "-", usual="-"),
        Column("replaced", lambda row: f"{row.replaced:,}" if row.replaced else "-", usual="-"),
        Column("cut short", lambda row: f"{row.cut_short:,}" if row.cut_short else "-", usual="-"),
        Column("never start", lambda row: f"{row.unstarted:,}" if row.unstarted else "-", usual="-"),
    ]


def _skipped(row: Summary) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(row.skipped.items())) or "-"


def _happenings(answer: Answer) -> Iterator[dict[str, Any]]:
    for run in answer.outcome.ran:
        yield {"at": run.scheduled_for, "name": run.name, "run": run, "skip": None}
    for skip in answer.outcome.skips:
        yield {"at": skip.first, "name": skip.name, "run": None, "skip": skip}


def _fire_columns(answer: Answer) -> list[Column]:
    return [
        Column(f"scheduled for ({answer.zone.key})", lambda row: answer.at(row["at"])),
        Column("name", lambda row: row["name"], lambda row: "bold"),
        Column("starts", lambda row: answer.at(row["run"].started_at) if row["run"] else "-"),
        Column("takes", lambda row: span(row["run"].ended_at - row["run"].started_at) if row["run"] else "-"),
        Column("outcome", lambda row: _outcome(answer, row["run"], row["skip"]), gives=True),
    ]


def _outcome(answer: Answer, run: Ran | None, skip: Skip | None) -> str:
    if skip is not None:
        more = f" and until {answer.at(skip.last)}" if skip.last > skip.first else ""
        return f"skipped{more}: {skip.reason}" + (f": {skip.detail}" if skip.detail else "")
    if run is None:
        return ""
    waited = f"after waiting {span(run.waited)} ({run.cause})" if run.cause and run.waited else ""
    trigger = "" if run.trigger == "schedule" else run.trigger.replace("_", " ")
    ending = "" if run.ending == "succeeded" else run.ending
    return ", ".join(filter(None, (trigger, waited, ending))) or "on time"


def as_json(answer: Answer, *, fires: bool) -> dict[str, Any]:
    """All of it for a program, every fire and skip only where asked for."""
    summed, setup, assumed = answer.summed(), answer.setup, answer.assumed
    found = totals(answer.outcome, summed)
    whole: dict[str, Any] = {
        "from": setup.begin,
        "to": setup.end,
        "assumptions": {
            "runners": answer.runners,
            "async_slots": setup.async_slots,
            "worker_slots": setup.worker_slots,
            "queues": dict(setup.limits),
            "outages": [{"from": begin, "to": end} for begin, end in setup.outages],
            "duration_seconds": _seconds(assumed.assume),
            "is_slow": assumed.is_slow,
        },
        "totals": {
            "tasks": len(answer.specs),
            "fires": found.fires,
            "skipped": found.skipped,
            "unstarted": found.unstarted,
            "most_async": found.most_async,
            "most_worker": found.most_worker,
            "busiest_minute": {"at": found.busiest[0], "fires": found.busiest[1]} if found.busiest else None,
        },
        "tasks": [_as_row(answer, one) for one in summed],
        "pile_ups": [{**asdict(pile), "worst": _seconds(pile.worst)} for pile in answer.pile_ups()[:MOST_PILE_UPS]],
        "clock_changes": [
            {**asdict(change), "first": f"{change.first:%H:%M:%S}", "last": f"{change.last:%H:%M:%S}"}
            for change in clock_changes(answer.specs, setup.begin, setup.end)
        ],
        "load": [{"hour": hour, "fires": count} for hour, count in fires_by_hour(found.minutes).items()],
    }
    if fires:
        whole["fires"] = [{**asdict(run), "waited_seconds": _seconds(run.waited)} for run in answer.outcome.ran]
        whole["skips"] = [asdict(skip) for skip in answer.outcome.skips]
        whole["unstarted"] = [asdict(one) for one in answer.outcome.unstarted]
    return whole


def _as_row(answer: Answer, one: Summary) -> dict[str, Any]:
    return {
        **asdict(one),
        "longest_wait": _seconds(one.longest_wait),
        "takes_seconds": _seconds(answer.assumed.takes(one.name)),
        "takes_from": "history" if one.name in answer.assumed.took else "assumed",
    }


def _seconds(length: timedelta) -> float:
    return round(length.total_seconds(), 3)
