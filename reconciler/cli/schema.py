"""`schema`: what a spec file may say, for an editor that completes and checks while one types."""

from __future__ import annotations

import json
from pathlib import Path

import click

from reconciler.cli.command import command, given
from reconciler.cli.output import line, note
from reconciler.cli.specs import discover
from reconciler.errors import ReconcilerError, UsageError


@command("schema", example="reconciler schema --write .reconciler/task.schema.json")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it there.")
@click.option(
    "--catalogue",
    is_flag=False,
    flag_value="-",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="[FILE]",
    help="Print, or write to FILE, the tasks and their parameters instead.",
)
def schema(write: Path | None, catalogue: str | None) -> int:
    """The JSON schema of a spec file, for editors.

    It knows the task functions of this project and their parameters. An editor finds it through a first line
    `# yaml-language-server: $schema=../.reconciler/task.schema.json`. With --catalogue: what validate, plan and apply
    check by where the task modules are absent.
    """
    from reconciler.registry import TASKS

    if write and catalogue:
        raise UsageError("schema: --write is about the schema and --catalogue about the tasks: one at a time")
    faults = discover(given().settings)
    for fault in faults:
        note(f"reconciler: warning: {fault}")
    if catalogue:
        from reconciler.registry.catalogue import as_text, catalogue_of

        if faults:
            raise ReconcilerError("schema: a catalogue that lacks the tasks of a broken module is not written: mend it")
        return _written(as_text(catalogue_of(TASKS)), None if catalogue == "-" else Path(catalogue))
    from reconciler.spec import spec_schema

    return _written(json.dumps(spec_schema(TASKS), indent=2) + "\n", write)


def _written(text: str, file: Path | None) -> int:
    if file is None:
        line(text.rstrip("\n"))
        return 0
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    note(f"written to {file}")
    return 0


COMMANDS = {"schema": schema}
