"""What a person may write for an instant, a length of time, a parameter, a name; and who that person is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from reconciler.cli.command import Given
from reconciler.errors import ReconcilerError
from reconciler.lines import cut

if TYPE_CHECKING:
    from reconciler.registry.params import ParamFault


# Nothing is due outside, and whatever is counted from an instant inside stays one that can be written down.
YEARS = (1900, 2999)


class Length(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """`90s`, `2h`, `1d12h`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        from reconciler.durations import parse_duration

        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Instant(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """An ISO date or time, or with `is_past` also a length of time before now; naive ones are left naive."""

    name = "instant"

    def __init__(self, *, is_past: bool = False) -> None:
        self.is_past = is_past

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            found = value if isinstance(value, datetime) else self._moment(value)
        except ValueError:
            example = "'2026-01-02T03:00:00Z'" + (" or '2h'" if self.is_past else "")
            self.fail(f"{value!r} is not an instant; an example: {example}", param, ctx)
        if not YEARS[0] <= found.year <= YEARS[1]:
            self.fail(f"{value!r}: the year has to be from {YEARS[0]} to {YEARS[1]}", param, ctx)
        return found

    def _moment(self, text: str) -> datetime:
        from reconciler.durations import parse_duration

        try:
            return datetime.fromisoformat(text)
        except ValueError:
            if not self.is_past:
                raise
        return datetime.now(UTC) - parse_duration(text)


def aware(moment: datetime, timezone: str = "UTC") -> datetime:
    """The instant in UTC; a naive one is read on the clocks of that zone."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone))).astimezone(UTC)


def as_meant(moment: datetime, timezone: str = "UTC") -> datetime:
    """What `aware` makes of an instant on the command line; of a naive one a note says how it was read."""
    found = aware(moment, timezone)
    if moment.tzinfo is None:
        from reconciler.cli.output import note, utc
        from reconciler.cli.words import exact

        local = "" if timezone == "UTC" else f" ({utc(found)})"
        note(f"{moment} has no offset: read as {exact(found, timezone)}{local}")
    return found


class Parameter(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """`key=value`: the value as a spec would read it, `{…}` and `[…]` as JSON or YAML."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not 'key=value'", param, ctx)
        try:
            return key, parameter_value(text)
        except ValueError as error:
            self.fail(f"{key}: {error}", param, ctx)


def parameter_value(text: str) -> Any:
    """What the text means: JSON where it opens like a structure or a quotation, else the word as a spec reads it.

    ValueError where it is neither, or ambiguous.
    """
    from reconciler.specfiles.yamlscalars import plain

    if not text.startswith(("{", "[", '"', "'")):
        return plain(text)
    try:
        return json.loads(text)
    except ValueError:
        return _in_yaml(text)


def _in_yaml(text: str) -> Any:
    """`[1, a]` or `'3'`: what is written as in a spec, though not as in JSON."""
    from reconciler.specfiles.yamlgate import load

    kind = {"[": "list", "{": "mapping"}.get(text[0], "quotation")
    loaded = load(text.encode())
    if loaded.problems or len(loaded.documents) != 1:
        raise ValueError(f"{cut(text, 60)} is neither a {kind} of JSON nor one of YAML")
    return loaded.documents[0].value


def told_to_quote(fault: ParamFault, params: Mapping[str, Any]) -> str:
    """The fault of a parameter; what a shell would take the quotes off is shown as one has to type it."""
    name, text = fault.param, str(fault)
    if name not in params or fault.inside or isinstance(params[name], str):
        return text
    return re.sub(r"; quote it: ('.*')$", lambda found: f'; quote it: -p "{name}={found[1]}"', text)


def actor() -> str:
    """`user@host`, as pauses, triggers and syncs record it."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        import os

        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names that begin so, read off the spec files without parsing them: quick, and near enough for a shell."""
    try:
        settings = ctx.find_root().ensure_object(Given).settings
        names: set[str] = set()
        for source in (source for source in settings.sources if source.repo is None):
            files = sorted((settings.directory / source.path).rglob("*.y*ml"))[:2000]
            for path in files:
                text = path.read_text("utf-8", "replace") if path.stat().st_size < 100_000 else ""
                found = re.findall(r"^name:\s*[\"']?([\w.-]+)", text, re.MULTILINE)
                names.update(found or [path.stem])
    except (ReconcilerError, OSError):
        return []
    return sorted(name for name in names if name.startswith(incomplete) and not name.startswith("_"))


def complete_name_or_task(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The same, and the functions that the task modules register; none where those cannot be imported."""
    from reconciler.cli.specs import discover

    try:
        discover(ctx.find_root().ensure_object(Given).settings)
    except Exception:
        return complete_name(ctx, param, incomplete)  # a shell that completes has no use for an error
    from reconciler.registry import TASKS

    found = {name for name in TASKS if name.startswith(incomplete)}
    return sorted(found.union(complete_name(ctx, param, incomplete)))


params_option = click.option(
    "-p", "--param", "params", type=Parameter(), multiple=True, metavar="KEY=VALUE", help="A parameter; repeatable."
)
