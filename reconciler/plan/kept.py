"""A file that a command wrote, read back: is it of its kind, of this version, and every word of it as it may be?

Anyone may have edited it. What it is a file of is not known here.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from reconciler.errors import ReconcilerError


class Part(BaseModel):
    """A part of such a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


File = TypeVar("File", bound=Part)


def kept(text: bytes, where: str, model: type[File], what: str, again: str) -> File:
    """The `model` in a file's content, whose `kind` and `format_version` have their only value as default.

    ReconcilerError in one line for anything else; `what` the file should be, `again` how to make another.
    """
    kind, version = (model.model_fields[field].default for field in ("kind", "format_version"))
    try:
        content = from_json(text, allow_inf_nan=False)
    except (ValueError, RecursionError) as error:
        raise ReconcilerError(f"{where}: is no {what}: it is no JSON, or only a part of it: {error}: {again}") from None
    if not isinstance(content, dict) or content.get("kind") != kind:
        raise ReconcilerError(f"{where}: is no {what}: {again}")
    if content.get("format_version") != version:
        given = f"format_version {content.get('format_version')!r}"[:60]
        raise ReconcilerError(f"{where}: has {given}, this program reads {version}: {again}")
    try:
        # Strictness as JSON has it: an instant is text there, a tuple a list.
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or f"the {what}"
        said = first["msg"].removeprefix("Value error, ")
        raise ReconcilerError(f"{where}: {on_a_line(place)}: {on_a_line(said)}: {again}") from None


def on_a_line(text: str) -> str:
    """On one line, with nothing in it that a terminal would act on."""
    flat = " ".join(text.split())
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in flat)[:300]
