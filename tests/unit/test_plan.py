"""Specs against configs, with values that stand for both."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import UsageError
from reconciler.plan import ABSENT, Change, Facts, FieldChange, edited, field_changes, gone, make_plan
from reconciler.plan.drift import Drift
from reconciler.plan.evidence import removed_paths, with_evidence
from reconciler.plan.guards import Options, Reached, prune_budget, rewind_refusal

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
    facts = options.pop("facts", Facts())
    names = {*edited(specs, configs), *gone(specs, configs, options.get("source", "default"))} | set(facts.drift.found)
    documents = {config.name: config.document for config in configs if config.name in names}
    return make_plan(specs, configs, documents, Options(**options), facts)


def only(specs: list[Wanted], configs: list[Held], **options: Any) -> Change:
    [change] = plan(specs, configs, **options).changes
    return change


def test_a_new_spec_is_created_and_counts_from_now() -> None:
    one = wanted("a")
    assert only([one], []) == Change("create", "a", "a.yaml", "new", (), True, True, after_digest=one.digest)


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


def test_of_several_sources_a_refusal_says_which_one_to_type() -> None:
    configs = [held(f"c{n}", source="team") for n in range(5)]
    [refusal] = plan([wanted("c0")], configs, source="team").refusals
    assert refusal.text.endswith("if that is meant: reconciler apply --source team --max-prune 4")
    [refusal] = plan([], configs, source="team").refusals
    assert refusal.text.endswith("if that is meant: reconciler apply --source team --allow-empty")
    rewind = rewind_refusal("a1b2c3d" * 5, REACHED, "rewinds", "", "team")
    assert rewind and rewind.text.endswith("reconciler apply --source team --allow-rewind --reason '…'")


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


def test_a_protected_name_stays_and_the_others_go() -> None:
    found = plan([wanted("a")], [held("a"), held("b", protect=True), held("c")])
    assert [(change.verb, change.name) for change in found.changes] == [("delete", "c")]
    [refusal] = found.refusals
    assert (refusal.what, refusal.names) == ("protect", ("b",))
    assert refusal.text == (
        "protect refused: b is protected and no longer in source 'default'; if it is meant to go:"
        " put it back with 'protect: false', apply that, and then remove it"
    )


def test_a_protected_name_stays_also_where_everything_is_meant_to_go() -> None:
    found = plan([], [held("a", protect=True), held("b")], allow_empty=True, max_prune="100%")
    assert [change.name for change in found.changes] == ["b"]
    assert [refusal.what for refusal in found.refusals] == ["protect"]


def test_what_a_faulty_file_holds_counts_as_present() -> None:
    configs = [held("a"), held("b", path="team/b.yaml"), held("c"), held("d", path="d.yaml")]
    found = plan([wanted("new"), wanted("d")], configs, facts=Facts(held=("a.yaml", "team/")))
    assert [(change.verb, change.name) for change in found.changes] == [("create", "new")]
    assert (found.held, found.refusals) == (("a", "b", "c"), ())


def test_what_has_no_file_stays_while_a_file_is_held_for_it_may_have_moved_there() -> None:
    found = plan([wanted("a")], [held("a"), held("moved")], facts=Facts(held=("new.yaml",)))
    assert (found.changes, found.held, found.refusals) == ((), ("moved",), ())


def test_nothing_but_held_files_is_no_empty_source() -> None:
    found = plan([], [held("a")], facts=Facts(held=("a.yaml",)))
    assert (found.changes, found.refusals, found.held) == ((), (), ("a",))


@pytest.mark.parametrize(
    ("gone", "new", "pairs"),
    [
        ({"old": {}}, {"new": {}}, {"new": "old", "old": "new"}),
        ({"old": {"timeout": "1m"}}, {"new": {}}, {}),
        ({"old": {}}, {"one": {}, "two": {}}, {"one": "old", "old": "one"}),
        ({"x": {}, "y": {}}, {"one": {}, "two": {}}, {"one": "x", "x": "one", "two": "y", "y": "two"}),
    ],
)
def test_a_likely_rename_is_a_document_that_is_equal_but_for_its_name(
    gone: dict[str, Any], new: dict[str, Any], pairs: dict[str, str]
) -> None:
    specs = [wanted("stays", timeout="9m"), *(wanted(name, **fields) for name, fields in new.items())]
    configs = [held("stays", timeout="9m"), *(held(name, **fields) for name, fields in gone.items())]
    found = plan(specs, configs, max_prune="100%")
    assert {change.name: change.looks_like for change in found.changes if change.looks_like} == pairs


def test_a_rename_whose_deletion_is_refused_is_said_all_the_same() -> None:
    change = only([wanted("new", protect=True), wanted("b")], [held("old", protect=True), held("b")])
    assert (change.name, change.looks_like) == ("new", "old")


@dataclass(frozen=True)
class Found:
    name: str
    kind: str
    digest: str | None
    source: str = "default"


WRITTEN = wanted("a").digest
EDITED = {"timeout": "1m"}


@pytest.mark.parametrize(
    ("specs", "configs", "found", "verb", "is_drift"),
    [
        # git says what the last sync wrote, the config does not
        ([wanted("a")], [held("a", **EDITED)], Found("a", "changed", WRITTEN), "update", True),
        ([wanted("a")], [held("a", path="x.yaml")], Found("a", "changed", WRITTEN), "update", True),
        ([wanted("a")], [held("a", source="other")], Found("a", "changed", WRITTEN), "adopt", True),
        ([wanted("a")], [], Found("a", "deleted", WRITTEN), "create", True),
        # the config looks as it should, and is not
        ([wanted("a")], [held("a")], Found("a", "changed", WRITTEN), "update", True),
        ([wanted("a")], [held("a")], Found("a", "unknown", None), "update", True),
        # nobody wrote it, and git does not have it
        ([wanted("b")], [held("b"), held("a")], Found("a", "unknown", None), "delete", True),
        # git has moved on as well: an edit like any other
        ([wanted("a", timeout="2m")], [held("a", **EDITED)], Found("a", "changed", WRITTEN), "update", False),
        ([wanted("a", timeout="2m")], [], Found("a", "deleted", WRITTEN), "create", False),
        ([wanted("b")], [held("b"), held("a", **EDITED)], Found("a", "changed", WRITTEN), "delete", False),
    ],
)
def test_what_was_changed_by_hand_is_told_from_what_git_changed(
    specs: list[Wanted], configs: list[Held], found: Found, verb: str, is_drift: bool
) -> None:
    facts = Facts(Drift({"a": found}))
    change = only(specs, configs, facts=facts)
    assert (change.verb, change.name, change.is_drift) == (verb, "a", is_drift)
    assert ("by hand" in change.reason) == is_drift
    detected = plan(specs, configs, facts=facts, drift="detect")
    assert [one.name for one in detected.drifted] == (["a"] if is_drift else [])
    assert [one.name for one in detected.changes] == ([] if is_drift else ["a"])
    ignored = plan(specs, configs, facts=facts, drift="ignore")
    assert (ignored.drifted, bool(ignored.changes)) == ((), not is_drift)


def test_a_config_that_was_given_to_us_by_hand_is_not_ours_to_delete() -> None:
    facts = Facts(Drift({"theirs": Found("theirs", "changed", "x", "other")}))
    found = plan([wanted("a")], [held("a"), held("theirs")], facts=facts)
    assert (found.changes, found.refusals) == ((), ())


REACHED = Reached("9f8e7d6" * 5, datetime(2026, 11, 24, 12, tzinfo=UTC), "ci")


@pytest.mark.parametrize(
    ("commit", "kind", "why", "text"),
    [
        ("a1b2c3d" * 5, "same", "", None),
        ("a1b2c3d" * 5, "descends", "", None),
        (
            "a1b2c3d" * 5,
            "rewinds",
            "",
            "rewind refused: a1b2c3d does not descend from 9f8e7d6, applied 2026-11-24 12:00 UTC by ci:"
            " if that is meant: reconciler apply --allow-rewind --reason '…'",
        ),
        (
            "a1b2c3d" * 5,
            "unknown",
            "the clone is shallow: set fetch-depth: 0",
            "rewind refused: cannot tell whether a1b2c3d descends from 9f8e7d6, applied 2026-11-24 12:00 UTC by ci:"
            " the clone is shallow: set fetch-depth: 0; or, if it is meant:"
            " reconciler apply --allow-rewind --reason '…'",
        ),
        (
            None,
            "unknown",
            "no git",
            "rewind refused: no revision is known here (no git), and this would go over 9f8e7d6,"
            " applied 2026-11-24 12:00 UTC by ci: if that is meant: reconciler apply --allow-rewind --reason '…'",
        ),
    ],
)
def test_a_revision_goes_forward_or_is_refused(commit: str | None, kind: str, why: str, text: str | None) -> None:
    refusal = rewind_refusal(commit, REACHED, kind, why)
    assert (refusal.text if refusal else None) == text
    assert refusal is None or (refusal.what, refusal.names) == ("rewind", ())


@dataclass(frozen=True)
class Removal:
    commit: str
    author: str = "Ada"
    subject: str = "drop old reports"
    is_whole_file: bool = True


@pytest.mark.parametrize(
    ("removal", "text"),
    [
        (Removal("1a2b3c4d5e6f"), "removed by 1a2b3c4 (Ada: drop old reports)"),
        (Removal("1a2b3c4d5e6f", is_whole_file=False), "taken out of its file by 1a2b3c4 (Ada: drop old reports)"),
        (Removal(""), "deleted here, not committed"),
        (Removal("", is_whole_file=False), "taken out of its file here, not committed"),
    ],
)
def test_a_deletion_says_who_removed_it(removal: Removal, text: str) -> None:
    found = plan([wanted("a")], [held("a"), held("b")])
    assert removed_paths(found) == ["b.yaml"]
    [change] = with_evidence(found, {"b.yaml": removal}).changes
    assert (change.reason, change.removal) == (text, removal)
    assert with_evidence(found, {"z.yaml": removal}) == found


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
