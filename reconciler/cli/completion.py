"""The scripts that let a shell complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from reconciler.cli.command import command
from reconciler.errors import ReconcilerError


@command("completion", example='eval "$(reconciler completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    Commands, options and the names of tasks are completed.
    """
    from reconciler.cli.group import app

    found = get_completion_class(shell)
    if found is None:
        raise ReconcilerError(f"completion: {shell}: this version of click cannot write it; upgrade click")
    click.echo(found(app, {}, "reconciler", "_RECONCILER_COMPLETE").source())


COMMANDS = {"completion": completion}
