"""What a YAML document may say: `TaskSpec`, one task as git declares it.

It knows the fields, their defaults and what each may hold. It does not know files, or which tasks exist.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from reconciler.durations import parse_duration
from reconciler.errors import ReconcilerError
from reconciler.schedule import MOST_EXPRESSIONS, Dst, InvalidSchedule, Schedule
from reconciler.schedule.cron import hashes
from reconciler.spec.fields import (
    Days,
    Length,
    Line,
    Memory,
    Moment,
    Name,
    Prose,
    Span,
    Whole,
    YesNo,
    Zone,
    in_order,
)
from reconciler.spec.parts import Deadline, DstRule, History, Notify, Part, Retries
from reconciler.spec.specset import Fault, LocatedSpec, SpecSet
from reconciler.typewords import not_a, shown

if TYPE_CHECKING:
    from reconciler.registry import Task

__all__ = [
    "Deadline",
    "DstRule",
    "Fault",
    "History",
    "LocatedSpec",
    "Notify",
    "Retries",
    "SpecSet",
    "TaskSpec",
    "spec_schema",
]

Place = tuple[str | int, ...]
_USUAL_DST = DstRule()


class TaskSpec(Part):
    """One task: what runs, when, and what happens when it does not go well. A value: equal by content."""

    name: Name = Field(description="Unique; by default the file's name.")
    task: Line = Field(description="The registered function that runs.")
    timezone: Zone = Field(default="UTC", description="The zone that the schedule is written in.")
    seconds: Literal["first", "last"] | None = Field(default=None, description="Where a sixth field of cron stands.")
    dst: DstRule = Field(default=DstRule(), description="What happens when clocks change.")
    starts_at: Moment | None = Field(default=None, description="No instant before this.")
    ends_at: Moment | None = Field(default=None, description="No instant after this.")
    skip_on: Days = Field(default=(), max_length=10_000, description="Days without a run, or calendar files.")
    schedule: tuple[Line, ...] = Field(
        default=(),
        max_length=100,
        description="Cron, '@hourly' or '@every 30s'; absent: only when triggered.",
    )
    params: Annotated[dict[str, JsonValue], AfterValidator(in_order)] = Field(
        default_factory=dict, max_length=256, description="The function's arguments."
    )
    timeout: Span | None = Field(default=None, description="How long one attempt may take.")
    memory_limit: Memory | None = Field(default=None, description="How much memory one attempt may take.")
    deadline: Deadline = Field(default=Deadline(), description="How long after its instant it may start and finish.")
    retries: Retries = Field(default=Retries(), description="How often a failed run is tried again.")
    overlap: Literal["skip", "allow", "queue", "replace"] = Field(default="skip", description="If it still runs.")
    missed: Literal["latest", "all", "skip"] = Field(
        default="latest", description="Instants while the service was down."
    )
    missed_limit: Whole = Field(default=100, ge=1, le=10_000)
    missed_within: Span = Field(default=parse_duration("1h"))
    jitter: Length = Field(default=parse_duration("0s"), description="Starts are spread over this.")
    after: tuple[Name, ...] = Field(default=(), max_length=100, description="Runs when these have succeeded.")
    queue: Name = Field(default="default", description="Which runners take it.")
    priority: Whole = Field(default=0, ge=-32_768, le=32_767, description="Higher goes first.")
    protect: YesNo = Field(default=False, description="true: a missing file does not delete it.")
    suspend: YesNo | None = Field(default=None, description="true: not scheduled. Absent leaves a pause alone.")
    pause_after_failures: Whole | None = Field(default=None, ge=1, le=10_000)
    history: History = Field(default=History(), description="How much of its past is kept.")
    notify: Notify | None = Field(default=None, description="Who is told of what.")
    labels: Annotated[dict[Name, Line], AfterValidator(in_order)] = Field(default_factory=dict, max_length=64)
    description: Prose = ""

    def when(self) -> Schedule | None:
        """When it is due; None where it runs only when triggered. Shared between specs that say the same."""
        return self._when

    def document(self) -> dict[str, Any]:
        """The whole spec as JSON has it, defaults filled in: what PostgreSQL keeps."""
        return self.model_dump(mode="json")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the document as JSON, keys in a fixed order, in hex: equal for specs that mean the same."""
        return hashlib.sha256(self.__pydantic_serializer__.to_json(self)).hexdigest()

    @property
    def is_scheduled(self) -> bool:
        """Whether instants of its schedule fire: it has one, and `suspend` does not hold it."""
        return bool(self.schedule) and self.suspend is not True

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> TaskSpec:
        """The spec that `document()` was taken of; ReconcilerError where this version cannot read it."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ReconcilerError(
                f"{document.get('name')}: {where}: {first['msg']}: of another version; apply its spec again"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process: without the schedule, which is soon made, or found, where it is asked for."""
        state = super().__getstate__()
        return {**state, "__dict__": {key: value for key, value in state["__dict__"].items() if key != "_when"}}

    @cached_property
    def _when(self) -> Schedule | None:
        return schedule_of(self.schedule, self.__dict__) if self.schedule else None

    @field_validator("ends_at")
    @classmethod
    def _ends_after_start(cls, end: Any, info: ValidationInfo) -> Any:
        start = info.data.get("starts_at")
        if start and end and (start.tzinfo is None) == (end.tzinfo is None) and end < start:
            raise ValueError(f"'{end}' is before starts_at, '{start}'")
        return end

    @field_validator("schedule", mode="before", json_schema_input_type=tuple[Line, ...])
    @classmethod
    def _understood(cls, written: object, info: ValidationInfo) -> object:
        expressions = (written,) if isinstance(written, str) else written
        if not isinstance(expressions, list | tuple):
            raise ValueError(f"{shown(written)} is not a schedule; write '0 2 * * *', '@every 5m', or a list of these")
        if found := list(dict.fromkeys(_misunderstood(expressions[:MOST_EXPRESSIONS], info.data))):
            raise PydanticCustomError("several", "cannot be understood", {"found": found})
        return expressions

    @field_validator("after")
    @classmethod
    def _not_itself(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("name") in names:
            raise ValueError(f"'{info.data['name']}' cannot wait for itself")
        return names


def _misunderstood(expressions: Sequence[object], fields: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    """What is wrong with each entry of a schedule by itself."""
    for number, text in enumerate(expressions):
        at: Place = ("schedule", number)
        if not isinstance(text, str):
            yield at, not_a("text", text)
            continue
        # With a wrong `seconds`, six fields are that fault and not another.
        is_meant_so = "seconds" not in fields and len(text.split()) == 6
        try:
            schedule_of((text,), {**fields, "seconds": "first"} if is_meant_so else fields)
        except InvalidSchedule as error:
            yield at if error.field == "schedule" else (error.field,), str(error)


def schedule_of(expressions: tuple[str, ...], fields: dict[str, Any]) -> Schedule:
    """The schedule that these expressions make with a spec's other fields; InvalidSchedule if none."""
    # `H` is hashed by name, so only a schedule with an H in it belongs to one spec alone.
    is_hashed = any(map(hashes, expressions))
    dst = fields.get("dst", _USUAL_DST)
    return _shared_schedule(
        expressions,
        fields.get("timezone", "UTC"),
        fields.get("name", "") if is_hashed else "",
        (dst.gap, dst.fold),
        fields.get("seconds"),
        fields.get("starts_at"),
        fields.get("ends_at"),
        fields.get("skip_on", ()),
    )


@lru_cache(maxsize=20_000)
def _shared_schedule(
    expressions: tuple[str, ...],
    timezone: str,
    name: str,
    dst: tuple[Any, Any],
    seconds: Literal["first", "last"] | None,
    starts_at: Any,
    ends_at: Any,
    skip_on: tuple[Any, ...],
) -> Schedule:
    return Schedule(
        expressions,
        timezone,
        name=name,
        dst=Dst(gap=dst[0], fold=dst[1]),
        seconds=seconds,
        starts_at=starts_at,
        ends_at=ends_at,
        skip_on=frozenset(skip_on),
    )


def spec_schema(tasks: Mapping[str, Task] | None = None) -> dict[str, Any]:
    """The JSON schema of a spec file, for editors, with the names and parameters of `tasks` (default: TASKS)."""
    from reconciler.registry import TASKS
    from reconciler.spec.schema import schema_of

    return schema_of(TASKS if tasks is None else tasks)
