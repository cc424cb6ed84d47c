"""The mappings that a spec has inside: retries, clock changes, history, notices."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from reconciler.durations import format_duration, parse_duration
from reconciler.spec.fields import Filled, Length, Line, Span, Whole

Event = Literal["failure", "recovery", "missed"]


class Part(BaseModel):
    """A mapping of a spec: it never changes, and it has no key that is not listed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Retries(Part):
    attempts: Whole = Field(default=1, ge=1, le=100, description="How often it is tried altogether.")
    backoff: Length = Field(
        default=parse_duration("30s"), description="The wait before the second try; it doubles for each one after."
    )
    max_backoff: Length = Field(
        default=parse_duration("10m"), validate_default=True, description="No wait is longer than this."
    )

    retry_on: tuple[Line, ...] = Field(
        default=(), max_length=100, description="Only after these exceptions, by name; empty: after any."
    )
    give_up_on: tuple[Line, ...] = Field(
        default=(), max_length=100, description="Never after these exceptions, by name."
    )

    @field_validator("max_backoff")
    @classmethod
    def _above_backoff(cls, longest: Any, info: ValidationInfo) -> Any:
        first = info.data.get("backoff")
        if first is not None and longest < first:
            raise ValueError(f"'{format_duration(longest)}' is shorter than backoff, '{format_duration(first)}'")
        return longest


class Deadline(Part):
    start: Span | None = Field(default=None, description="Not started any more when it is later than this.")
    finish: Span | None = Field(default=None, description="Cut short when it is later than this, retries included.")


class DstRule(Part):
    gap: Literal["default", "after", "skip"] = Field(default="default", description="A time that the clock skips.")
    fold: Literal["default", "first", "second", "both"] = Field(
        default="default", description="A time that comes twice."
    )


class History(Part):
    keep: Span = Field(default=parse_duration("30d"), description="How long executions are kept.")
    keep_last: Whole | None = Field(default=None, ge=1, le=1_000_000, description="How many are kept at most.")
    keep_logs: Span | None = Field(default=None, description="How long their logs are kept; absent: as long as they.")


class FromEnv(Part):
    from_env: Line = Field(description="The environment variable that holds it.")


Ping = FromEnv | Line


class Notify(Part):
    on: Annotated[tuple[Event, ...], Filled] = ("failure", "recovery")
    to: tuple[Line, ...] = Field(default=(), max_length=100, description="Names of targets in the settings.")
    no_success_for: Span | None = Field(default=None, description="Tell when nothing has succeeded for so long.")
    ping: Ping | None = Field(default=None, description="A URL that hears of each success, and of each failure.")
