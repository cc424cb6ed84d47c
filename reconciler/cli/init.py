"""`init`: a new repository, with a task, a spec, settings and a workflow. What is there already is left alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from reconciler.cli import firstfiles
from reconciler.cli.command import command
from reconciler.cli.output import line, note

SCHEMA = ".reconciler/task.schema.json"


@dataclass(slots=True)
class _Made:
    """What was written, and what was left alone with the reason."""

    written: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


@command("init", example="reconciler init jobs --ci github")
@click.argument("where", metavar="[DIR]", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--ci",
    type=click.Choice(["github", "gitlab", "none"]),
    help="Which workflow to write; by default the one that fits the remote.",
)
def init(where: Path, ci: str | None) -> None:
    """Begin a repository: settings, a task, a spec, a workflow.

    No file that exists is changed. Prints what to type next.
    """
    where.mkdir(parents=True, exist_ok=True)
    top = _top(where)
    kind = ci or _fitting(where, top)
    made = _Made()
    for place, text in _files(where, kind, made):
        _write(where, place, text, made)
    _write_schema(where, made)
    for place in made.written:
        line(f"written     {place}")
    for left in made.left:
        line(f"left alone  {left}")
    _advise(where, top, ci, kind)


def _files(directory: Path, kind: str, made: _Made) -> Iterator[tuple[str, str]]:
    yield "reconciler.toml", firstfiles.SETTINGS
    if any((directory / "specs").rglob("*.y*ml")):
        # A spec more would be a task more, which somebody's service would begin to run.
        made.left.append("specs/, which has specs of its own")
    else:
        yield "tasks/__init__.py", firstfiles.TASKS
        yield "tasks/example.py", firstfiles.EXAMPLE
        yield "specs/heartbeat.yaml", firstfiles.SPEC
    yield ".gitignore", firstfiles.IGNORED
    yield ".pre-commit-config.yaml", firstfiles.PRE_COMMIT
    if kind != "none":
        yield firstfiles.workflow(kind)


def _write(directory: Path, place: str, text: str, made: _Made) -> None:
    path = directory / place
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        made.written.append(place)
    except FileExistsError:
        is_same = path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text
        made.left.append(f"{place}, which {'says so already' if is_same else 'exists'}")


def _write_schema(directory: Path, made: _Made) -> None:
    """As `reconciler schema` writes it, with the tasks that are there now."""
    import json

    from reconciler.cli.specs import discover
    from reconciler.registry import TASKS
    from reconciler.settings import load_settings
    from reconciler.spec import spec_schema

    for fault in discover(load_settings(directory)):
        note(f"reconciler: warning: {fault}")
    _write(directory, SCHEMA, json.dumps(spec_schema(TASKS), indent=2) + "\n", made)


def _advise(directory: Path, top: Path | None, ci: str | None, kind: str) -> None:
    """What is left for a person to do, as lines to copy."""
    path = directory / ".gitignore"
    ignored = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if not re.search(r"^/?\.reconciler/?\s*$", ignored, re.MULTILINE):
        note("reconciler: note: .gitignore: add a line '.reconciler/': stores and caches are kept there")
    if ci is None and kind == "none":
        note(
            f"reconciler: note: no workflow is written: it belongs to the top of the repository, {top}: --ci writes it"
        )
    line("\nnext:")
    if directory.resolve() != Path.cwd():
        line(f"  cd {_quoted(directory)}")
    if top is None:
        line("  git init --initial-branch main && git add . && git commit --message 'Tasks that git declares'")
    for text in ("validate", "plan", "serve --watch"):
        line(f"  reconciler {text}")


def _top(directory: Path) -> Path | None:
    """The top of the working tree that the directory lies in."""
    whole = directory.resolve()
    return next((path for path in (whole, *whole.parents) if (path / ".git").exists()), None)


def _fitting(directory: Path, top: Path | None) -> str:
    """Below the top of a repository no service would look for a workflow."""
    if top is not None and top != directory.resolve():
        return "none"
    config = directory / ".git" / "config"
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    return "gitlab" if re.search(r"^\s*url\s*=.*gitlab", text, re.MULTILINE) else "github"


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


COMMANDS = {"init": init}
