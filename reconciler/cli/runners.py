"""Which runners live, as far as one look can tell."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.runners import RunnerRow


async def live(link: Link) -> list[RunnerRow]:
    """Every registered runner but those of this host whose process is gone.

    Only watching a beat for a whole lease tells more, and another runner does that.
    """
    from reconciler.db import runners

    here = socket.gethostname()
    return [row for row in await runners.listing(link) if row.host != here or _is_running(row.pid)]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
