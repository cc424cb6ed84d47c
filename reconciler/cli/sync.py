"""`sync`, `sync-now`: one pass from a repository, made here; or asked of the services that run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import Length
from reconciler.cli.command import command, given
from reconciler.cli.output import line, note
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.settings import Settings, SourceSettings

DEFAULT_TIMEOUT = timedelta(minutes=5)


def origin_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where the specs are, for a source that the settings do not have."""
    for option in reversed(
        (
            click.option("--repo", metavar="URL", help="https, ssh, or with --allow-file one on this machine."),
            click.option("--ref", metavar="REF", help="A branch, tag, commit, or 'semver:RANGE'.  [default: main]"),
            click.option("--path", "inside", metavar="DIR", help="The specs inside the repository.  [default: specs]"),
            click.option("--token-env", metavar="VAR", help="For https: the variable that holds the token."),
            click.option("--ssh-key", metavar="FILE", type=click.Path(exists=True), help="For ssh: the private key."),
            click.option("--allow-file", is_flag=True, help="The repository may be on this machine."),
        )
    ):
        function = option(function)
    return function


def guard_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the guards let through, as `apply` has it."""
    for option in reversed(
        (
            click.option("--environment", metavar="NAME", help="Read the specs as they are in that environment."),
            click.option("--prune/--no-prune", default=None, help="Delete what the specs no longer name."),
            click.option("--max-prune", metavar="N|N%", help="How many may be deleted at once."),
            click.option("--allow-empty", is_flag=True, help="Deleting everything is meant."),
            click.option("--allow-rewind", is_flag=True, help="A revision that does not descend is meant."),
            click.option("--reason", metavar="TEXT", help="Why; --allow-rewind needs it, and it is recorded."),
            click.option("--adopt", is_flag=True, help="Take over names that another source owns."),
            click.option(
                "--on-fault",
                type=click.Choice(["refuse", "hold_file"]),
                help="Whether a fault holds back everything, or the tasks of its file.",
            ),
        )
    ):
        function = option(function)
    return function


@command("sync", example="reconciler sync --repo https://git.example/ops/schedules --ref main --token-env GIT_TOKEN")
@click.argument("source", required=False)
@click.option("--source", "named", metavar="NAME", help="The same as SOURCE.")
@origin_options
@guard_options
@click.option("--dry-run", is_flag=True, help="Show what it would do, refusals too, and do nothing.")
@click.option(
    "-o", "--format", "report", type=click.Choice(["text", "json", "yaml"]), default="text", help="How to print it."
)
def sync(
    source: str | None,
    named: str | None,
    repo: str | None,
    ref: str | None,
    inside: str | None,
    token_env: str | None,
    ssh_key: str | None,
    allow_file: bool,
    dry_run: bool,
    report: Any,
    **guards: Any,
) -> int:
    """One pass from a git repository, for CI and cron.

    Fetch, read, compare, guard, apply. SOURCE is one of the settings. With --repo it needs none: the specs of that
    repository belong to source 'default', or to the one named. Exit codes and output are those of `apply`.
    """
    from reconciler.cli.apply import carry_out
    from reconciler.cli.wish import Wish

    name = _one_name(source, named)
    where = {"ref": ref, "path": inside, "token_env": token_env, "ssh_key": ssh_key, "allow_file": allow_file or None}
    again = None
    stray = [f"--{key.replace('_', '-')}" for key, value in where.items() if value is not None]
    if repo:
        chosen = _source_of(name or "default", repo, where)
        given().use(_with(given().settings, chosen))
        name = chosen.name
        again = _typed(named or source, repo, where, token_env)
    elif stray:
        raise UsageError(f"sync: {', '.join(stray)}: only together with --repo; a source of the settings has its own")
    return carry_out(Wish(source=name, **guards), "sync", report, dry_run=dry_run, again=again)


def _typed(source: str | None, repo: str, where: dict[str, Any], token_env: str | None) -> str:
    """The command as it was typed, without what the guards let through."""
    said = {"repo": repo, **where, "token_env": token_env, "source": source}
    parts = [
        f"--{key.replace('_', '-')}" + ("" if value is True else f" {shlex.quote(value)}")
        for key, value in said.items()
        if value
    ]
    return " ".join(["reconciler sync", *parts])


def _one_name(source: str | None, named: str | None) -> str | None:
    if source and named and source != named:
        raise UsageError(f"sync: two sources are named, '{source}' and '{named}': name one")
    return source or named


def _source_of(name: str, repo: str, where: dict[str, Any]) -> SourceSettings:
    """The source that the options describe; UsageError in the words of the settings."""
    from pydantic import ValidationError

    from reconciler.settings import SourceSettings

    token_env = where.pop("token_env")
    said = {key: value for key, value in where.items() if value is not None}
    if token_env:
        said["token"] = {"from_env": token_env}
    if "ssh_key" in said:
        said["ssh_key"] = str(Path(said["ssh_key"]).absolute())
    try:
        return SourceSettings(name=name, repo=repo, **said)
    except ValidationError as error:
        what = str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
        what = re.sub(r"allow_file( = true)?", "--allow-file", what)
        what = re.sub(r"token = \{from_env = 'NAME'\}", "--token-env NAME", what)
        raise UsageError(f"sync: {what}") from None


def _with(settings: Settings, chosen: SourceSettings) -> Settings:
    """The settings with that source in the place of one of its name; the others stay, for what they own."""
    others = tuple(source for source in settings.sources if source.name != chosen.name)
    is_unset = "sources" not in settings.model_fields_set
    return settings.model_copy(update={"sources": (chosen,) if is_unset else (*others, chosen)})


@command("sync-now", example="reconciler sync-now --wait --timeout 2m")
@click.argument("source", required=False)
@click.option("--wait", "waits", is_flag=True, help="Wait until it was looked at, and say what came of it.")
@click.option("--timeout", type=Length(), metavar="TIME", help="With --wait: for so long at most.  [default: 5m]")
def sync_now(source: str | None, waits: bool, timeout: timedelta | None) -> int:
    """Have the services look at a source at once.

    SOURCE is one of the settings, by default all of them. Exit code 1 where no service listens; with --wait also
    where the pass failed or is not over in time, and 3 where a guard refused something.
    """
    from reconciler.cli.askednow import asked

    if timeout is not None and not waits:
        raise UsageError("sync-now: --timeout: only together with --wait")
    sources = _sources(source)
    code, lines = asked(sources, waits, timeout or DEFAULT_TIMEOUT, for_all=source is None)
    for text in lines:
        (line if code == 0 else note)(text)
    return code


def _sources(source: str | None) -> list[str]:
    known = [one.name for one in given().settings.sources]
    if source is None:
        return known
    if source not in known:
        raise UsageError(f"sync-now: no source named '{source}'; configured: {', '.join(known)}")
    return [source]


COMMANDS = {"sync": sync, "sync-now": sync_now}
