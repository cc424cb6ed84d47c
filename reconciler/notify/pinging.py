"""Dead-man pings: a URL hears that a task succeeded, or that this service is well; when it hears nothing, it calls.

In the manner of healthchecks.io: the URL itself for good news, `/fail` behind it for bad. The latest of a name is what
counts, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from reconciler import __version__
from reconciler.errors import ReconcilerError
from reconciler.notify.aside import aside
from reconciler.notify.targets import Target, address
from reconciler.spec.by_digest import known_spec

log = logging.getLogger("reconciler.notify")

SECONDS = 10.0
TRIES = 3
BETWEEN = 2.0
AT_ONCE = 4
# Names whose latest news may wait at once; beyond, the oldest is dropped.
MOST = 10_000


class Pings:
    """News of finished runs on its way to the URLs of their specs."""

    def __init__(self) -> None:
        self._news: dict[str, tuple[Any, bool]] = {}
        self._arrived = asyncio.Event()
        self._faults: dict[str, str] = {}
        self._busy = 0

    def finished(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Final rows that were just written; never waits, and most have nobody to tell."""
        for record in records:
            spec = known_spec(record["digest"])
            if spec is None or spec.notify is None or spec.notify.ping is None or record["trigger"] == "backfill":
                continue
            self._news.pop(record["name"], None)
            self._news[record["name"]] = (spec.notify.ping, bool(record["is_success"]))
            if len(self._news) > MOST:
                del self._news[next(iter(self._news))]
            self._arrived.set()

    async def run(self) -> None:
        """Send what there is, a few at once, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._send())

    async def drained(self) -> None:
        """Wait until nothing is on its way."""
        while self._news or self._busy:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def _send(self) -> None:
        while True:
            await self._arrived.wait()
            if not self._news:
                self._arrived.clear()
                continue
            name = next(iter(self._news))
            ping, is_success = self._news.pop(name)
            self._busy += 1
            try:
                await self._ping(name, ping, is_success)
            finally:
                self._busy -= 1

    async def _ping(self, name: str, ping: Any, is_success: bool) -> None:
        target = ping if isinstance(ping, str) else ping.model_dump()
        try:
            url = address(target, f"{name}: notify.ping")
            url = url if is_success else failing(url)
            await fetch(url, tries=TRIES, is_still_wanted=lambda: name not in self._news)
            self._faults.pop(name, None)
        except Exception as error:  # another task's URL is no reason to stop for the others
            what = str(error) if isinstance(error, ReconcilerError) else type(error).__name__
            if self._faults.get(name) != what:
                self._faults[name] = what
                log.warning("%s: its ping did not go out: %s", name, what)


async def keep_pinging(target: Target, every: float, is_well: Callable[[], Awaitable[bool]]) -> None:
    """Fetch the service's own URL every so many seconds while it is well, until cancelled. Silence is the alarm."""
    fault = ""
    while True:
        try:
            if await is_well():
                await fetch(address(target, "notify.ping"), tries=1)
                fault = ""
        except ReconcilerError as error:
            if str(error) != fault:
                fault = str(error)
                log.warning("notify.ping: the ping did not go out: %s", error)
        await asyncio.sleep(every)


async def fetch(url: str, *, tries: int, is_still_wanted: Callable[[], bool] = lambda: True) -> None:
    """GET a URL; ReconcilerError, without it, when no try is answered with success."""
    if not is_web(url):
        raise ReconcilerError("not an http:// or https:// address")
    problem = ""
    for number in range(tries):
        if number:
            await asyncio.sleep(BETWEEN)
            if not is_still_wanted():
                return
        try:
            await aside(lambda: _get(url), SECONDS)
            return
        except TimeoutError:
            problem = f"no answer within {SECONDS:g} s"
        except OSError as error:
            code = getattr(error, "code", None)
            problem = f"answered with {code}" if code else _reason(error)
        except Exception as error:
            problem = type(error).__name__
    raise ReconcilerError(problem)


def is_web(url: str) -> bool:
    """Whether it is an address that can be fetched."""
    return urlsplit(url).scheme in ("http", "https")


def failing(url: str) -> str:
    """The URL that hears of failures: `/fail` behind its path."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/fail"))


def _get(url: str) -> None:
    import urllib.error
    import urllib.request  # TLS and all: only where somebody is pinged

    request = urllib.request.Request(url, headers={"User-Agent": f"reconciler/{__version__}"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", error)
    return f"cannot connect: {getattr(reason, 'strerror', None) or type(reason).__name__}"
