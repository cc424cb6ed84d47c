"""How a line says what is wrong with a spec: pydantic's errors in the words of this house.

It knows the fields of a spec and their kinds, and nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from reconciler.nearest import did_you_mean
from reconciler.spec.spec import Deadline, DstRule, History, Notify, Retries, TaskSpec
from reconciler.typewords import allowed_words, not_a, not_one_of, noun, shown

PARTS: dict[str, type[BaseModel]] = {
    "retries": Retries,
    "deadline": Deadline,
    "dst": DstRule,
    "history": History,
    "notify": Notify,
}
SPEC_KEYS = (*TaskSpec.model_fields, "environments")
NEEDED = {
    "task": "is missing; name a registered task",
    "name": "is missing; only a file's first document takes the file's name",
}
# How other schedulers call it, where no spelling is near.
OTHER_WORDS = {
    "cron": "schedule",
    "crontab": "schedule",
    "every": "schedule",
    "interval": "schedule",
    "when": "schedule",
    "function": "task",
    "job": "task",
    "run": "task",
    "command": "params",
    "cmd": "params",
    "args": "params",
    "kwargs": "params",
    "arguments": "params",
    "tz": "timezone",
    "enabled": "suspend",
    "disabled": "suspend",
    "paused": "suspend",
    "tags": "labels",
    "depends_on": "after",
    "depends": "after",
    "needs": "after",
    "requires": "after",
    "upstream": "after",
    "concurrency": "overlap",
    "concurrency_policy": "overlap",
    "catchup": "missed",
    "misfire": "missed",
    "memory": "memory_limit",
    "mem": "memory_limit",
    "retry": "retries",
    "max_retries": "retries",
    "deadline_seconds": "deadline",
    "start_deadline": "deadline",
    "starting_deadline_seconds": "deadline",
    "active_deadline_seconds": "timeout",
    "max_failures": "pause_after_failures",
    "holidays": "skip_on",
    "calendar": "skip_on",
    "retention": "history",
    "alerts": "notify",
    "on_failure": "notify",
    "healthcheck": "notify",
    "max": "attempts",
    "times": "attempts",
    "max_attempts": "attempts",
    "delay": "backoff",
    "errors": "retry_on",
    "exceptions": "retry_on",
    "targets": "to",
    "who": "to",
    "url": "ping",
    "events": "on",
    "days": "keep",
    "logs": "keep_logs",
    "id": "name",
    "title": "name",
}


class Flaw(NamedTuple):
    """What is wrong at a place inside a document; `at_key` where it is the key that is wrong, not its value."""

    at: tuple[str | int, ...]
    what: str
    at_key: bool = False


def flaws(error: ValidationError) -> Iterator[Flaw]:
    """Every error of a validation, worded."""
    for found in error.errors(include_url=False):
        at = found["loc"]
        context: Mapping[str, Any] = found.get("ctx", {})
        if found["type"] == "several":
            yield from (Flaw(tuple(place), what) for place, what in context["found"])
            continue
        if found["type"] == "value_error" and getattr(context["error"], "field", at[0]) != at[0]:
            at = (context["error"].field,)
        at_key = found["type"] == "extra_forbidden" or at[-1:] == ("[key]",)
        yield Flaw(tuple(part for part in at if part != "[key]"), _worded(found, context), at_key)


def _worded(found: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    kind, value, at = found["type"], shown(found["input"]), found["loc"]
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return NEEDED.get(str(at[-1]), "is missing")
    if kind == "extra_forbidden":
        return _unknown_key(str(at[-1]), PARTS[str(at[0])].model_fields if len(at) > 1 else SPEC_KEYS)
    if kind == "literal_error":
        return not_one_of(found["input"], allowed_words(context))
    if at == ("retries",) and isinstance(found["input"], int):
        return f"{value} is not a mapping; write {{attempts: {value}}}, which counts the first try too"
    if at == ("deadline",) and isinstance(found["input"], str):
        return f"{value} is not a mapping; write {{start: {found['input']}}} or {{finish: {found['input']}}}"[:200]
    if wanted := noun(kind):
        return not_a(wanted, found["input"])
    return _bounds(kind, value, context) or found["msg"]


def _unknown_key(key: str, known: tuple[str, ...] | Mapping[str, Any]) -> str:
    other = OTHER_WORDS.get(key.lower().replace("-", "_"))
    meant = f"did you mean '{other}'?" if other in known else did_you_mean(key, known)
    return f"unknown key; {meant}"


def _bounds(kind: str, value: str, context: Mapping[str, Any]) -> str | None:
    if kind in ("greater_than_equal", "less_than_equal"):
        least, most = context.get("ge"), context.get("le")
        return (
            f"{value} is too small; the least is {least}"
            if most is None
            else f"{value} is too large; the most is {most}"
        )
    if kind == "too_long":
        return f"has {context['actual_length'] or 'too many'} entries; at most {context['max_length']} are allowed"
    return None
