"""The figures in the form that Prometheus reads. Names end in the unit; counters count since the start of this process.

What is counted here is kept by `runner.figures`; what is in PostgreSQL is asked for at a scrape, at most every few
seconds. By name there is something only as long as there are not too many names.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Iterator, Mapping, Sequence

import psycopg
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from reconciler import __version__
from reconciler.api.vitals import Vitals
from reconciler.db import gauges
from reconciler.db.gauges import Backlog, NameFigures, Totals
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.runner import Runner
from reconciler.runner.figures import Spread

KEPT = 5.0
PATIENCE = 5.0
MOST_NAMES = 1_000


class Stored:
    """What PostgreSQL knows, asked for anew when the last answer is too old; nothing where it does not answer."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._turn = asyncio.Lock()
        self._asked_at = float("-inf")
        self._kept: tuple[Totals, list[Backlog], list[NameFigures]] | None = None

    async def figures(self) -> tuple[Totals, list[Backlog], list[NameFigures]] | None:
        """Totals, queues, and names as far as there are not too many of them."""
        async with self._turn:
            if time.monotonic() - self._asked_at >= KEPT:
                self._kept = await self._ask()
                self._asked_at = time.monotonic()
            return self._kept

    async def _ask(self) -> tuple[Totals, list[Backlog], list[NameFigures]] | None:
        try:
            async with asyncio.timeout(PATIENCE):
                totals = await gauges.totals(self._link)
                names = await gauges.by_name(self._link) if totals.tasks <= MOST_NAMES else []
                return totals, await gauges.backlog(self._link), names
        except (StoreUnavailable, psycopg.Error, TimeoutError):
            return None


