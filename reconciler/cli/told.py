"""What `doctor` says of those who are told: whether each address is there and of a kind that is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.cli.checks import Check
from reconciler.durations import format_duration
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.notify.targets import Target
    from reconciler.settings import NotifySettings


def told(notify: NotifySettings) -> Iterator[Check]:
    """The targets and the ping of the settings, as far as can be said without sending anything."""
    from reconciler.notify.pinging import is_web
    from reconciler.notify.targets import is_known

    for name, target in notify.targets.items():
        if isinstance(url := _address(f"notify.targets.{name}", target), Check):
            yield url
        elif not is_known(url):
            fault = "not an address that apprise knows: see its list of services"
            yield Check(f"target {name}", "bad", f"notify.targets.{name}: {fault}")
        else:
            yield Check(f"target {name}", "ok", f"a known kind of address; reconciler notify test {name} tries it")
    if notify.ping is not None:
        if isinstance(url := _address("notify.ping", notify.ping), Check):
            yield url
        elif not is_web(url):
            yield Check("ping", "bad", "notify.ping: not an http:// or https:// address")
        else:
            yield Check("ping", "ok", f"fetched every {format_duration(notify.ping_every)} while a service is well")


def _address(key: str, target: Target) -> str | Check:
    """The URL; a warning where it is not to be had, for the service may have another environment than this shell."""
    from reconciler.notify.targets import address

    try:
        return address(target, key)
    except ReconcilerError as error:
        return Check(key.removeprefix("notify.").replace("targets.", "target "), "warning", str(error))
