"""What a pass came to, as `apply` and `sync` show it, and the exit code that says so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from reconciler.cli.output import document, line, note
from reconciler.errors import Refused
from reconciler.lines import of_source

if TYPE_CHECKING:
    from reconciler.plan import Plan
    from reconciler.sync.reconcile import Pass

Report = Literal["text", "json", "yaml"]


def show_pass(outcome: Pass, report: Report, source: str) -> None:
    """What was done on stdout; what was refused, is held or is not yet in force on stderr."""
    from reconciler.cli.planned import coloured
    from reconciler.plan import text as plantext

    plan = outcome.plan
    if plan is None:
        return
    if report != "text":
        extra: dict[str, Any] = {"sync_id": outcome.sync_id, "aligned": outcome.aligned, "trouble": outcome.trouble}
        document({**plantext.as_json(plan), **extra}, report)
    else:
        lines = [*plantext.change_lines(plan), *plantext.left_lines(plan), summary(outcome, plan)]
        line("\n".join(coloured(lines)))
    for refusal in plan.refusals:
        note("reconciler: " + "\n".join(plantext.refusal_lines(refusal)))
    if outcome.pin:
        release = of_source("reconciler rollback --release", source)
        note(f"reconciler: note: nothing is applied while the source is pinned: {release}")
    if outcome.trouble:
        note(f"reconciler: applied, but not yet in force: {outcome.trouble}")


def retold(plan: Plan, command: str, source: str) -> Plan:
    """The plan, with refusals that name `command` and not `apply`: for a source that the settings do not have."""
    usual = (f"reconciler apply --adopt --source {source}", of_source("reconciler apply", source))
    refusals = tuple(
        replace(one, text=one.text.replace(usual[0], f"{command} --adopt").replace(usual[1], command))
        for one in plan.refusals
    )
    return replace(plan, refusals=refusals)


def summary(outcome: Pass, plan: Plan) -> str:
    """`applied: 2 created, 1 updated; 97 unchanged`."""
    from reconciler.plan.text import changes_text, nothing

    past = {"create": "created", "adopt": "adopted", "update": "updated", "delete": "deleted"}
    done = ", ".join(f"{count:,} {past[verb]}" for verb, count in plan.counts().items() if count)
    healed = f"; {outcome.aligned:,} brought up to date in Redis" if outcome.aligned and not plan.changes else ""
    said = f"applied: {done}" if done else changes_text(plan) or nothing(plan)
    return f"{said}; {plan.unchanged:,} unchanged{healed}"


def exit_code(outcome: Pass) -> int:
    """3: a guard refused something; 1: there are faults, or Redis has yet to follow."""
    if outcome.plan is not None and outcome.plan.refusals:
        return Refused.exit_code
    return 1 if outcome.trouble or outcome.plan is None or outcome.faults else 0
