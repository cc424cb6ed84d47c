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

no_api_option = click.option("--no-api", is_flag=True, help="Answer nothing over HTTP.")
port_option = click.option(
    "--port", type=click.IntRange(0, 65_535), metavar="PORT", help="Where /healthz, /readyz and /metrics are; 0: any."
)
rewind_option = click.option(
    "--allow-rewind",
    is_flag=True,
    help="Let a directory stand at any commit: for your own, where you amend and switch branches.",
)


@command("serve", example="reconciler serve --watch")
@click.option("--watch", is_flag=True, help="See a saved spec or task module at once, not at the interval.")
@click.option("--no-runner", is_flag=True, help="Only keep the stores in step with the specs; run nothing.")
@click.option("--no-sync", is_flag=True, help="Read no specs; run what the database says.")
@environment_option
@rewind_option
@no_api_option
@port_option
def serve(
    watch: bool,
    no_runner: bool,
    no_sync: bool,
    environment: str | None,
    allow_rewind: bool,
    no_api: bool,
    port: int | None,
) -> int:
    """The whole service: sync the specs and run the tasks.

    Ctrl-C or SIGTERM stops it: what runs may finish within `runner.shutdown_grace`, and is recorded.
    """
    if no_runner and no_sync:
        raise UsageError("serve: --no-runner and --no-sync together leave nothing to do")
    settings = _answering(_settings(environment), no_api, port)
    return _serve(settings, sync=not no_sync, runner=not no_runner, watch=watch, allow_rewind=allow_rewind)


@command("runner", example="reconciler runner")
@no_api_option
@port_option
def runner(no_api: bool, port: int | None) -> int:
    """Only a runner: run what is due, read no specs."""
    return _serve(_answering(given().settings, no_api, port), sync=False, runner=True, watch=False)


@command("watch", example="reconciler watch specs")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--source", metavar="NAME", help="The configured source that the specs belong to.")
@environment_option
@rewind_option
def watch(path: Path | None, source: str | None, environment: str | None, allow_rewind: bool) -> int:
    """Apply at each save, without a runner.

    A broken file is told, and the last good state stays in force.
    """
    settings = _settings(environment)
    chosen, root, is_own = choose_source(settings, source, path)
    if chosen.repo and path is None:
        raise UsageError(
            f"watch: source '{chosen.name}' is a repository elsewhere, with no files to watch: name a PATH, "
            f"or make one pass: reconciler sync {chosen.name}"
        )
    only = chosen.model_copy(update={"path": str(root.absolute()), "repo": None, "prune": chosen.prune and is_own})
    chosen_settings = settings.model_copy(update={"sources": (only,)})
    return _serve(chosen_settings, sync=True, runner=False, watch=True, beside=False, allow_rewind=allow_rewind)


def _settings(environment: str | None) -> Settings:
    settings = given().settings
    return settings.model_copy(update={"environment": environment}) if environment else settings


def _answering(settings: Settings, no_api: bool, port: int | None) -> Settings:
    """The settings with what the options say about the API."""
    if no_api:
        return settings.model_copy(update={"api": settings.api.model_copy(update={"enabled": False})})
    if port is None:
        return settings
    api = settings.api.model_copy(update={"enabled": True, "port": port})
    return settings.model_copy(update={"api": api, "origins": {**settings.origins, "api.port": "--port"}})


def _serve(
    settings: Settings, *, sync: bool, runner: bool, watch: bool, beside: bool = True, allow_rewind: bool = False
) -> int:
    import asyncio

    from reconciler.cli.beside import door_of
    from reconciler.cli.loglines import speak
    from reconciler.cli.service import Parts, serve_until_stopped
    from reconciler.embedded import open_stores

    speak(given().log_level or ("debug" if given().debug else settings.log.level), settings.log.format)
    door = door_of(settings) if beside else None  # before anything else is begun: a taken address may be an error
    parts = Parts(sync, runner, watch, beside, allow_rewind)
    with open_stores(settings, linger=False) as stores:
        asyncio.run(serve_until_stopped(settings, stores, parts, door))
    return 0


COMMANDS: dict[str, Callable[..., object]] = {"serve": serve, "runner": runner, "watch": watch}
