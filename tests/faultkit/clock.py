"""A wall clock that a test may set, for one process and its children: libfaketime, and a file that says how far off.

Monotonic clocks stay true, as they do where a person or NTP sets the time.
"""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest


class WallClock:
    """`environment` is for the process; it sees each `set` at once. Whatever its account, it has to read the file."""

    def __init__(self, directory: Path) -> None:
        """The directory has to exist, and to be passable for the process."""
        self._file = directory / "clock"
        self.set(timedelta(0))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
        }

    def set(self, ahead: timedelta) -> None:
        """So far ahead of the true time, from now on; what is negative is behind."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead.total_seconds():+.0f}")
        new.chmod(0o644)
        new.replace(self._file)

    def set_to(self, moment: datetime) -> None:
        """That moment, to the second, from now on."""
        self.set(moment - datetime.now(UTC))


@cache
def _library() -> Path:
    """The shared library; the test that asks is skipped where there is none that works here."""
    spec = importlib.util.find_spec("libfaketime")
    places = spec.submodule_search_locations if spec else None
    found = [path for place in places or () for path in Path(place).glob("vendor/libfaketime/src/libfaketime.so.1")]
    if not found:
        pytest.skip("no libfaketime for this system: pip install 'reconciler[test]' on Linux brings it")
    return found[0]
