"""The catalogue of tasks that stands in a file, as `schema --catalogue` wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reconciler.errors import ReconcilerError

HOW = "write it with reconciler schema --catalogue"


def read_catalogue(file: Path, where: str) -> dict[str, Any]:
    """The tasks in it, for `registry.catalogue.check_of`; ReconcilerError, beginning with `where`."""
    from reconciler.registry.catalogue import from_text

    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ReconcilerError(f"{where}: cannot be read: {error.strerror}: {HOW}") from error
    except UnicodeDecodeError as error:
        raise ReconcilerError(f"{where}: is not UTF-8 text: {HOW}") from error
    return from_text(text, where)
