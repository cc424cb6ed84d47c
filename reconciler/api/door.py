"""The address that the service answers at: taken at the start, served by uvicorn inside the loop that is there.

The libraries are loaded only when serving begins, so that taking the port costs a start nothing.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError
from reconciler.settings import ApiSettings

if TYPE_CHECKING:
    from reconciler.api.serving import Guest
    from reconciler.api.vitals import Vitals
    from reconciler.scheduler.syncing import Syncing

log = logging.getLogger("reconciler.api")

CLOSE_WITHIN = 1.0


class Door:
    """A bound socket; `url` says where."""

    def __init__(self, bound: socket.socket, host: str) -> None:
        self._socket = bound
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{bound.getsockname()[1]}"

    async def serve(self, vitals: Vitals, syncing: Syncing | None = None) -> None:
        """Answer until cancelled; `syncing` is how webhooks reach the sync loop, None: there are none."""
        server = await asyncio.to_thread(_server, vitals, syncing)
        serving = asyncio.create_task(server.serve(sockets=[self._socket.dup()]))
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            _, late = await asyncio.wait([serving], timeout=CLOSE_WITHIN)
            if late:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    def close(self) -> None:
        self._socket.close()


def open_door(settings: ApiSettings, *, is_asked_for: bool) -> Door | None:
    """Take the address. None, with a warning, where the default one is taken; ReconcilerError for one that was
    asked for.
    """
    place = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ReconcilerError(f"api: {place}: {error.strerror or error}: check api.host") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        why = "is taken" if error.errno == errno.EADDRINUSE else (error.strerror or str(error)).lower()
        if is_asked_for:
            raise ReconcilerError(f"api: {place} {why}: choose another with api.port or --port") from error
        log.warning("api: %s %s; this service goes on without it: api.port = 0 takes any that is free", place, why)
        return None
    return Door(bound, settings.host)


def _server(vitals: Vitals, syncing: Syncing | None) -> Guest:
    from reconciler.api.hooks import Hooks
    from reconciler.api.serving import server_of

    return server_of(vitals, Hooks(vitals.settings, syncing) if syncing else None)
