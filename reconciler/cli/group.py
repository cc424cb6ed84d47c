"""Which commands there are, without loading any of them.

The table holds each command's module and short help, so that `--help`, completion and a mistyped name cost nothing
but click; a test holds the table against the commands themselves.
"""

from __future__ import annotations

from importlib import import_module

import click
from click.shell_completion import CompletionItem

from reconciler.cli.command import hint, shared

# section -> command -> (module under reconciler.cli, short help)
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Change": {
        "init": ("init", "Begin a repository: settings, a task, a spec, a workflow."),
        "validate": ("validate", "Check every spec, offline, and show every fault at once."),
        "plan": ("plan", "Show what apply would change, and change nothing."),
        "diff": ("plan", "The plan, with exit codes as diff has them: 0 same, 1 differs, 2 error."),
        "apply": ("apply", "Make PostgreSQL and Redis say what the specs say."),
        "sync": ("sync", "One pass from a git repository, for CI and cron."),
        "watch": ("serve", "Apply at each save, without a runner."),
    },
    "Serve": {
        "serve": ("serve", "The whole service: sync the specs and run the tasks."),
        "runner": ("serve", "Only a runner: run what is due, read no specs."),
    },
    "Look": {
        "status": ("status", "Each task: its schedule, next run, last result, pauses."),
        "history": ("history", "What ran, newest first."),
        "logs": ("history", "What one run printed and logged, with its error."),
        "why": ("why", "Why a task ran, or did not, at an instant."),
        "blame": ("blame", "Which commit set each field in force, and who applied it."),
        "next": ("next", "When a task, or a cron expression, is due next."),
        "simulate": ("simulate", "What the specs would do: every fire, overlap, pile-up and clock change."),
        "incidents": ("notify", "What there was to tell: failures, missed runs, silences."),
        "drift": ("drift", "What differs between git, PostgreSQL and Redis."),
        "syncs": ("syncs", "The last applies: which revision, what changed, who."),
        "sources": ("sources", "Where specs come from: how far each source has come, its pin; remove."),
    },
    "Act": {
        "trigger": ("trigger", "Run a task once, now, on a runner."),
        "rerun": ("trigger", "Run an occurrence of the past again."),
        "backfill": ("backfill", "Run what a schedule missed in a range of time."),
        "cancel": ("cancel", "End what runs or waits of a task, all of it or one INSTANT."),
        "pause": ("pausing", "Hold a task's schedule, with a reason and an end."),
        "resume": ("pausing", "End a task's pause; what it missed meanwhile stays skipped."),
        "sync-now": ("sync", "Have the services look at a source at once."),
        "wait": ("wait", "Wait until a commit is applied."),
        "rollback": ("rollback", "Put back what was in force after REV, and pin the source there."),
        "run": ("run", "Call one function here and now: no store, no record."),
    },
    "Look after": {
        "doctor": ("doctor", "Check versions, task modules, who is told, stores, clocks and settings."),
        "notify": ("notify", "Those who are told: test."),
        "db": ("db", "The database: upgrade, downgrade, current, prune, url, shell."),
        "export": ("export", "Write what is in force, for a plan without any store."),
        "schema": ("schema", "The JSON schema of a spec file, for editors."),
        "completion": ("completion", "Print the completion script for a shell."),
    },
}
COMMANDS = {name: entry for commands in SECTIONS.values() for name, entry in commands.items()}


class LazyGroup(click.Group):
    """The group of all commands; a command's module is imported when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"reconciler.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.COMMANDS[cmd_name]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no command named '{args[0]}'{hint(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            formatter.write_text("reconciler serve --watch")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


def version(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from reconciler import __version__

        click.echo(f"reconciler {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=version, help="Print the version.")
def app() -> None:
    """Keep scheduled tasks as git says they should be.

    Specs are YAML files; PostgreSQL remembers, Redis wakes, a runner calls your Python functions.
    """


app.params.extend(shared(hidden=False))
