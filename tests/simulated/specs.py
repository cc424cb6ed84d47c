"""Specs as a seed makes them: schedules of some seconds, all the rules for what overlaps, is missed or fails."""

from __future__ import annotations

from random import Random
from typing import Any

from reconciler.spec import TaskSpec
from reconciler.spec.specset import LocatedSpec

CRONS = ("*/5 * * * * *", "*/7 * * * * *", "3,17,44 * * * * *", "0 * * * * *", "*/10 * * * * *")


def drawn(random: Random, name: str) -> dict[str, Any]:
    """One document."""
    every = f"@every {random.choice((2, 3, 5, 7, 11))}s"
    document: dict[str, Any] = {
        "name": name,
        "task": random.choice(("sim.work", "sim.work", "sim.heavy", "sim.told")),
        "overlap": random.choice(("skip", "allow", "queue", "replace")),
        "missed": random.choice(("latest", "all", "skip")),
        "missed_limit": random.choice((2, 4)),
        "missed_within": random.choice(("10s", "30s")),
        "labels": {"team": random.choice("ab")},
        "timeout": random.choice(("2s", "15s", "15s")),
        **when(random, every),
    }
    if random.random() < 0.5:
        attempts = random.choice((2, 3))
        document["retries"] = {"attempts": attempts, "backoff": "1s", "max_backoff": "3s"}
    if random.random() < 0.3:
        document["jitter"] = random.choice(("1s", "2s"))
    if random.random() < 0.3:
        document["deadline"] = {"start": random.choice(("3s", "10s"))}
    return document


def when(random: Random, every: str) -> dict[str, Any]:
    """Another schedule."""
    if random.random() < 0.5:
        return {"schedule": every}
    return {"schedule": random.choice(CRONS), "seconds": "first"}


def edited(random: Random, document: dict[str, Any]) -> dict[str, Any]:
    """The document with something changed: what names instants, or what does not."""
    kind = random.random()
    if kind < 0.3:
        rest = {key: value for key, value in document.items() if key not in ("schedule", "seconds")}
        return {**rest, **when(random, f"@every {random.choice((2, 3, 5, 7, 11))}s")}
    if kind < 0.6:
        return {**document, "suspend": not document.get("suspend", False)}
    if kind < 0.8:
        return {**document, "overlap": random.choice(("skip", "allow", "queue", "replace"))}
    return {**document, "description": str(random.random())}


def located(document: dict[str, Any]) -> LocatedSpec:
    spec = TaskSpec.from_document(document)
    return LocatedSpec(spec, f"{spec.name}.yaml", 1, spec.digest)