class Metrics:
    """All figures of this service."""

    def __init__(self, vitals: Vitals, stored: Stored) -> None:
        self._vitals = vitals
        self._stored = stored

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The figures and their content type, as whoever asks accepts them."""
        stored = await self._stored.figures()
        families = [_build_info(), *_sync(self._vitals), *_stored(stored)]
        if self._vitals.runner is not None:
            families += _runner(self._vitals.runner)
        # What was gathered above does not change any more, so writing it down need not hold up the runner.
        return await asyncio.to_thread(_written, families, accept)


class _Gathered(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _written(families: Sequence[Metric], accept: str) -> tuple[bytes, str]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gathered(families))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _build_info() -> Metric:
    labels = {"version": __version__, "python": platform.python_version()}
    return _gauge("reconciler_build_info", "Which version this is.", [(labels, 1)])


def _sync(vitals: Vitals) -> Iterator[Metric]:
    now, passes = time.monotonic(), vitals.passes.items()
    good = [({"source": name}, float(not last.problem)) for name, last in passes]
    ages = [({"source": name}, now - last.at) for name, last in passes]
    took = [({"source": name}, last.seconds) for name, last in passes]
    yield _gauge("reconciler_sync_success", "1: the last pass over the source had nothing to complain of.", good)
    yield _gauge("reconciler_sync_age_seconds", "Since the last pass over the source has ended.", ages)
    yield _gauge("reconciler_sync_duration_seconds", "How long the last pass over the source took.", took)


def _stored(stored: tuple[Totals, list[Backlog], list[NameFigures]] | None) -> Iterator[Metric]:
    yield _gauge("reconciler_database_up", "1: PostgreSQL answered this scrape.", [({}, float(stored is not None))])
    if stored is None:
        return
    totals, queues, names = stored
    yield _gauge("reconciler_tasks", "Tasks in force.", [({}, totals.tasks)])
    yield _gauge("reconciler_pauses", "Pauses in force.", [({}, totals.pauses)])
    yield _gauge("reconciler_runners", "Runners that have not ended.", [({}, totals.runners)])
    kinds = [({"kind": kind}, totals.incidents.get(kind, 0)) for kind in ("failure", "missed", "silence")]
    yield _gauge("reconciler_open_incidents", "Incidents that are not over.", kinds)
    drifts = [({"side": side}, totals.drifts.get(side, 0)) for side in ("postgresql", "redis")]
    yield _gauge("reconciler_drifts_open", "Changes made by hand in a store that are not put right.", drifts)
    yield _gauge("reconciler_unsent_notices", "Notices that wait to be sent.", [({}, totals.notices)])
    for key, what in (
        ("waiting", "Occurrences that are decided and wait for a runner."),
        ("backing_off", "Occurrences that wait for their next attempt."),
        ("running", "Occurrences that a runner owns."),
    ):
        values = [({"queue": one.queue}, getattr(one, key)) for one in queues]
        yield _gauge(f"reconciler_{key}_runs", what, values)
    are_left_out = float(totals.tasks > MOST_NAMES)
    yield _gauge("reconciler_tasks_left_out", "1: too many tasks for figures by name.", [({}, are_left_out)])
    ages = [({"name": one.name}, one.success_age) for one in names if one.success_age is not None]
    last = [({"name": one.name}, float(one.is_success)) for one in names if one.is_success is not None]
    yield _gauge("reconciler_last_success_age_seconds", "Since the newest success of the task has ended.", ages)
    yield _gauge("reconciler_last_run_success", "1: the newest run of the task succeeded.", last)


def _runner(runner: Runner) -> Iterator[Metric]:
    figures = runner.figures
    lags = {("queue", queue): spread for queue, spread in figures.lags.items()}
    yield _histogram("reconciler_start_lag_seconds", "From the instant to the start of what came on time.", lags)
    durations = {("task", task): spread for task, spread in figures.durations.items()}
    yield _histogram("reconciler_run_duration_seconds", "How long the last attempt of a run took.", durations)
    outcomes = [({"task": a, "queue": b, "outcome": c}, float(n)) for (a, b, c), n in figures.outcomes.items()]
    yield _counter("reconciler_runs", "Final rows written.", outcomes)
    skipped = [({"reason": reason}, float(count)) for reason, count in figures.skipped.items()]
    yield _counter("reconciler_skipped_instants", "Instants decided against.", skipped)
    missed = figures.skipped.get("missed", 0) + figures.skipped.get("deadline", 0)
    yield _counter("reconciler_missed_instants", "Instants that came too late to be run.", [({}, float(missed))])
    yield _histogram("reconciler_decision_batch_size", "Occurrences in one decision.", {("", ""): figures.decided})
    yield _histogram("reconciler_result_batch_size", "Final rows in one statement.", {("", ""): figures.written})
    errors = [({"where": where}, float(count)) for where, count in figures.store_errors.items()]
    yield _counter("reconciler_store_errors", "Times that a store did not answer, or refused.", errors)
    unwritten = _if_known(len(runner.running.results))
    yield _gauge("reconciler_unwritten_results", "Results kept until they can be written.", unwritten)
    yield _gauge("reconciler_runs_here", "Runs under way in this runner.", [({}, len(runner.running))])
    yield _counter("reconciler_beats", "Beats that came through.", [({}, float(figures.beats))])
    beaten, ticked = _if_known(figures.beat_age), _if_known(figures.control_age)
    yield _gauge("reconciler_beat_age_seconds", "Since the last beat came through.", beaten)
    yield _gauge("reconciler_control_age_seconds", "Since the control loop ticked last.", ticked)


def _if_known(value: float | None) -> list[tuple[Mapping[str, str], float]]:
    return [] if value is None else [({}, value)]


def _gauge(name: str, what: str, values: Sequence[tuple[Mapping[str, str], float]]) -> Metric:
    family = GaugeMetricFamily(name, what)
    for labels, value in values:
        family.add_sample(name, dict(labels), value)
    return family


def _counter(name: str, what: str, values: Sequence[tuple[Mapping[str, str], float]]) -> Metric:
    family = CounterMetricFamily(name, what)
    for labels, value in values:
        family.add_sample(f"{name}_total", dict(labels), value)
    return family


def _histogram(name: str, what: str, spreads: Mapping[tuple[str, str], Spread]) -> Metric:
    family = HistogramMetricFamily(name, what)
    for (key, label), spread in spreads.items():
        labels, count = {key: label} if key else {}, 0
        for bound, here in zip((*spread.bounds, float("inf")), spread.counts, strict=True):
            count += here
            le = "+Inf" if bound == float("inf") else str(bound)
            family.add_sample(f"{name}_bucket", {**labels, "le": le}, count)
        family.add_sample(f"{name}_count", labels, count)
        family.add_sample(f"{name}_sum", labels, spread.total)
    return family
