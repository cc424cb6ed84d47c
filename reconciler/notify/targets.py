"""The targets of the settings: what each name stands for, and how one is told.

A target's address is a secret as a whole: it is never shown, logged or kept, and what the library says of it is masked.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pydantic import SecretStr

from reconciler.errors import ReconcilerError
from reconciler.nearest import did_you_mean
from reconciler.notify.aside import aside
from reconciler.notify.wording import Message
from reconciler.registry.references import Mask, UnresolvedError, resolve
from reconciler.settings import Reference

SECONDS = 10.0
SHORTEST_SECRET = 4

Target = SecretStr | Reference

# Others may be told at the same time, and their addresses are masked elsewhere. A context, for apprise sends from
# threads of its own, and takes it along.
_SAID: ContextVar[list[str] | None] = ContextVar("said", default=None)


class UnknownTargetError(ReconcilerError):
    """No target of that name: to try again would change nothing."""


class NotSentError(ReconcilerError):
    """A target was not told; it may be worth another try."""


def address(target: Target | Mapping[str, Any] | str, what: str, environ: Mapping[str, str] = os.environ) -> str:
    """The URL that a setting holds or refers to; ReconcilerError, naming `what`, where there is none."""
    if isinstance(target, SecretStr):
        return target.get_secret_value().strip()
    if isinstance(target, str):
        return target.strip()
    reference = target.model_dump(exclude_none=True) if isinstance(target, Reference) else dict(target)
    try:
        found, _ = resolve({"url": reference}, environ)
    except UnresolvedError as error:
        why = str(error).replace("where the task runs", "where the service runs")
        raise ReconcilerError(f"{what}: {why}") from None
    return str(found["url"]).strip()


def is_known(url: str) -> bool:
    """Whether apprise knows what to do with an address; nothing is sent."""
    import apprise

    with _library_said():
        return bool(apprise.Apprise().add(url))


async def tell(targets: Mapping[str, Target], name: str, message: Message) -> None:
    """Send a message to the target of that name; UnknownTargetError or NotSentError, of one line without secrets."""
    if name not in targets:
        more = did_you_mean(name, targets) if targets else "there is none in the settings"
        raise UnknownTargetError(f"notify: no target named '{name}': {more}")
    try:
        url = address(targets[name], f"notify.targets.{name}")
    except ReconcilerError as error:
        raise NotSentError(str(error)) from None
    try:
        problem = await aside(lambda: _send(url, message), SECONDS)
    except TimeoutError:
        problem = f"no answer within {SECONDS:g} s"
    except Exception as error:
        problem = f"{type(error).__name__}: {_masked(str(error), url)}"
    if problem:
        raise NotSentError(f"notify.targets.{name}: not told: {problem}")


def _send(url: str, message: Message) -> str | None:
    """None when it was sent, else why not. Blocks."""
    import apprise

    with _library_said() as said:
        service = apprise.Apprise()
        if not service.add(url):
            return "not an address that apprise knows: see its list of services"
        kinds = {kind.value: kind for kind in apprise.NotifyType}
        sent = service.notify(
            title=message.subject,
            body=message.body,
            notify_type=kinds.get(message.mood, apprise.NotifyType.INFO),
            body_format=apprise.NotifyFormat.TEXT,
        )
    if sent:
        return None
    return _masked(said[0], url).rstrip(".") if said else "it was refused"


@contextmanager
def _library_said() -> Iterator[list[str]]:
    """The first lines that apprise has to say at warning; they go nowhere else."""
    said: list[str] = []
    token = _SAID.set(said)

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if _SAID.get() is said and record.levelno >= logging.WARNING and not said:
                said.append(" ".join(record.getMessage().split())[:200])

    logger, keep = logging.getLogger("apprise"), Keep()
    logger.propagate = False
    logger.addHandler(keep)
    try:
        yield said
    finally:
        logger.removeHandler(keep)
        _SAID.reset(token)


def _masked(text: str, url: str) -> str:
    """Without any part of the address but its scheme and the host's name."""
    rest = url.partition("://")[2]
    parts = [part for part in re.split(r"[/@:?&=#,]", rest) if len(part) >= SHORTEST_SECRET]
    return Mask.of([url, rest, *parts])(text)
