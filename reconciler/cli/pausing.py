"""`pause` and `resume`: hold a name, or all that have a label. PostgreSQL first, then Redis is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import asking
from reconciler.cli.arguments import Instant, Length, actor, aware, complete_name
from reconciler.cli.command import command, hint
from reconciler.cli.names import require_known
from reconciler.cli.output import line, note
from reconciler.cli.standing import labels_words, pause_words
from reconciler.cli.stores import redis_of, with_stores
from reconciler.cli.words import exact, when
from reconciler.errors import ReconcilerError, Refused, StoreUnavailable, UsageError

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.overrides import Override
    from reconciler.embedded import Stores

MOST_NAMES = 5


class Label(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """`team=data`."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not key or not equals or not text:
            self.fail(f"{value!r} is not a label; an example: 'team=data'", param, ctx)
        return key, text


labels_option = click.option(
    "-l",
    "--label",
    "labels",
    type=Label(),
    multiple=True,
    metavar="KEY=VALUE",
    help="All tasks with this label, later ones too; repeated: with all of these.",
)


@command("pause", example='reconciler pause nightly-sales --for 2h --reason "the warehouse moves"')
@click.argument("name", required=False, shell_complete=complete_name)
@labels_option
@click.option("--for", "length", type=Length(), metavar="LENGTH", help="How long; without an end until resumed.")
@click.option("--until", type=Instant(), metavar="ISO", help="Until then; without an offset on the task's clock.")
@click.option("--reason", metavar="TEXT", help="Why, for whoever finds it paused.")
@click.option("--allow-empty", is_flag=True, help="A label that no task has yet is meant.")
def pause(
    name: str | None,
    labels: tuple[tuple[str, str], ...],
    length: timedelta | None,
    until: datetime | None,
    reason: str | None,
    allow_empty: bool,
) -> int:
    """Hold a task's schedule, with a reason and an end.

    With -l that of all tasks with a label, of those that come later too. Instants inside the pause are skipped,
    however it ends. What runs goes on; a trigger still runs. A second pause of the same takes the place of the first.
    """
    whom = _whom("pause", name, labels)
    if length is not None and until is not None:
        raise UsageError("pause: --for and --until: one of the two")
    if length is not None and not length:
        raise UsageError("pause: --for: has to be longer than nothing")

    async def act(link: Link, stores: Stores) -> tuple[datetime | None, datetime, list[str], list[Override]]:
        from reconciler.db import overrides

        zone, names = await _held(link, whom, allow_empty)
        now = await asking.clock(link)
        end = _end(now, length, until, zone)
        replaced = [one for one in await overrides.active(link) if (one.selector or one.name) == whom]
        await overrides.pause(link, whom, reason, actor(), end)
        await _align(link, stores, names)
        return end, now, names, replaced

    end, now, names, replaced = with_stores(act)
    line(f"paused {_said(whom)} {_until(whom, end, now)}")
    for one in replaced:
        note(f"instead of: {pause_words(one, 'UTC', now)}")
    if not isinstance(whom, str):
        note(f"these are covered now: {_listed(names)}" if names else "no task has this label yet")
    return 0


@command("resume", example="reconciler resume nightly-sales")
@click.argument("name", required=False, shell_complete=complete_name)
@labels_option
def resume(name: str | None, labels: tuple[tuple[str, str], ...]) -> int:
    """End a task's pause; what it missed meanwhile stays skipped.

    With -l the pause of just these labels.
    """
    whom = _whom("resume", name, labels)

    async def act(link: Link, stores: Stores) -> tuple[int, list[str], list[Override], datetime]:
        from reconciler.db import configs, overrides

        if isinstance(whom, str):
            await require_known(link, whom)
            names = [whom]
        else:
            names = await overrides.covered(link, whom)
        ended: int = await overrides.resume(link, whom)
        await _align(link, stores, names)
        loaded = await configs.load(link, names) if names else []
        known = {config.name: config.spec.get("labels", {}) for config in loaded}
        active = await overrides.active(link)
        if ended or isinstance(whom, str):
            left = [one for one in active if any(one.covers(*item) for item in known.items())]
        else:
            left = [one for one in active if one.selector]
        return ended, names, left, await asking.clock(link)

    return _tell_resumed(whom, *with_stores(act))


