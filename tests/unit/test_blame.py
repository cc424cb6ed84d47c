"""Since which revision a field says what it says."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.spec import TaskSpec
from reconciler.spec.blame import SetField, chosen, fields_of


def document(**fields: Any) -> dict[str, Any]:
    return TaskSpec.from_document({"name": "a", "task": "t", **fields}).document()


def of(field: str, *documents: dict[str, Any]) -> SetField:
    [found] = chosen(fields_of(documents), field)
    return found


@pytest.mark.parametrize(
    ("field", "newest_first", "value", "since", "is_default"),
    [
        ("schedule", [{"schedule": "0 3 * * *"}], ["0 3 * * *"], 0, False),
        # Set by the second, kept by the one after it.
        ("timeout", [{"timeout": "5m"}, {"timeout": "5m"}, {}], "5m", 1, False),
        # Set back to what it had been: the newest did that.
        ("timeout", [{"timeout": "5m"}, {"timeout": "9m"}, {"timeout": "5m"}], "5m", 0, False),
        ("retries.attempts", [{"retries": {"attempts": 3}}, {}], 3, 0, False),
        # Never touched.
        ("timeout", [{"description": "x"}, {}], None, 1, True),
        ("retries.backoff", [{"retries": {"attempts": 3}}, {}], "30s", 1, True),
        # Put back to the default by somebody.
        ("queue", [{}, {"queue": "gpu"}], "default", 0, False),
        ("params.region", [{"params": {"region": "eu"}}, {"params": {"rows": 1}}], "eu", 0, False),
        # The last of them went.
        ("params", [{}, {"params": {"rows": 1}}], {}, 0, False),
        ("params", [{}, {}], {}, 1, True),
        ("labels.team", [{"labels": {"team": "data"}}, {"labels": {"team": "data", "x": "y"}}], "data", 1, False),
        ("notify", [{}, {}], None, 1, True),
        ("notify", [{}, {"notify": {"to": ["ops"]}}], None, 0, False),
        ("notify.to", [{"notify": {"to": ["ops"]}}, {}], ["ops"], 0, False),
    ],
)
def test_a_field_is_set_by_the_oldest_revision_that_says_the_same(
    field: str, newest_first: list[dict[str, Any]], value: Any, since: int, is_default: bool
) -> None:
    found = of(field, *(document(**one) for one in newest_first))
    assert (found.value, found.since, found.is_default) == (value, since, is_default)


def test_a_part_that_came_as_a_whole_has_its_own_defaults() -> None:
    fields = fields_of([document(notify={"to": ["ops"]}), document()])
    assert {one.field for one in chosen(fields, "notify") if not one.is_default} == {"notify.to"}


def test_the_task_is_never_a_default() -> None:
    assert of("task", document()).is_default is False


def test_a_document_of_an_earlier_version_lacks_fields_that_are_defaults_all_the_same() -> None:
    old = {key: value for key, value in document().items() if key != "protect"}
    assert of("protect", document(), old).is_default


def test_a_field_is_asked_for_by_its_whole_name_or_by_what_is_above_it() -> None:
    fields = fields_of([document(params={"a": 1, "ab": 2})])
    assert [one.field for one in chosen(fields, "params")] == ["params.a", "params.ab"]
    assert [one.field for one in chosen(fields, "params.a")] == ["params.a"]
    assert chosen(fields, "parms") == [] == fields_of([])
