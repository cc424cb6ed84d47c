"""What the fuzzer feeds bytes to, and what must hold of whatever comes out: a result that is right, or one line.

Each target takes any bytes. An exception that leaves it, an assertion above all, is a finding.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, get_args

from reconciler.errors import ReconcilerError
from reconciler.plan.saved import read_plan, written
from reconciler.plan.state import read_state
from reconciler.pushes import concerns, push_of
from reconciler.registry.catalogue import from_text
from reconciler.schedule.describe import describe
from reconciler.schedule.schedule import Dst, InvalidSchedule, Schedule
from reconciler.schedule.zone import Fold, Gap
from reconciler.spec import TaskSpec
from reconciler.specfiles.calendars import Calendars
from reconciler.specfiles.instep import in_step
from reconciler.specfiles.layers import Rules
from reconciler.specfiles.onefile import defaults_in, specs_in

NOW: Final = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
ZONES: Final = ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Pacific/Apia")
SECONDS: Final = (None, "first", "last")
NOWHERE: Final = "/nonexistent/specs"  # a calendar that a spec names is absent, which is a fault like any other
STEPS: Final = 4


def specs(data: bytes) -> None:
    """A spec file, below the defaults that the part before a line of `%%%` gives: faults with their place, or specs."""
    defaults, _, own = data.rpartition(b"\n%%%\n")
    layer, faults = defaults_in(defaults, "_defaults.yaml") if defaults else (None, [])
    rules = Rules("prod", Calendars(NOWHERE).lender({}), None)
    [held] = in_step([specs_in(own, "team/job.yaml", "specs/team/job.yaml", [layer] if layer else [], rules)])
    for fault in [*faults, *held.faults, *held.warnings]:
        assert str(fault).isprintable(), fault
        assert fault.line >= 1, fault
        assert fault.column >= 1, fault
        assert "please report this" not in fault.what, fault
    for named in held.named:
        if named.spec is not None:
            document = named.spec.spec.document()
            again = TaskSpec.from_document(json.loads(json.dumps(document)))
            assert again.digest == named.spec.digest, document


def cron(data: bytes) -> None:
    """A schedule; the first two bytes choose its zone, its clock changes and where its seconds are."""
    head, text = (data + b"\0\0")[:2], data[2:].decode("utf-8", "replace")
    gaps, folds = get_args(Gap), get_args(Fold)
    dst = Dst(gaps[head[1] % len(gaps)], folds[head[1] // 8 % len(folds)])
    expressions = text.split("\n")
    try:
        schedule = Schedule(
            expressions,
            ZONES[head[0] % len(ZONES)],
            name="job",
            dst=dst,
            seconds=SECONDS[head[0] // 8 % len(SECONDS)],  # type: ignore[arg-type]
        )
    except InvalidSchedule as error:
        one_line(error)
        return
    assert describe(schedule).isprintable()
    moment = NOW
    for _ in range(STEPS):
        following = schedule.next_after(moment)
        if following is None:
            return
        assert following > moment
        assert schedule.last_until(following, moment) == following
        assert schedule.last_until(following - timedelta(microseconds=1), moment) is None
        assert schedule.count(moment, following) == 1
        moment = following
    assert schedule.count(NOW, moment) == STEPS


def plan(data: bytes) -> None:
    """A saved plan, as `apply FILE` reads it."""
    try:
        saved = read_plan(data, "plan.json")
        for spec in written(saved, "plan.json"):
            assert spec.spec.digest == spec.digest
    except ReconcilerError as error:
        one_line(error)


def state(data: bytes) -> None:
    """What `plan --against FILE` reads."""
    try:
        read_state(data, "state.json")
    except ReconcilerError as error:
        one_line(error)


def catalogue(data: bytes) -> None:
    """What `validate --catalogue FILE` reads."""
    try:
        from_text(data.decode("utf-8", "replace"), "catalogue.json")
    except ReconcilerError as error:
        one_line(error)


def webhook(data: bytes) -> None:
    """A git host's message; the first byte says how it is sent."""
    body = data[1:]
    try:
        push = push_of(body, "application/x-www-form-urlencoded" if data[:1] == b"f" else "application/json")
    except ReconcilerError as error:
        one_line(error)
        return
    assert push.places or not push.refs
    for ref in ("main", "semver:>=1", "v1"):
        concerns(push, "https://git.example.org/ops/jobs.git", ref)


def one_line(error: Exception) -> None:
    assert str(error).isprintable(), repr(str(error))


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (specs, cron, plan, state, catalogue, webhook)
}
