"""How the process ends: which exit code, and one line on stderr for what went wrong.

What the commands do is none of its business; they are in the modules beside it, each loaded when it is called.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from reconciler.cli.group import app
from reconciler.errors import ReconcilerError, UsageError

INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    # Imports allocate much and free nothing: collecting as often as by default costs a tenth of a short command.
    gc.set_threshold(50_000, 20, 100)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if "_RECONCILER_COMPLETE" in os.environ:
        app.main(arguments, prog_name="reconciler")
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a check mark shows a question mark, and the command goes on.
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace" if stream is sys.stderr else "replace")
    code = code_of(arguments)
    gc.freeze()  # it all goes with the process; to search it for cycles first takes longer than many a command
    sys.exit(code)


def code_of(arguments: list[str]) -> int:
    """What the command returned, or the code of the error that ended it, which stands on stderr by then."""
    try:
        with app.make_context("reconciler", list(arguments)) as context:
            code = app.invoke(context)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        silence_stdout()
        return BROKEN_PIPE
    except Exception as error:
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
        text, code = reading(error)
        print(f"reconciler: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201
        return code


def silence_stdout() -> None:
    """Point stdout elsewhere: where its reader is gone, Python would say so once more while it closes down."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def reading(error: Exception) -> tuple[str, int]:
    """The one line that an error becomes, and its exit code."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, click.UsageError):
        return usage(error), UsageError.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    code = int(getattr(error, "exit_code", 1))
    if isinstance(error, ReconcilerError):
        return str(error), code
    if type(error).__module__.startswith("psycopg"):
        return f"postgresql: {str(error).splitlines()[0] if str(error) else type(error).__name__}", code
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'system'}: {error.strerror}", code
    return f"unexpected {type(error).__name__}: {error}: run it again with --debug and report the traceback", code


def usage(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "reconciler"
    where = path.removeprefix("reconciler").strip()
    if type(error).__name__ == "NoArgsIsHelpError" and error.ctx:
        # click's text for it is the whole help; the line below stays one line.
        return f"{where or 'usage'}: a command is missing; see '{path} --help'"
    message = error.format_message().rstrip(".")
    if message.startswith(("No such option", "Missing", "Got unexpected", "Option")):
        message = message[0].lower() + message[1:]
    return f"{where + ': ' if where else ''}{message}; see '{path} --help'"
