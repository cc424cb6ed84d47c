"""What a runner knows of a task without importing it, and how it hears of calls while they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# A call's id; how far it is, from 0 to 1, and a line about that.
OnProgress = Callable[[str, float, str], None]
# A call's id; the number of characters that it printed before, and what came next.
OnOutput = Callable[[str, int, str], None]


@dataclass(frozen=True)
class TaskInfo:
    """`schema` is the JSON schema of its parameters; `wants_context`: it takes a TaskContext."""

    name: str
    is_async: bool
    schema: dict[str, Any]
    doc: str
    wants_context: bool = False
