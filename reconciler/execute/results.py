"""What a task returns or raises, as values that can be stored: JSON, one line of text, a traceback of its own code."""

from __future__ import annotations

import dataclasses
import json
import traceback
from collections import deque
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any
from uuid import UUID

from reconciler.execute.output import NO_MASK, clean, head, tail
from reconciler.registry.references import Mask

RESULT_LIMIT = 256 * 1024
ERROR_LIMIT = 8 * 1024
TRACEBACK_LIMIT = 32 * 1024
DEEPEST = 100
MOST_KINDS = 32
OWN_CODE = str(Path(__file__).parents[1])
UNSHOWABLE = "(its text cannot be shown)"


class NotJSONError(ValueError):
    """A task returned what JSON cannot hold; the text says what."""


class _UnknownTypeError(TypeError):
    """JSON has nothing for this type; the text is its name."""


class TooLargeError(ValueError):
    """A task returned more than is kept; the text says how much."""


def to_json(value: Any) -> Any:
    """A result as plain JSON values; NotJSONError, TooLargeError.

    Dataclasses and pydantic models become objects; dates, paths, decimals and UUIDs text; sets lists.
    """
    if value is None or value is True or value is False:
        return value
    try:
        text = json.dumps(value, default=_plain, allow_nan=False, ensure_ascii=False)
    except Exception as error:
        raise NotJSONError(_reason(value, error)) from None
    size = len(text.encode(errors="replace"))
    if size > RESULT_LIMIT:
        raise TooLargeError(f"the result has {size / 1024:.1f} KiB; up to {RESULT_LIMIT // 1024} KiB are kept")
    return _cleaned(json.loads(text))


def error_line(error: BaseException, mask: Mask = NO_MASK) -> str:
    """`ValueError: text`, one line, at most 8 KiB; masked before it is cut."""
    if isinstance(error, SystemExit):
        return f"SystemExit: the task called exit({_shown(repr, error.code)}); a task ends by returning"
    text = " ".join(_shown(str, error).split())
    if isinstance(error, BaseExceptionGroup) and error.exceptions:
        text += f": {error_line(error.exceptions[0], mask)}"
    return head(mask(clean(f"{type(error).__name__}: {text}" if text else type(error).__name__)), ERROR_LIMIT)


def kinds_of(error: BaseException) -> tuple[str, ...]:
    """Its class and the bases of that up to Exception, dotted: `('builtins.TimeoutError', 'builtins.OSError', …)`."""
    classes = [kind for kind in type(error).__mro__ if kind not in (object, BaseException)]
    return tuple(clean(f"{kind.__module__}.{kind.__qualname__}") for kind in classes[:MOST_KINDS])


def only_cause(error: BaseException) -> BaseException:
    """What a group of exceptions holds, where that is a single one; else the error itself."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def traceback_text(error: BaseException, mask: Mask = NO_MASK) -> str | None:
    """The traceback from the first frame that is not ours, its end kept; None when there is no such frame."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    if frames is None:
        return None
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception:
        text = "".join(traceback.format_tb(frames)) + f"{type(error).__name__}: {UNSHOWABLE}\n"
    return tail(mask(clean(text)), TRACEBACK_LIMIT)


def _is_ours(frames: TracebackType) -> bool:
    """Whether a frame is in this package, and not in the task library that an installed one holds."""
    file = frames.tb_frame.f_code.co_filename
    return file.startswith(OWN_CODE) and not file.startswith(OWN_CODE + "/tasks/")


def _shown(how: Any, value: object) -> str:
    try:
        return str(how(value))
    except BaseException:
        return UNSHOWABLE


def _reason(value: Any, error: Exception) -> str:
    if isinstance(error, _UnknownTypeError):
        return "is not JSON" if str(error) == type(value).__name__ else f"holds {error}"
    if isinstance(error, RecursionError):
        return f"is nested more than {DEEPEST} levels deep"
    if isinstance(error, ValueError) and "Circular" in str(error):
        return "contains itself"
    if isinstance(error, ValueError) and "Out of range" in str(error):
        return "contains NaN or infinity"
    return f"cannot be written as JSON ({error_line(error)})"


def _plain(value: Any) -> Any:
    """The next plainer form of a value that json does not know."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, PurePath | Decimal | UUID):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        from reconciler.durations import format_duration  # imports pydantic: only where it is needed

        return format_duration(value)
    return _plain_collection(value)


def _plain_collection(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return _sorted(value)
    if isinstance(value, deque | range):
        return list(value)
    if hasattr(value, "tolist"):  # numpy's arrays and scalars
        return value.tolist()
    raise _UnknownTypeError(type(value).__name__)


def _sorted(values: Iterable[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:
        return list(values)


def _cleaned(value: Any, depth: int = 0) -> Any:
    if depth > DEEPEST:
        raise NotJSONError(f"is nested more than {DEEPEST} levels deep")
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _cleaned(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, depth + 1) for item in value]
    return value
