"""What is in force, as a file: enough to plan against where there is no store. Nothing here opens the file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import JsonValue
from pydantic_core import to_json

from reconciler.errors import ReconcilerError
from reconciler.plan.kept import Part, kept

KIND: Final = "reconciler.state"
FORMAT_VERSION: Final = 1
AGAIN: Final = "make it again with reconciler export --state FILE"


class StateConfig(Part):
    """One config, whole."""

    name: str
    source: str
    path: str
    digest: str
    spec: dict[str, JsonValue]


class StateSource(Part):
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


class State(Part):
    """Every config and every source, as they were at `made_at`."""

    kind: Literal["reconciler.state"] = "reconciler.state"
    format_version: Literal[1] = 1
    made_at: datetime
    sources: tuple[StateSource, ...] = ()
    configs: tuple[StateConfig, ...] = ()


def read_state(text: bytes, where: str) -> State:
    """The state in a file's content; ReconcilerError in one line for anything that is none of this version."""
    state = kept(text, where, State, "exported state", AGAIN)
    if len({config.name for config in state.configs}) != len(state.configs):
        raise ReconcilerError(f"{where}: names a config twice: {AGAIN}")
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
