"""What commands that ask for a run have in common: the spec, its parameters, the runners, and what is under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.cli.arguments import told_to_quote
from reconciler.cli.command import given
from reconciler.cli.names import require_known
from reconciler.cli.output import note
from reconciler.cli.stores import redis_of
from reconciler.cli.words import exact, when
from reconciler.errors import ReconcilerError, Refused, StoreUnavailable
from reconciler.lines import first_line

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.overview import Overview
    from reconciler.db.pending import Pending
    from reconciler.embedded import Stores
    from reconciler.registry.params import ParamFault
    from reconciler.spec import TaskSpec


async def looked_up(link: Link, name: str) -> tuple[Overview, TaskSpec]:
    """How a name stands, and its spec; ReconcilerError with the nearest name where there is none."""
    from reconciler.db.overview import overview
    from reconciler.spec import TaskSpec

    found = await overview(link, [name])
    if not found:
        await require_known(link, name)
        raise ReconcilerError(f"{name}: it was removed this very moment")
    return found[0], TaskSpec.from_document(found[0].config.spec)


async def clock(link: Link) -> datetime:
    """The database's own: what it keeps is said against it."""
    [(now,)] = await link.run("select clock_timestamp()")
    return now  # type: ignore[no-any-return]


async def check_params(link: Link, spec: TaskSpec, params: dict[str, Any], verb: str) -> None:
    """ReconcilerError for parameters that the function does not take: the one here, else as runners know it."""
    if not params:
        return
    from reconciler.cli.specs import discover
    from reconciler.registry import TASKS
    from reconciler.registry import check_params as faults_of

    discover(given().settings)
    whole = {**spec.params, **params}
    if spec.task in TASKS:
        faults = faults_of(TASKS[spec.task], whole)
    else:
        schema = await _published(link, spec.task)
        if schema is None:
            note(f"the task '{spec.task}' is neither in the task modules here nor on a runner: parameters not checked")
            return
        faults = faults_by_schema(spec.task, schema, whole)
    if faults:
        said = "; ".join(told_to_quote(fault, params) for fault in faults)
        raise ReconcilerError(f"{verb}: {spec.name}: {said}")


def faults_by_schema(task: str, schema: Mapping[str, Any], params: Mapping[str, Any]) -> list[ParamFault]:
    """The same as from the function itself, as far as a runner could publish what that takes."""
    from reconciler.registry.catalogue import check_of

    return list(check_of({task: schema})(task, params))


async def _published(link: Link, task: str) -> dict[str, Any] | None:
    from reconciler.cli.runners import live

    schemas = [runner.tasks[task] for runner in await live(link) if task in runner.tasks]
    return schemas[-1] if schemas else None


async def tell_unless_served(link: Link, spec: TaskSpec) -> bool:
    """Whether a live runner is going to take it; a note where none is."""
    from reconciler.cli.runners import live

    runners = await live(link)
    knowing = [runner for runner in runners if spec.task in runner.tasks]
    if any(spec.queue in runner.queues for runner in knowing):
        return True
    if knowing:
        note(f"no live runner looks at the queue '{spec.queue}': it waits until one does (runner.queues)")
    else:
        note(f"no live runner knows the task '{spec.task}': it waits until one does; start one: reconciler serve")
    return False


def refuse_beside(verb: str, spec: TaskSpec, pending: Sequence[Pending], now: datetime) -> None:
    """Refused, with what to type, while a run of a name that runs alone is under way."""
    held = next((one for one in pending if one.holds), None)
    if held is None or spec.overlap == "allow":
        return
    raise Refused(
        f"{verb}: {spec.name}: {holding(held, now)}: beside it: --overlap; after it: --queue; "
        f"instead of it: reconciler cancel {spec.name}"
    )


def holding(held: Pending, now: datetime) -> str:
    """`it runs since … (3 min ago) on host:1`, or that its next attempt is to come."""
    if held.is_owned:
        since = held.started_at or held.scheduled_for
        where = f" on {held.runner}" if held.runner else ""
        return f"it runs since {exact(since)} ({when(since, now)}){where}"
    error = first_line(str(held.attempts[-1].get("error")), 60) if held.attempts else ""
    return f"attempt {len(held.attempts)} failed ({error}), the next one comes {when(held.not_before, now)}"


async def wake(stores: Stores) -> None:
    """Have runners look at once; where Redis is away they do so by themselves a little later."""
    from reconciler.scheduler import SchedulerService

    redis = redis_of(stores)
    try:
        await SchedulerService(redis).wake()
    except StoreUnavailable as error:
        note(f"runners were not woken, they look by themselves each second: {error}")
    finally:
        await redis.close()
