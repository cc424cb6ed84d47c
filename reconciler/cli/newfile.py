"""A file that is there as a whole or not at all, and that only its owner reads: it holds what runs and where."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from reconciler.errors import ReconcilerError


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """What to write into; it takes the place of `path` when all went well, and is gone otherwise.

    ReconcilerError where nothing can be written there.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ReconcilerError(f"{path}: cannot be written: {error.strerror}: name another place") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
