"""What the driver tells an app: where the stores are, how many schedules, and from when on they are due."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

# postgresql://postgres@/NAME?host=DIRECTORY and unix:///DIRECTORY/redis.sock
DATABASE = os.environ["PEERS_DATABASE"]
REDIS = os.environ["PEERS_REDIS"]
SCHEDULES = int(os.environ.get("PEERS_SCHEDULES", "0"))
EVERY = 5
# The first instant, a whole number of EVERY seconds.
FIRST = datetime.fromtimestamp(float(os.environ.get("PEERS_FIRST", "0")), UTC)
# Whether each result is to be a row in PostgreSQL.
ROWS = bool(os.environ.get("PEERS_ROWS"))


def counts_from(moment: float) -> None:
    """Tell the driver from when on the peer counts, in seconds since 1970, where it takes no instant of ours."""
    Path(f"{os.environ['PEERS_MARKS']}.from").write_text(str(moment))
