"""The mappings that a spec has inside: retries, clock changes, history, notices."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from reconciler.durations import format_duration, parse_duration
from reconciler.spec.fields import ErrorName, Filled, Length, Line, Span, UrlOrReference, Whole

NOBODY = "names nobody; give to or ping"
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
    retry_on: tuple[ErrorName, ...] = Field(
        default=(), max_length=100, description="Only after these exceptions, by name; empty: after any."
    )
    give_up_on: tuple[ErrorName, ...] = Field(
        default=(), max_length=100, description="Never after these exceptions, by name."
    )

    @field_validator("max_backoff")
    @classmethod
    def _above_backoff(cls, longest: Any, info: ValidationInfo) -> Any:
        first = info.data.get("backoff")
        if first is not None and longest < first:
            raise ValueError(f"'{format_duration(longest)}' is shorter than backoff, '{format_duration(first)}'")
        return longest

    @field_validator("give_up_on")
    @classmethod
    def _not_both(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if both := [name for name in names if name in info.data.get("retry_on", ())]:
            raise ValueError(f"'{both[0]}' is in retry_on too; leave it in one of them")
        return names


class Deadline(Part):
    start: Span | None = Field(default=None, description="Not started any more when it is later than this.")
    finish: Span | None = Field(default=None, description="Cut short when it is later than this, retries included.")

    @field_validator("finish")
    @classmethod
    def _after_start(cls, finish: timedelta | None, info: ValidationInfo) -> timedelta | None:
        start = info.data.get("start")
        if start and finish and finish < start:
            raise ValueError(f"'{format_duration(finish)}' is shorter than start, '{format_duration(start)}'")
        return finish


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


Ping = Annotated[FromEnv | Line, UrlOrReference]


class Notify(Part):
    on: Annotated[tuple[Event, ...], Filled] = ("failure", "recovery")
    to: tuple[Line, ...] = Field(default=(), max_length=100, description="Names of targets in the settings.")
    no_success_for: Span | None = Field(default=None, description="Tell when nothing has succeeded for so long.")
    ping: Ping | None = Field(default=None, description="A URL that hears of each success, and of each failure.")

    @model_validator(mode="after")
    def _somebody(self) -> Notify:
        if not self.to and self.ping is None:
            raise ValueError(NOBODY)
        return self
