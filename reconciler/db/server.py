"""What the server at the other end of a link is: its version and its clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.db.link import Link

SERVER = "select current_setting('server_version'), current_setting('server_version_num')::int, clock_timestamp()"


@dataclass(frozen=True, slots=True)
class Server:
    """`number` is 180001 for 18.1; `now` its clock when it answered."""

    version: str
    number: int
    now: datetime


async def server(link: Link) -> Server:
    """Ask it; StoreUnavailable when it does not answer."""
    rows = await link.run(SERVER)
    return Server(*rows[0])
