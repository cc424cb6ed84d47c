"""uvicorn as a part of somebody else's process: it takes no signals, logs no requests, and ends when it is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from reconciler.api.app import application
from reconciler.api.hooks import Hooks
from reconciler.api.vitals import Vitals


class Guest(uvicorn.Server):
    """Signals are the service's own affair."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(vitals: Vitals, hooks: Hooks | None) -> Guest:
    """A server that is not listening yet."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return Guest(
        uvicorn.Config(
            application(vitals, hooks),
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
