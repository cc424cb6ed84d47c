"""`serve`, `runner`, `watch`: what goes on until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.command import command, given
from reconciler.cli.specs import choose_source
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.settings import Settings

environment_option = click.option(
    "--environment", metavar="NAME", help="Apply the specs as they are in that environment."
)


@command("serve", example="reconciler serve --watch")
@click.option("--watch", is_flag=True, help="See a saved spec or task module at once, not at the interval.")
@click.option("--no-runner", is_flag=True, help="Only keep the stores in step with the specs; run nothing.")
@click.option("--no-sync", is_flag=True, help="Read no specs; run what the database says.")
@environment_option
def serve(watch: bool, no_runner: bool, no_sync: bool, environment: str | None) -> int:
    """The whole service: sync the specs and run the tasks.

    Ctrl-C or SIGTERM stops it: what runs may finish within `runner.shutdown_grace`, and is recorded.
    """
    if no_runner and no_sync:
        raise UsageError("serve: --no-runner and --no-sync together leave nothing to do")
    return _serve(_settings(environment), sync=not no_sync, runner=not no_runner, watch=watch)


@command("runner", example="reconciler runner")
def runner() -> int:
    """Only a runner: run what is due, read no specs."""
    return _serve(given().settings, sync=False, runner=True, watch=False)


@command("watch", example="reconciler watch specs")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--source", metavar="NAME", help="The configured source that the specs belong to.")
@environment_option
def watch(path: Path | None, source: str | None, environment: str | None) -> int:
    """Apply at each save, without a runner.

    A broken file is told, and the last good state stays in force.
    """
    settings = _settings(environment)
    chosen, root, is_own = choose_source(settings, source, path)
    only = chosen.model_copy(update={"path": str(root.absolute()), "prune": chosen.prune and is_own})
    return _serve(settings.model_copy(update={"sources": (only,)}), sync=True, runner=False, watch=True)


def _settings(environment: str | None) -> Settings:
    settings = given().settings
    return settings.model_copy(update={"environment": environment}) if environment else settings


def _serve(settings: Settings, *, sync: bool, runner: bool, watch: bool) -> int:
    import asyncio

    from reconciler.cli.loglines import speak
    from reconciler.cli.service import Parts, serve_until_stopped
    from reconciler.embedded import open_stores

    speak(given().log_level or ("debug" if given().debug else settings.log.level), settings.log.format)
    with open_stores(settings, linger=False) as stores:
        asyncio.run(serve_until_stopped(settings, stores, Parts(sync, runner, watch)))
    return 0


COMMANDS: dict[str, Callable[..., object]] = {"serve": serve, "runner": runner, "watch": watch}
