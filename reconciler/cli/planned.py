"""In which shape a plan is shown: coloured lines, JSON, Markdown, or what a GitHub workflow takes; and what is paused.

What a plan brings to a name that is paused will not run before the pause ends, so that is said with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.output import document, is_terminal, line
from reconciler.cli.standing import pause_words

if TYPE_CHECKING:
    from reconciler.db.overrides import Override
    from reconciler.impact import Impact
    from reconciler.plan import Plan
    from reconciler.spec.specset import SpecSet

COLOURS = {"+": "green", "-": "red", "~": "yellow", "@": "cyan", "!": "magenta"}
PAST = {"create": "created", "update": "updated", "delete": "deleted", "adopt": "adopted"}
NO_PAUSES: Mapping[str, Override] = {}


def show(
    plan: Plan,
    impact: Impact | None,
    report: str,
    *,
    now: datetime,
    paused: Mapping[str, Override] = NO_PAUSES,
    specs: SpecSet | None = None,
) -> None:
    """Print it as `text`, `json`, `yaml`, `markdown` or `github`; `specs` for the faults and warnings they have."""
    from reconciler.plan import text as plantext

    if report in ("json", "yaml"):
        content = {**plantext.as_json(plan, impact), "paused": as_json(paused)}
        document(content, "yaml" if report == "yaml" else "json")
    elif report == "markdown":
        line(_markdown(plan, impact, specs, words(paused, now)).rstrip("\n"))
    elif report == "github":
        write_github(plan, impact, specs, words(paused, now))
    else:
        line("\n".join(coloured(plantext.as_text(plan, words(paused, now), impact).split("\n"))))


def show_faults(specs: SpecSet, report: str) -> None:
    """Why there is no plan, where that is read elsewhere than on stderr: Markdown, a workflow, JSON."""
    if report == "markdown":
        line(_markdown(None, None, specs, {}).rstrip("\n"))
    elif report == "github":
        write_github(None, None, specs)
    elif report in ("json", "yaml"):
        from reconciler.cli.reports import as_json as faults_json

        document({"has_changes": False, **faults_json(specs, ())}, "yaml" if report == "yaml" else "json")


def write_github(
    plan: Plan | None,
    impact: Impact | None,
    specs: SpecSet | None = None,
    pauses: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """What a workflow reads: annotations on stdout, Markdown in its summary, `has_changes` and counts in its output.

    Without `$GITHUB_STEP_SUMMARY` the Markdown goes to stdout too. `plan` None: the specs have faults.
    """
    given = os.environ if environ is None else environ
    for text in _annotations(plan, impact, specs):
        line(text)
    whole = _markdown(plan, impact, specs, pauses or {})
    if summary := given.get("GITHUB_STEP_SUMMARY"):
        _append(summary, whole)
    else:
        line(whole.rstrip("\n"))
    if output := given.get("GITHUB_OUTPUT"):
        _append(output, "".join(f"{key}={value}\n" for key, value in outputs(plan, specs).items()))


def outputs(plan: Plan | None, specs: SpecSet | None = None) -> dict[str, str]:
    """The values that later steps of a workflow read: how many of each, and whether there is anything to apply."""
    counts = plan.counts() if plan else {}
    return {
        "has_changes": "true" if plan and plan.has_changes else "false",
        **{past: str(counts.get(verb, 0)) for verb, past in PAST.items()},  # type: ignore[call-overload]
        "unchanged": str(plan.unchanged if plan else 0),
        "refusals": str(len(plan.refusals) if plan else 0),
        "faults": str(len(specs.faults) if specs else 0),
    }


def coloured(lines: Sequence[str]) -> list[str]:
    """The lines of a plan in the colour of their mark, in a terminal that wants colour; else as they are."""
    if not is_terminal() or os.environ.get("NO_COLOR"):
        return list(lines)
    return [_coloured(text) for text in lines]


def _coloured(text: str) -> str:
    words = text.split(maxsplit=2)
    if text[:1] in COLOURS and text[1:2] == " ":
        return click.style(text, fg=COLOURS[text[0]])
    if words[1:2] == ["refused:"]:
        return click.style(text, fg="red", bold=True)
    if text.startswith("    warning:") or " looks like a rename " in text or " goes from " in text:
        return click.style(text, fg="yellow")
    return text


def paused(plan: Plan, specs: SpecSet, pauses: Sequence[Override]) -> dict[str, Override]:
    """The pause that holds each name that is created or changed, by the labels it is going to have; the longest."""
    if not pauses:
        return {}
    names = {change.name for change in (*plan.changes, *plan.withheld) if change.verb != "delete"}
    # The specs of others are perhaps not parsed yet, and need not be.
    labels = {one.name: one.spec.labels for one in specs.specs if one.name in names}
    longest = sorted(pauses, key=_end)
    return {name: one for name, own in sorted(labels.items()) for one in longest if one.covers(name, own)}


def words(found: Mapping[str, Override], now: datetime) -> dict[str, str]:
    """`paused by ana@desk until …: the warehouse moves`, by name."""
    return {name: pause_words(one, "UTC", now) for name, one in found.items()}


def as_json(found: Mapping[str, Override]) -> list[dict[str, Any]]:
    return [
        {"name": name, "reason": one.reason, "actor": one.actor, "until": one.expires_at, "selector": one.selector}
        for name, one in found.items()
    ]


def _end(pause: Override) -> tuple[bool, float]:
    return pause.expires_at is None, pause.expires_at.timestamp() if pause.expires_at else 0.0


def _markdown(plan: Plan | None, impact: Impact | None, specs: SpecSet | None, pauses: Mapping[str, str]) -> str:
    from reconciler.plan.markdown import as_markdown

    faults, warnings = (specs.faults, specs.warnings) if specs else ((), ())
    return as_markdown(plan, impact, faults, warnings, pauses)


def _annotations(plan: Plan | None, impact: Impact | None, specs: SpecSet | None) -> list[str]:
    """Faults at their line, refusals as errors, and what somebody should look at as warnings."""
    from reconciler.cli.reports import annotation, as_github

    lines = [as_github(specs, ())] if specs and (specs.faults or specs.warnings) else []
    lines += [annotation("error", f"{one.what} refused", one.text) for one in (plan.refusals if plan else ())]
    if plan and plan.pin:
        lines.append(annotation("warning", "pinned", plan.pin))
    if impact:
        from reconciler.impact.words import peak_words

        lines += [annotation("warning", "load", peak_words(minute)) for minute in impact.load if minute.is_peak]
    return lines


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)
