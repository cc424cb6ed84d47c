"""`schema`: what a spec file may say, for an editor that completes and checks while one types."""

from __future__ import annotations

import json
from pathlib import Path

import click

from reconciler.cli.command import command, given
from reconciler.cli.output import line, note
from reconciler.cli.specs import discover


@command("schema", example="reconciler schema --write .reconciler/task.schema.json")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it there.")
def schema(write: Path | None) -> int:
    """The JSON schema of a spec file, for editors.

    It knows the task functions of this project and their parameters. An editor finds it through a first line
    `# yaml-language-server: $schema=../.reconciler/task.schema.json`.
    """
    from reconciler.registry import TASKS
    from reconciler.spec import spec_schema

    for fault in discover(given().settings):
        note(f"reconciler: warning: {fault}")
    text = json.dumps(spec_schema(TASKS), indent=2)
    if write is None:
        line(text)
        return 0
    write.parent.mkdir(parents=True, exist_ok=True)
    write.write_text(text + "\n", encoding="utf-8")
    note(f"written to {write}")
    return 0


COMMANDS = {"schema": schema}
