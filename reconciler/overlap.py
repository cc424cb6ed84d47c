"""What becomes of an instant that comes due while its name is busy: the `overlap` rule as one pure function.

PostgreSQL applies the same rule, in the statement that decides (`reconciler.db.decision`), so that it holds for any
number of runners; a simulation asks here. Which runs there are is told, never looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Policy = Literal["skip", "allow", "queue", "replace"]
# The start of what a run that is replaced is told, and its final row says: by that it is told from one that failed.
REPLACED_BY = "replaced by the run of "


@dataclass(frozen=True, slots=True)
class Held:
    """An occurrence of the name that is not finished and may not have another of its kind beside it.

    `back-off`: it failed and is tried again later. `waiting`: it is due by the schedule and has not started, because
    its queue is full or because others of a backlog go first. Work that a person or another task asked for and that
    has not started is none of these: it waits for whatever is under way.
    """

    scheduled_for: datetime
    state: Literal["owned", "back-off", "waiting"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """`start` it now, let it `wait`, `skip` it; or `replace`: it waits, and all that is there has to end.

    `detail` is what the skip says: of this instant, or for `replace` of those that had not started.
    """

    verdict: Literal["start", "wait", "skip", "replace"]
    detail: str | None = None


def overlap_verdict(
    policy: Policy, scheduled_for: datetime, held: Sequence[Held], *, is_backlog: bool = False
) -> Overlap:
    """What the policy says of an instant that comes due while `held` is there.

    `is_backlog`: one of several instants that are made up for together. They wait for each other and for what runs,
    but not behind another backlog. `allow` is no judgement: such runs are not in each other's way.
    """
    if policy == "allow" or not held:
        return Overlap("wait" if is_backlog else "start")
    if policy == "replace":
        return Overlap("replace", f"{REPLACED_BY}{_written(scheduled_for)}")
    waiting = min((one.scheduled_for for one in held if one.state == "waiting"), default=None)
    if waiting is not None:
        return Overlap("skip", f"the run of {_written(waiting)} was still waiting")
    if policy == "queue" or is_backlog:
        return Overlap("wait")
    going = min(one.scheduled_for for one in held)
    return Overlap("skip", f"the run of {_written(going)} was still going")


def _written(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
