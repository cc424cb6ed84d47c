"""What is in force, as a file: enough to plan against where there is no store. Nothing here opens the file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import from_json, to_json

from reconciler.errors import ReconcilerError

KIND: Final = "reconciler.state"
FORMAT_VERSION: Final = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StateConfig(_Part):
    """One config, whole."""

    name: str
    source: str
    path: str
    digest: str
    spec: dict[str, JsonValue]


class StateSource(_Part):
    """How far a source has come, and where it is pinned."""

    name: str
    place: str = ""
    revision: str | None = None
    applied_at: datetime | None = None
    pinned_revision: str | None = None
    pinned_while: str | None = None
    pinned_at: datetime | None = None
    pinned_by: str | None = None
    pin_reason: str | None = None


class State(_Part):
    """Every config and every source, as they were at `made_at`."""

    kind: Literal["reconciler.state"] = "reconciler.state"
    format_version: Literal[1] = 1
    made_at: datetime
    sources: tuple[StateSource, ...] = ()
    configs: tuple[StateConfig, ...] = ()


def read_state(text: bytes, where: str) -> State:
    """The state in a file's content; ReconcilerError in one line for anything that is none of this version."""
    again = "make it again with reconciler export --state FILE"
    try:
        content = from_json(text, allow_inf_nan=False)
    except (ValueError, RecursionError) as error:
        raise ReconcilerError(f"{where}: is no JSON, or only a part of it: {error}: {again}") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ReconcilerError(f"{where}: is no exported state: {again}")
    if content.get("format_version") != FORMAT_VERSION:
        version = f"format_version {content.get('format_version')!r}"[:60]
        raise ReconcilerError(f"{where}: has {version}, this program reads {FORMAT_VERSION}: {again}")
    try:
        state = State.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ReconcilerError(f"{where}: {place!r:.80}: {first['msg']}: {again}") from None
    if len({config.name for config in state.configs}) != len(state.configs):
        raise ReconcilerError(f"{where}: names a config twice: {again}")
    return state


async def lines(made_at: datetime, sources: list[dict[str, Any]], configs: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """The file's content bit by bit, one config a line, so that it is never in memory as a whole."""
    head = {"kind": KIND, "format_version": FORMAT_VERSION, "made_at": made_at, "sources": sources}
    yield to_json(head)[:-1] + b',"configs":['
    before = b"\n"
    async for config in configs:
        yield before + to_json(config)
        before = b",\n"
    yield b"\n]}\n"