def _tell_resumed(
    whom: str | dict[str, str], ended: int, names: Sequence[str], left: Sequence[Override], now: datetime
) -> int:
    if isinstance(whom, str):
        by_label = [one for one in left if one.selector]
        if ended:
            line(f"resumed {whom}")
        elif not by_label:
            line(f"{whom} is not paused: nothing to resume")
        if by_label and not ended:
            held = pause_words(by_label[0], "UTC", now)
            raise ReconcilerError(f"resume: {whom}: it is {held}: {_type(by_label[0])}")
        for one in by_label:
            note(f"{whom} is still {pause_words(one, 'UTC', now)}: {_type(one)}")
        return 0
    if not ended:
        pauses = "; those in force: " + ", ".join(f"'{_type(one)}'" for one in left) if left else ""
        line(f"{_said(whom)} is not paused: nothing to resume{pauses}")
        return 0
    line(f"resumed {_said(whom)}")
    for one in left:
        what = one.name or "some of these"
        note(f"{what}: still {pause_words(one, 'UTC', now)}: {_type(one)}")
    return 0


def _whom(verb: str, name: str | None, labels: Sequence[tuple[str, str]]) -> str | dict[str, str]:
    """The name, or the labels; UsageError unless it is one of the two."""
    if name and labels:
        raise UsageError(f"{verb}: a name and -l: one of the two")
    if not name and not labels:
        raise UsageError(f"{verb}: missing argument 'NAME', or -l KEY=VALUE; see 'reconciler {verb} --help'")
    return name or dict(labels)


async def _held(link: Link, whom: str | dict[str, str], allow_empty: bool) -> tuple[str, list[str]]:
    """The zone to read a time in, and the names that are held now."""
    from reconciler.db import configs, overrides

    if isinstance(whom, str):
        await require_known(link, whom)
        (config,) = await configs.load(link, [whom])
        return str(config.spec.get("timezone", "UTC")), [whom]
    names = await overrides.covered(link, whom)
    if not names and not allow_empty:
        raise Refused(await _no_such_label(link, whom))
    return "UTC", names


async def _no_such_label(link: Link, whom: dict[str, str]) -> str:
    from reconciler.db import configs

    known = {
        f"{key}={value}" for config in await configs.load(link) for key, value in config.spec.get("labels", {}).items()
    }
    meant = next((found for key, value in whom.items() if (found := hint(f"{key}={value}", known))), "")
    type_it = " ".join(["reconciler pause", *_options(whom), "--allow-empty"])
    return f"pause: {_said(whom)}: no task has this label{meant}; for tasks that are to come: {type_it} …"


def _end(now: datetime, length: timedelta | None, until: datetime | None, zone: str) -> datetime | None:
    if length is not None:
        return now.replace(microsecond=0) + length
    if until is None:
        return None
    end = aware(until, zone)
    if end <= now:
        raise UsageError(f"pause: --until: {exact(end, zone)} has passed ({when(end, now)})")
    return end


async def _align(link: Link, stores: Stores, names: Sequence[str]) -> None:
    from reconciler.align import align
    from reconciler.scheduler import SchedulerService

    if not names:
        return
    redis = redis_of(stores)
    try:
        await align(link, SchedulerService(redis), now=datetime.now(UTC), names=names)
    except StoreUnavailable as error:
        note(f"in force in PostgreSQL, which decides; Redis follows when it is back: {error}")
    finally:
        await redis.close()


def _until(whom: str | dict[str, str], end: datetime | None, now: datetime) -> str:
    if end:
        return f"until {exact(end)} ({when(end, now)})"
    return f"until resumed: {' '.join(['reconciler resume', *_options(whom)])}"


def _said(whom: str | dict[str, str]) -> str:
    return whom if isinstance(whom, str) else labels_words(whom)


def _options(whom: str | dict[str, str]) -> list[str]:
    import shlex

    return [whom] if isinstance(whom, str) else [f"-l {shlex.quote(f'{key}={text}')}" for key, text in whom.items()]


def _type(pause: Override) -> str:
    return " ".join(["reconciler resume", *_options(pause.selector or pause.name or "")])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


COMMANDS = {"pause": pause, "resume": resume}
