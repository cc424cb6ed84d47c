"""`doctor`: is everything here that a service needs, and where does each setting come from?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.cli import checks
from reconciler.cli.checks import Check
from reconciler.cli.command import command, given
from reconciler.cli.output import Column, Format, document, line, output_option, table
from reconciler.cli.told import told
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.settings import Settings

MARKS = {"ok": "✓", "warning": "!", "bad": "✗"}
STYLES = {"ok": "green", "warning": "yellow", "bad": "red"}


@command("doctor", example="reconciler doctor")
@output_option
def doctor(output: Format) -> int:
    """Check versions, task modules, who is told, stores, clocks and settings.

    Exit code 1 when something is broken (✗); a warning (!) is no failure.
    """
    settings = given().settings
    found = [*checks.of_host(settings), *told(settings.notify), *_of_stores(settings)]
    values = checks.settings_values(settings)
    if output != "table":
        document({"checks": [check.as_json() for check in found], "settings": values}, output)
    else:
        table(found, _columns())
        line()
        columns = [Column(key, lambda row, key=key: str(row[key])) for key in ("setting", "value", "from")]  # type: ignore[misc]
        table(values, columns)
    return 1 if any(check.state == "bad" for check in found) else 0


def _of_stores(settings: Settings) -> list[Check]:
    from reconciler.embedded import open_stores

    try:
        with open_stores(settings) as stores:
            return asyncio.run(checks.of_stores(stores, settings))
    except ReconcilerError as error:
        return [Check("stores", "bad", str(error))]


def _columns() -> list[Column]:
    return [
        Column("", lambda check: MARKS[check.state], lambda check: STYLES[check.state]),
        Column("what", lambda check: check.what, lambda check: "bold"),
        Column("found", lambda check: check.text),
    ]


COMMANDS = {"doctor": doctor}
