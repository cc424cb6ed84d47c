"""Specs against configs, with values that stand for both."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import UsageError
from reconciler.plan import ABSENT, Change, FieldChange, edited, field_changes, make_plan
from reconciler.plan.guards import Options, prune_budget

DEFAULTS: dict[str, Any] = {
    "schedule": ["0 2 * * *"],
    "timezone": "UTC",
    "seconds": None,
    "dst": {"gap": "default", "fold": "default"},
    "starts_at": None,
    "ends_at": None,
    "skip_on": [],
    "suspend": None,
    "timeout": None,
    "retries": {"attempts": 1, "backoff": "30s"},
    "params": {},
    "description": "",
}


@dataclass(frozen=True)
class Spec:
    name: str
    fields: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return DEFAULTS | {"name": self.name} | self.fields


@dataclass(frozen=True)
class Wanted:
    spec: Spec
    path: str
    digest: str

    @property
    def name(self) -> str:
        return self.spec.name


@dataclass(frozen=True)
class Held:
    name: str
    source: str
    digest: str
    path: str
    document: dict[str, Any]


def wanted(name: str, path: str | None = None, **fields: Any) -> Wanted:
    spec = Spec(name, fields)
    return Wanted(spec, path or f"{name}.yaml", json.dumps(spec.document(), sort_keys=True))


def held(name: str, source: str = "default", path: str | None = None, **fields: Any) -> Held:
    one = wanted(name, path, **fields)
    return Held(name, source, one.digest, one.path, one.spec.document())


def plan(specs: list[Wanted], configs: list[Held], **options: Any):
    names = edited(specs, configs)
    documents = {config.name: config.document for config in configs if config.name in names}
    return make_plan(specs, configs, documents, Options(**options))


def only(specs: list[Wanted], configs: list[Held], **options: Any) -> Change:
    [change] = plan(specs, configs, **options).changes
    return change


def test_a_new_spec_is_created_and_counts_from_now() -> None:
    assert only([wanted("a")], []) == Change("create", "a", "a.yaml", "new", (), True, True)


def test_the_same_digest_and_path_is_no_change() -> None:
    found = plan([wanted("a")], [held("a")])
    assert (found.changes, found.unchanged, found.has_changes) == ((), 1, False)


def test_only_the_fields_that_differ_are_named() -> None:
    change = only([wanted("a", retries={"attempts": 3, "backoff": "30s"})], [held("a")])
    assert change.fields == (FieldChange("retries.attempts", 1, 3),)


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        ({}, {"schedule": ["0 3 * * *"]}, True),
        ({}, {"timezone": "Europe/Berlin"}, True),
        ({}, {"seconds": "first"}, True),
        ({}, {"dst": {"gap": "skip", "fold": "default"}}, True),
        ({}, {"starts_at": "2026-01-01T00:00:00Z"}, True),
        ({"ends_at": "2026-01-01T00:00:00Z"}, {}, True),
        ({}, {"skip_on": ["2026-12-25"]}, True),
        ({"suspend": True}, {"suspend": False}, True),
        ({"suspend": True}, {}, True),
        ({"suspend": False}, {"suspend": True}, False),
        ({}, {"suspend": True}, False),
        ({"suspend": False}, {}, False),
        ({}, {"timeout": "10m"}, False),
        ({}, {"description": "what it is for"}, False),
        ({}, {"params": {"schedule": "0 3 * * *"}}, False),
        ({}, {"retries": {"attempts": 2, "backoff": "30s"}}, False),
    ],
)
def test_only_what_names_instants_moves_the_cursor(before: dict[str, Any], after: dict[str, Any], moves: bool) -> None:
    change = only([wanted("a", **after)], [held("a", **before)])
    assert (change.verb, change.moves_cursor) == ("update", moves)


@pytest.mark.parametrize(
    ("before", "after", "anew"),
    [
        ({}, {"after": ["b"]}, True),
        ({"after": ["b"]}, {"after": ["b", "c"]}, True),
        ({"after": ["b"], "suspend": True}, {"after": ["b"]}, True),
        ({"after": ["b"]}, {"after": ["b"], "suspend": True}, False),
        ({"after": ["b"]}, {"after": ["b"], "schedule": ["0 3 * * *"]}, False),
        ({"after": ["b"]}, {"after": ["b"], "timeout": "1m"}, False),
    ],
)
def test_only_who_is_waited_for_makes_the_waiting_begin_anew(
    before: dict[str, Any], after: dict[str, Any], anew: bool
) -> None:
    assert only([wanted("a", **after)], [held("a", **before)]).waits_anew == anew


def test_who_is_taken_over_waits_anew() -> None:
    assert only([wanted("a")], [held("a", source="other")], adopt=True).waits_anew


def test_a_moved_file_updates_the_path_and_nothing_else() -> None:
    change = only([wanted("a", "reports/a.yaml")], [held("a")])
    assert change.fields == (FieldChange("path", "a.yaml", "reports/a.yaml"),)
    assert (change.verb, change.moves_cursor) == ("update", False)


def test_a_file_that_moved_and_was_edited_shows_both() -> None:
    change = only([wanted("a", "reports/a.yaml", timeout="1m")], [held("a")])
    assert [one.field for one in change.fields] == ["timeout", "path"]


def test_a_name_of_another_source_is_refused_with_the_way_on() -> None:
    found = plan([wanted("a"), wanted("b")], [held("a", source="other")])
    assert [change.name for change in found.changes] == ["b"]
    [refusal] = found.refusals
    assert (refusal.what, refusal.names) == ("owner", ("a",))
    assert "source 'other'" in refusal.text
    assert "reconciler apply --adopt" in refusal.text


def test_adoption_takes_the_name_over_and_counts_from_now() -> None:
    change = only([wanted("a", timeout="1m")], [held("a", source="other")], adopt=True)
    assert (change.verb, change.moves_cursor) == ("adopt", True)
    assert [one.field for one in change.fields] == ["timeout"]
    assert only([wanted("a")], [held("a", source="other")], adopt=True).fields == ()


def test_configs_of_other_sources_are_never_deleted_nor_counted() -> None:
    found = plan([wanted("a")], [held("a"), *(held(f"o{n}", source="other") for n in range(50))])
    assert not found.has_changes
    assert not found.refusals


def test_a_spec_that_is_gone_is_deleted_within_the_budget() -> None:
    found = plan([wanted("a")], [held("a"), held("b"), held("c")])
    assert [(change.verb, change.name) for change in found.changes] == [("delete", "b"), ("delete", "c")]


def test_deletions_beyond_the_budget_are_refused_and_the_rest_applies() -> None:
    configs = [held(f"c{n:02}") for n in range(20)]
    found = plan([wanted(f"c{n:02}") for n in range(6)] + [wanted("new")], configs)
    assert [(change.verb, change.name) for change in found.changes] == [("create", "new")]
    [refusal] = found.refusals
    assert refusal.text == (
        "prune refused: 14 of 20 configs would be deleted (budget 2); if that is meant: reconciler apply --max-prune 14"
    )
    assert refusal.names == tuple(f"c{n:02}" for n in range(6, 20))


def test_what_the_refusal_says_to_type_is_enough() -> None:
    configs = [held(f"c{n:02}") for n in range(20)]
    found = plan([wanted(f"c{n:02}") for n in range(6)], configs, max_prune="14")
    assert (len(found.changes), found.refusals) == (14, ())


def test_an_empty_source_is_not_read_as_delete_everything() -> None:
    found = plan([], [held("a")])
    assert not found.changes
    assert "--allow-empty" in found.refusals[0].text
    allowed = plan([], [held(f"c{n}") for n in range(9)], allow_empty=True)
    assert (len(allowed.changes), allowed.refusals) == (9, ())


def test_with_prune_off_what_is_gone_is_kept_and_named() -> None:
    found = plan([wanted("a")], [held("a"), held("c"), held("b")], prune=False)
    assert (found.changes, found.refusals, found.kept) == ((), (), ("b", "c"))


@pytest.mark.parametrize(
    ("max_prune", "total", "budget"),
    [
        (None, 0, 2),
        (None, 20, 2),
        (None, 29, 2),
        (None, 30, 3),
        ("0", 99, 0),
        ("3", 99, 3),
        (" 5 ", 9, 5),
        ("10%", 99, 9),
        ("100%", 7, 7),
    ],
)
def test_the_budget_is_a_number_or_a_share(max_prune: str | None, total: int, budget: int) -> None:
    assert prune_budget(max_prune, total) == budget


@pytest.mark.parametrize("text", ["", "%", "-1", "1.5", "ten", "5 %%", "²", "9999999999"])
def test_a_budget_without_sense_is_a_usage_error_even_when_nothing_is_deleted(text: str) -> None:
    with pytest.raises(UsageError, match="max_prune"):
        plan([], [], max_prune=text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"p": 1}, {"p": True}),
        ({"p": 1}, {"p": 1.0}),
        ({"p": [0]}, {"p": [False]}),
        ({"p": {}}, {"p": []}),
        ({"p": [{"a": 1}]}, {"p": [{"a": True}]}),
        ({}, {"p": None}),
    ],
)
def test_values_that_python_takes_for_equal_still_differ(before: Any, after: Any) -> None:
    [change] = field_changes(before, after)
    assert (change.field, change.before, change.after) == ("p", before.get("p", ABSENT), after["p"])


NAMES = st.sampled_from("abcdefgh")
FIELDS = st.fixed_dictionaries({}, optional={"timeout": st.sampled_from(["1m", "2m"]), "suspend": st.booleans()})
SPECS = st.dictionaries(NAMES, FIELDS).map(lambda specs: [wanted(name, **fields) for name, fields in specs.items()])
CONFIGS = st.dictionaries(NAMES, st.tuples(st.sampled_from(["default", "other"]), FIELDS)).map(
    lambda configs: [held(name, source, **fields) for name, (source, fields) in configs.items()]
)
OPTIONS = st.fixed_dictionaries(
    {"prune": st.booleans(), "adopt": st.booleans(), "allow_empty": st.booleans()},
    optional={"max_prune": st.sampled_from(["0", "1", "100%"])},
)


@given(SPECS, CONFIGS, OPTIONS)
def test_a_plan_applied_leaves_nothing_to_change(
    specs: list[Wanted], configs: list[Held], options: dict[str, Any]
) -> None:
    first = plan(specs, configs, **options)
    after = {config.name: config for config in configs}
    read = {one.name: one for one in specs}
    for change in first.changes:
        if change.verb == "delete":
            del after[change.name]
        else:
            after[change.name] = held(change.name, **read[change.name].spec.fields)
    second = plan(specs, list(after.values()), **options)
    assert not second.has_changes
    assert {refusal.names for refusal in second.refusals} == {refusal.names for refusal in first.refusals}


@given(SPECS, CONFIGS, OPTIONS, st.randoms())
def test_the_order_of_what_is_read_does_not_matter(
    specs: list[Wanted], configs: list[Held], options: dict[str, Any], random: Any
) -> None:
    expected = plan(specs, configs, **options)
    random.shuffle(specs)
    random.shuffle(configs)
    assert plan(specs, configs, **options) == expected
