"""What every command has in common: an example in its help, and three options that stand anywhere on the line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reconciler.settings import Settings

LEVELS = ("debug", "info", "warning", "error")


class Given:
    """What the person said about the whole command: how loud, with a traceback or not; and the settings of here."""

    def __init__(self) -> None:
        self.debug = False
        self.log_level: str | None = None
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The settings of that directory, read when first asked for."""
        if self._settings is None:
            from reconciler.settings import load_settings

            self._settings = load_settings()
        return self._settings

    def use(self, settings: Settings) -> None:
        """Go by these from here on: the options of a command have said something else."""
        self._settings = settings


def shared(*, hidden: bool) -> list[click.Parameter]:
    """-C, --log-level and --debug, which write into the `Given` of the whole command line."""

    def keep(ctx: click.Context, option: click.Parameter, value: Any) -> None:
        if value and not ctx.resilient_parsing:
            setattr(ctx.find_root().ensure_object(Given), option.name or "", value)

    def work_in(ctx: click.Context, option: click.Parameter, value: Path | None) -> None:
        if value:
            os.chdir(value)

    directory = click.Path(exists=True, file_okay=False, path_type=Path)
    common: dict[str, Any] = {"expose_value": False, "hidden": hidden, "is_eager": True}
    return [
        click.Option(
            ["-C", "--directory"],
            type=directory,
            metavar="DIR",
            callback=work_in,
            help="Work as if started in DIR.",
            **common,
        ),
        click.Option(
            ["--log-level"], type=click.Choice(LEVELS), callback=keep, help="How much the service says.", **common
        ),
        click.Option(["--debug"], is_flag=True, callback=keep, help="Show the traceback of an error.", **common),
    ]


class Command(click.Command):
    """A command whose help ends with an example, and which takes the shared options too."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.params.extend(shared(hidden=True))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write_text(line)


def command(name: str, *, example: str) -> Callable[[Callable[..., int | None]], Command]:
    """Declare a command; what its function returns is the exit code."""
    return click.command(name, cls=Command, example=example, context_settings={"help_option_names": ["-h", "--help"]})


class Group(click.Group):
    """A word with commands behind it; an unknown one of them is answered with the nearest."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no command named '{self.name} {args[0]}'{hint(args[0], self.commands)}", ctx)
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            formatter.write_text(self.example)


def group(name: str, *, example: str) -> Callable[[Callable[..., int | None]], Group]:
    """Declare a group of commands."""
    return click.group(name, cls=Group, example=example, context_settings={"help_option_names": ["-h", "--help"]})


def given() -> Given:
    """The `Given` of the command line that runs now."""
    return click.get_current_context().find_root().ensure_object(Given)


def hint(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the likeliest of the known words, or nothing."""
    from reconciler.nearest import nearest

    found = nearest(word, known)
    return f"; did you mean '{found}'?" if found else ""
