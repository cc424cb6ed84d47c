"""Whether a name is one that the database knows, and which was meant if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.command import hint
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.db.link import Link


async def require_known(link: Link, name: str) -> None:
    """ReconcilerError with the nearest name unless the database has a config so named."""
    from reconciler.db import configs

    if not await configs.load(link, [name]):
        known = [key.name for key in await configs.keys(link)]
        raise ReconcilerError(f"no task named '{name}' in the database{hint(name, known) or ': see reconciler status'}")
