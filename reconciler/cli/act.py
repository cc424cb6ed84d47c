"""`trigger`, `pause`, `resume`: what a person says by hand. PostgreSQL first, then Redis is told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.arguments import Length, actor, complete_name, params_option, told_to_quote
from reconciler.cli.command import command, given
from reconciler.cli.names import require_known
from reconciler.cli.output import Format, document, line, note, output_option, utc
from reconciler.cli.stores import redis_of, with_stores
from reconciler.cli.words import exact, first_line, span, when
from reconciler.errors import ReconcilerError, StoreUnavailable

if TYPE_CHECKING:
    from reconciler.db.executions import TaskExecution
    from reconciler.db.link import Link
    from reconciler.embedded import Stores
    from reconciler.spec import TaskSpec

POLL = 0.1


@command("trigger", example="reconciler trigger nightly-sales -p region=us --wait")
@click.argument("name", shell_complete=complete_name)
@params_option
@click.option("--wait", is_flag=True, help="Wait for the result; exit code 1 when it failed.")
@output_option
def trigger(name: str, params: tuple[tuple[str, Any], ...], wait: bool, output: Format) -> int:
    """Run a task once, now, on a runner.

    Its schedule is left as it is. Parameters go over those of the spec.
    """

    async def act(link: Link, stores: Stores) -> tuple[datetime, TaskExecution | None]:
        from reconciler.db import byhand

        spec = await _spec(link, name)
        _check(spec, dict(params))
        moment = await byhand.trigger(link, name, dict(params) or None)
        if moment is None:
            raise ReconcilerError(
                f"trigger: {name}: not queued: it was triggered or removed this very moment; try again"
            )
        await _wake(stores)
        note(f"queued: {name} at {utc(moment)}")
        if not await _is_served(link, spec):
            note(f"no live runner knows the task '{spec.task}': it waits until one does; start one: reconciler serve")
        return moment, await _result(link, name, moment) if wait else None

    moment, result = with_stores(act)
    if output != "table":
        answer: dict[str, Any] = {"name": name, "scheduled_for": moment}
        if result:
            answer |= {"is_success": result.is_success, "error": result.error, "result": result.result}
        document(answer, output)
    elif result:
        _tell(result)
    return 0 if result is None or result.is_success else 1


@command("pause", example='reconciler pause nightly-sales --for 2h --reason "the warehouse moves"')
@click.argument("name", shell_complete=complete_name)
@click.option("--for", "length", type=Length(), metavar="LENGTH", help="How long; without it until resumed.")
@click.option("--reason", metavar="TEXT", help="Why, for whoever finds it paused.")
def pause(name: str, length: timedelta | None, reason: str | None) -> int:
    """Hold a task's schedule, with a reason and an end.

    Instants inside the pause are skipped, however it ends. What runs goes on; a trigger still runs.
    """

    async def act(link: Link, stores: Stores) -> datetime | None:
        from reconciler.db import overrides

        await require_known(link, name)
        until = datetime.now(UTC).replace(microsecond=0) + length if length else None
        await overrides.pause(link, name, reason, actor(), until)
        await _align(link, stores, name)
        return until

    until = with_stores(act)
    end = (
        f"until {exact(until)} ({when(until, datetime.now(UTC))})"
        if until
        else f"until resumed: reconciler resume {name}"
    )
    line(f"paused {name} {end}")
    return 0


@command("resume", example="reconciler resume nightly-sales")
@click.argument("name", shell_complete=complete_name)
def resume(name: str) -> int:
    """End a task's pause; what it missed meanwhile stays skipped."""

    async def act(link: Link, stores: Stores) -> int:
        from reconciler.db import overrides

        await require_known(link, name)
        ended: int = await overrides.resume(link, name)
        await _align(link, stores, name)
        return ended

    line(f"resumed {name}" if with_stores(act) else f"{name} is not paused: nothing to resume")
    return 0


async def _spec(link: Link, name: str) -> TaskSpec:
    from reconciler.db import configs
    from reconciler.spec import TaskSpec

    await require_known(link, name)
    (config,) = await configs.load(link, [name])
    return TaskSpec.from_document(config.spec)


def _check(spec: TaskSpec, params: dict[str, Any]) -> None:
    """ReconcilerError for parameters that the function does not take; nothing where the function is not here."""
    if not params:
        return
    from reconciler.cli.specs import discover
    from reconciler.registry import TASKS, check_params

    discover(given().settings)
    if spec.task not in TASKS:
        note(f"the task '{spec.task}' is not in the task modules here: the parameters are not checked")
        return
    faults = check_params(TASKS[spec.task], {**spec.params, **params})
    if faults:
        raise ReconcilerError(f"trigger: {spec.name}: {'; '.join(told_to_quote(fault, params) for fault in faults)}")


async def _wake(stores: Stores) -> None:
    from reconciler.scheduler import SchedulerService

    redis = redis_of(stores)
    try:
        await SchedulerService(redis).wake()
    except StoreUnavailable as error:
        note(f"runners were not woken, they look by themselves each second: {error}")
    finally:
        await redis.close()


async def _align(link: Link, stores: Stores, name: str) -> None:
    from reconciler.align import align
    from reconciler.scheduler import SchedulerService

    redis = redis_of(stores)
    try:
        await align(link, SchedulerService(redis), now=datetime.now(UTC), names=[name])
    except StoreUnavailable as error:
        note(f"in force in PostgreSQL, which decides; Redis follows when it is back: {error}")
    finally:
        await redis.close()


async def _is_served(link: Link, spec: TaskSpec) -> bool:
    from reconciler.cli.runners import live

    return any(spec.task in runner.tasks and spec.queue in runner.queues for runner in await live(link))


async def _result(link: Link, name: str, moment: datetime) -> TaskExecution:
    from reconciler.db import executions

    while True:
        found = await executions.one(link, name, moment)
        if found is not None:
            return found
        await asyncio.sleep(POLL)


def _tell(result: TaskExecution) -> None:
    took = span(result.finished_at - result.started_at)
    if result.is_success:
        line(f"✓ {result.name} succeeded in {took}")
    else:
        line(f"✗ {result.name} failed after {took}: {first_line(result.error)}")
        note(f"its log: reconciler logs {result.name} {utc(result.scheduled_for)}")


COMMANDS = {"trigger": trigger, "pause": pause, "resume": resume}
