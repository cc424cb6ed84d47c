"""`POST /hooks/git`: a git host says that somebody has pushed, and the sources that follow it are looked at now.

What is applied is read from the repository as always; the message only saves the wait for the next interval. Without a
secret it is off.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reconciler.errors import ReconcilerError, StoreUnavailable
from reconciler.notify.targets import address
from reconciler.pushes import concerns, is_signed, push_of
from reconciler.scheduler.syncing import Syncing
from reconciler.settings import Settings

log = logging.getLogger("reconciler.api")

# No git host sends more; GitHub's own bound.
LARGEST = 25 * 2**20
OFF = "hooks: off: set api.hook_secret, and give the git host the same secret"
UNSIGNED = "hooks: not signed with our secret: give the git host the value of api.hook_secret"


class Hooks:
    """Answers 202 with the sources that are looked at, 200 where none follows what moved, else one line of why not."""

    def __init__(self, settings: Settings, syncing: Syncing) -> None:
        self._secret = settings.api.hook_secret
        self._sources = settings.sources
        self._syncing = syncing

    async def answer(self, request: Request) -> Response:
        if self._secret is None:
            return _refused(404, OFF)
        try:
            secret = await asyncio.to_thread(address, self._secret, "api.hook_secret")
        except ReconcilerError as error:
            return _refused(503, str(error))
        body = await _body(request)
        if body is None:
            return _refused(413, f"hooks: the body is larger than {LARGEST // 2**20} MiB")
        if not secret or not is_signed(body, request.headers, secret):
            log.warning("hooks: a message that is not signed with our secret was refused")
            return _refused(401, UNSIGNED)
        try:
            return await self._asked(body, request.headers.get("content-type", ""))
        except StoreUnavailable as error:
            return _refused(503, f"{error}: send it again later")
        except ReconcilerError as error:
            return _refused(400, str(error))

    async def _asked(self, body: bytes, content_type: str) -> Response:
        push = await asyncio.to_thread(push_of, body, content_type)
        if not push.refs:
            return JSONResponse({"sources": [], "reason": "it tells of no push"})
        names = [one.name for one in self._sources if one.repo and concerns(push, one.repo, one.ref)]
        for name in names:
            await self._syncing.ask(name)
        if not names:
            place, ref = min(push.places, key=lambda place: (len(place), place)), min(push.refs)
            return JSONResponse({"sources": [], "reason": f"no source of this service follows {ref} of {place}"})
        log.info("hooks: a push: looking at %s", ", ".join(names))
        return JSONResponse({"sources": names}, 202)


async def _body(request: Request) -> bytes | None:
    """None where it is too large."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            return None
    return bytes(body)


def _refused(status: int, line: str) -> Response:
    return JSONResponse({"error": line}, status)
