"""`trigger` and `rerun`: once more, by hand. The claim waits in PostgreSQL; Redis only wakes whoever takes it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import asking
from reconciler.cli.arguments import Instant, Length, actor, as_meant, complete_name, params_option
from reconciler.cli.command import command
from reconciler.cli.output import Format, document, note, output_option, utc
from reconciler.cli.standing import pause_words
from reconciler.cli.stores import redis_of, with_stores
from reconciler.errors import ReconcilerError, UsageError

if TYPE_CHECKING:
    from reconciler.db.executions import TaskExecution
    from reconciler.db.link import Link
    from reconciler.embedded import Stores

# The new occurrence, the instant that it replays, and what came of it where that is waited for.
Answer = tuple[datetime, datetime | None, "TaskExecution | None"]

wait_option = click.option("--wait", is_flag=True, help="Show its log as it comes; exit code 1 when it failed.")
timeout_option = click.option(
    "--timeout", type=Length(), metavar="LENGTH", help="With --wait: for so long at most; exit code 1 then."
)


@command("trigger", example="reconciler trigger nightly-sales -p region=us --wait")
@click.argument("name", shell_complete=complete_name)
@params_option
@wait_option
@timeout_option
@click.option("--overlap", is_flag=True, help="Also beside a run that is under way.")
@click.option("--queue", is_flag=True, help="After the run that is under way, if one is.")
@output_option
def trigger(
    name: str,
    params: tuple[tuple[str, Any], ...],
    wait: bool,
    timeout: timedelta | None,
    overlap: bool,
    queue: bool,
    output: Format,
) -> int:
    """Run a task once, now, on a runner.

    Its schedule is left as it is; a pause does not hold it. Parameters go over those of the spec. Exit code 3 while a
    run of it is under way, unless --overlap or --queue is said.
    """
    _check_options(wait, timeout)
    if overlap and queue:
        raise UsageError("trigger: --overlap and --queue: one of the two")

    async def act(link: Link, stores: Stores) -> Answer:
        from reconciler.db import byhand, pending

        found, spec = await asking.looked_up(link, name)
        now = await asking.clock(link)
        await asking.check_params(link, spec, dict(params), "trigger")
        if not (overlap or queue):
            asking.refuse_beside("trigger", spec, await pending.claims_of(link, name), now)
        moment = await byhand.trigger(link, name, dict(params) or None, beside=overlap, follow=wait, actor=actor())
        if moment is None:
            raise ReconcilerError(f"trigger: {name}: not queued: it was removed this very moment; try again")
        note(f"queued: {name} at {utc(moment)}")
        if found.pause:
            note(f"{pause_words(found.pause, spec.timezone, now)}; a trigger runs all the same")
        await asking.tell_unless_served(link, spec)
        return moment, None, await _go(link, stores, "trigger", name, moment, wait, timeout)

    return _answered(name, with_stores(act), output)


class Nominal(Instant):
    """An instant as `history` prints it, `last` or `last-failed`."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value in ("last", "last-failed") else super().convert(value, param, ctx)


@command("rerun", example="reconciler rerun nightly-sales last-failed --wait")
@click.argument("name", shell_complete=complete_name)
@click.argument("instant", type=Nominal(), metavar="INSTANT|last|last-failed")
@params_option
@wait_option
@timeout_option
@output_option
def rerun(
    name: str,
    instant: datetime | str,
    params: tuple[tuple[str, Any], ...],
    wait: bool,
    timeout: timedelta | None,
    output: Format,
) -> int:
    """Run an occurrence of the past again.

    It is an occurrence of its own, with the spec as it is now; the task sees the instant that it replays. The row of
    that instant stays as it is. While another run of the task is under way it waits for it.
    """
    _check_options(wait, timeout)

    async def act(link: Link, stores: Stores) -> Answer:
        from reconciler.cli.replaying import require_none_pending, resolved
        from reconciler.db import byhand, pending

        _, spec = await asking.looked_up(link, name)
        now = await asking.clock(link)
        nominal = await resolved(link, name, instant if isinstance(instant, str) else as_meant(instant), now)
        await asking.check_params(link, spec, dict(params), "rerun")
        others = await pending.claims_of(link, name, 1000)
        require_none_pending(name, nominal, others, now)
        moment = await byhand.trigger(
            link, name, dict(params) or None, "rerun", replays=nominal, follow=wait, actor=actor()
        )
        if moment is None:
            raise ReconcilerError(f"rerun: {name}: not queued: it was removed this very moment; try again")
        note(f"queued: {name} at {utc(moment)}, replays {utc(nominal)}")
        held = next((one for one in others if one.holds), None)
        if held is not None and spec.overlap != "allow":
            note(f"{asking.holding(held, now)}: this one waits for it")
        await asking.tell_unless_served(link, spec)
        return moment, nominal, await _go(link, stores, "rerun", name, moment, wait, timeout)

    return _answered(name, with_stores(act), output)


def _check_options(wait: bool, timeout: timedelta | None) -> None:
    if timeout is not None and not wait:
        raise UsageError("--timeout is for waiting: say --wait, too")


async def _go(
    link: Link, stores: Stores, verb: str, name: str, moment: datetime, wait: bool, timeout: timedelta | None
) -> TaskExecution | None:
    """Wake a runner; the result, where it is waited for."""
    if not wait:
        await asking.wake(stores)
        return None
    from reconciler.cli.awaiting import waited_for
    from reconciler.scheduler import SchedulerService

    redis = redis_of(stores)
    try:
        return await waited_for(link, SchedulerService(redis), verb, name, moment, timeout)
    finally:
        await redis.close()


def _answered(name: str, answer: Answer, output: Format) -> int:
    from reconciler.cli.awaiting import tell

    moment, replays, result = answer
    if output != "table":
        whole: dict[str, Any] = {"name": name, "scheduled_for": moment, "replays": replays}
        if result:
            whole |= {"is_success": result.is_success, "error": result.error, "result": result.result}
        document(whole, output)
    elif result:
        tell(result)
    return 0 if result is None or result.is_success else 1


COMMANDS = {"trigger": trigger, "rerun": rerun}
