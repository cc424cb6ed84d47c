"""Faults in the shapes that other programs read: GitHub annotations, JUnit XML, SARIF 2.1.0, JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from reconciler.spec.specset import Fault, LocatedSpec, SpecSet

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_json(specs: SpecSet, module_faults: Sequence[str]) -> dict[str, Any]:
    return {
        "is_valid": not specs.faults and not module_faults,
        "files": specs.files,
        "specs": [{"name": one.name, "path": one.path, "line": one.line} for one in good(specs)],
        "faults": [_fault(fault) for fault in specs.faults],
        "warnings": [_fault(fault) for fault in specs.warnings],
        "module_faults": list(module_faults),
    }


def as_github(specs: SpecSet, module_faults: Sequence[str]) -> str:
    """Workflow commands: GitHub shows each beside its line in the pull request."""
    lines = [f"::error title=task module::{_github(text)}" for text in module_faults]
    for level, faults in (("error", specs.faults), ("warning", specs.warnings)):
        for fault in faults:
            place = f"file={_github(fault.path, is_property=True)},line={fault.line},col={fault.column}"
            lines.append(f"::{level} {place}::{_github(message(fault))}")
    return "\n".join(lines)


def annotation(level: str, title: str, text: str) -> str:
    """A workflow command about no line of a file."""
    return f"::{level} title={_github(title, is_property=True)}::{_github(text)}"


def as_junit(specs: SpecSet, module_faults: Sequence[str]) -> str:
    """One test case a file that has faults, one a spec that is good."""
    broken: dict[str, list[Fault]] = {}
    for fault in specs.faults:
        broken.setdefault(fault.path, []).append(fault)
    cases = [_case("task modules", text, [text]) for text in module_faults]
    cases += [_case(path, path, [str(fault) for fault in faults]) for path, faults in sorted(broken.items())]
    cases += [_case(one.path, one.name, []) for one in good(specs)]
    head = f'<testsuite name="reconciler validate" tests="{len(cases)}" failures="{len(broken) + len(module_faults)}">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>"])


def as_sarif(specs: SpecSet, module_faults: Sequence[str]) -> dict[str, Any]:
    results: list[dict[str, Any]] = [
        {"ruleId": "task-module", "level": "error", "message": {"text": text}} for text in module_faults
    ]
    for level, faults in (("error", specs.faults), ("warning", specs.warnings)):
        results += [_sarif(fault, level) for fault in faults]
    driver = {
        "name": "reconciler",
        "rules": [{"id": rule} for rule in sorted({result["ruleId"] for result in results})],
    }
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def good(specs: SpecSet) -> list[LocatedSpec]:
    """The specs of the files that have no fault."""
    broken = {fault.path for fault in specs.faults}
    return [one for one in specs.specs if one.path not in broken]


def message(fault: Fault) -> str:
    return f"{fault.field}: {fault.what}" if fault.field else fault.what


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "path": fault.path,
        "line": fault.line,
        "column": fault.column,
        "field": fault.field,
        "what": fault.what,
        "text": str(fault),
    }


def _github(text: str, *, is_property: bool = False) -> str:
    escapes = {"%": "%25", "\r": "%0D", "\n": "%0A"} | ({":": "%3A", ",": "%2C"} if is_property else {})
    return "".join(escapes.get(char, char) for char in text)


def _case(group: str, name: str, failures: Sequence[str]) -> str:
    clean: Callable[[str], str] = lambda text: "".join(  # noqa: E731
        char if char >= " " or char in "\t\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )
    head = f"  <testcase classname={quoteattr(clean(group))} name={quoteattr(clean(name))}"
    if not failures:
        return head + "/>"
    text = escape(clean("\n".join(failures)))
    return f"{head}><failure message={quoteattr(clean(failures[0]))}>{text}</failure></testcase>"


def _sarif(fault: Fault, level: str) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": fault.path},
        "region": {"startLine": max(1, fault.line), "startColumn": max(1, fault.column)},
    }
    return {
        "ruleId": (fault.field or "file").split(".")[0].split("[")[0],
        "level": level,
        "message": {"text": message(fault)},
        "locations": [{"physicalLocation": place}],
    }
