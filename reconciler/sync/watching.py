"""When did something below a path change? Told in bursts, soon after the last write, and never missed for long.

It does not say what changed: whoever listens compares afresh. The directory may be replaced, absent for a while, or
written by rename, as editors and `git checkout` do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Final

from watchfiles import Change, awatch

log = logging.getLogger("reconciler.watching")
# It tells of each burst at info, and so does whoever listens here.
logging.getLogger("watchfiles").setLevel(logging.WARNING)

SUFFIXES: Final = frozenset({".yaml", ".yml", ".txt", ".ics", ".py"})
IGNORED: Final = frozenset({".git", ".reconciler", "__pycache__", ".venv", "node_modules"})
STEP_MS: Final = 15  # a burst is over when so long nothing was written
LONGEST_BURST_MS: Final = 250
LOOK_MS: Final = 1000  # so often it is looked whether the path is still what is being watched
REST: Final = 0.25
REST_WITHOUT_WATCH: Final = 60.0


async def changes(path: Path) -> AsyncGenerator[None]:
    """One item for each burst of changes at or below `path`, and one whenever some may have been missed.

    Never ends by itself. Where the system cannot watch, it says so once and tries again from time to time.
    """
    complaint, is_again = "", False
    known = _identity(path)
    while True:
        try:
            if known is not None:
                async with aclosing(_bursts(path, known, is_again)) as bursts:
                    async for _ in bursts:
                        yield
        except (OSError, RuntimeError) as error:
            if _identity(path) == known:
                if complaint != (complaint := str(error)):
                    log.warning("watch: %s: %s: changes there are seen at the interval only", path, error)
                await asyncio.sleep(REST_WITHOUT_WATCH)
        is_again = True
        found = _identity(path)
        if found == known:
            await asyncio.sleep(REST)
        else:
            known = found
            yield


def matters(root: Path, change: Change, changed: str) -> bool:
    """Whether a change below `root` is worth a look: a spec, a calendar, code, or a directory of them."""
    *parents, name = Path(changed).relative_to(root).parts or ("",)
    if not IGNORED.isdisjoint((*parents, name)):
        return False
    # A ConfigMap's volume is replaced as a whole through a link of this name; all others with a dot are editors'.
    if name.startswith((".", "#")) or name.endswith("~"):
        return name == "..data"
    suffix = Path(name).suffix
    # Whether what is gone was a directory with a dot in its name can no longer be told.
    return suffix in SUFFIXES or not suffix or change == Change.deleted or Path(changed).is_dir()


async def _bursts(path: Path, watched: tuple[int, int], is_again: bool) -> AsyncGenerator[None]:
    """Bursts until `path` is no longer the `watched` one; `is_again`: one in any case, for what came before."""
    place = path.resolve()
    is_file = place.is_file()
    stop = asyncio.Event()
    batches = awatch(
        place.parent if is_file else place,
        watch_filter=partial(_is_it, place) if is_file else partial(matters, place),
        debounce=LONGEST_BURST_MS,
        step=STEP_MS,
        rust_timeout=LOOK_MS,
        yield_on_timeout=True,
        recursive=not is_file,
        ignore_permission_denied=True,
        stop_event=stop,
    )
    try:
        async with aclosing(batches):
            async for batch in batches:
                if batch or is_again:
                    yield
                is_again = False
                if _identity(path) != watched:
                    return
    finally:
        stop.set()


def _is_it(path: Path, _: Change, changed: str) -> bool:
    return changed == str(path)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
