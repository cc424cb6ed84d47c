"""`validate`: every fault of every spec and every broken task module, offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from reconciler.cli.checking import catalogue_option, tell_also_of_code
from reconciler.cli.command import command, given
from reconciler.cli.output import document, line, note
from reconciler.cli.specs import choose_source, discover, read
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.settings import Settings
    from reconciler.spec.specset import SpecSet

Report = Literal["text", "json", "yaml", "github", "junit", "sarif"]


@command("validate", example="reconciler validate specs --format github")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--format",
    "report",
    type=click.Choice(["text", "json", "yaml", "github", "junit", "sarif"]),
    default="text",
    help="How to report faults.",
)
@click.option("--environment", metavar="NAME", help="Check the specs as they are in that environment.")
@click.option("--source", metavar="NAME", help="The configured source to read.")
@catalogue_option
def validate(path: Path | None, report: Report, environment: str | None, source: str | None) -> int:
    """Check every spec, offline, and show every fault at once.

    PATH is a directory or one file; by default every configured source. Tasks and parameters are checked against the
    task modules; where none is here, against the catalogue, or what runners published. Exit code 1 when there are
    faults.
    """
    settings = given().settings
    tell_also_of_code()
    roots = _local(settings) if path is None and source is None else [choose_source(settings, source, path)[1]]
    module_faults = discover(settings)
    specs = _merged([(root, read(root, environment or settings.environment)) for root in roots])
    _print(report, specs, module_faults)
    return 1 if specs.faults or module_faults else 0


def _local(settings: Settings) -> list[Path]:
    """The directory of each source; of a repository only where it is checked out here, as a pipeline has it."""
    places = [(one, settings.directory / one.path) for one in settings.sources]
    found = [path for one, path in places if one.repo is None or path.exists()]
    if not found:
        raise UsageError("validate: every source is a repository elsewhere: name a PATH")
    return list(dict.fromkeys(found))


def _merged(found: Sequence[tuple[Path, SpecSet]]) -> SpecSet:
    """All of it as one, each spec's path as a person here would write it, which faults have already."""
    from reconciler.spec.specset import SpecSet

    return SpecSet(
        specs=tuple(replace(one, path=shown(root, one.path)) for root, specs in found for one in specs.specs),
        faults=tuple(fault for _, specs in found for fault in specs.faults),
        warnings=tuple(warning for _, specs in found for warning in specs.warnings),
        files=sum(specs.files for _, specs in found),
    )


def shown(root: Path, path: str) -> str:
    """`specs/report.yaml`, for a path below the root and a person standing in the directory above it."""
    place = (root if root.is_dir() else root.parent).absolute()
    here = Path.cwd()
    return ((place.relative_to(here) if place.is_relative_to(here) else place) / path).as_posix()


def _print(report: Report, specs: SpecSet, module_faults: Sequence[str]) -> None:
    if report == "text":
        as_text(specs, module_faults)
        return
    from reconciler.cli import reports

    if report in ("json", "yaml"):
        document(reports.as_json(specs, module_faults), "yaml" if report == "yaml" else "json")
    elif report == "sarif":
        import json

        line(json.dumps(reports.as_sarif(specs, module_faults), indent=2))
    elif report == "junit":
        line(reports.as_junit(specs, module_faults))
    elif text := reports.as_github(specs, module_faults):
        line(text)
    if report == "github":
        note(summary(specs, module_faults))


def as_text(specs: SpecSet, module_faults: Sequence[str]) -> None:
    for text in module_faults:
        line(text)
    for fault in specs.faults:
        line(str(fault))
    for warning in specs.warnings:
        line(f"{warning} (warning)")
    text = summary(specs, module_faults)
    (note if specs.faults or module_faults else line)(text)


def summary(specs: SpecSet, module_faults: Sequence[str]) -> str:
    """`12 specs in 9 files are good`, or how many faults there are."""
    if specs.faults or module_faults:
        # Not "of how many": what is no file, or a link that leads away, is a place with a fault all the same.
        places = _count(len({fault.path for fault in specs.faults}), "file")
        parts = [f"{_count(len(specs.faults), 'fault')} in {places}"] if specs.faults else []
        parts += [_count(len(module_faults), "broken task module")] if module_faults else []
        return " and ".join(parts)
    verb = "is" if len(specs.specs) == 1 else "are"
    return f"{_count(len(specs.specs), 'spec')} in {_count(specs.files, 'file')} {verb} good"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


COMMANDS = {"validate": validate}
