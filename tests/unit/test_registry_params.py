"""What a spec's parameters may be, judged by the function's own signature."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from reconciler.registry import TASKS, Task, TaskContext, check_params, params_schema, task
from reconciler.registry.params import ParamsError, bind
from reconciler.registry.references import Mask


class Target(BaseModel):
    host: str
    port: int = 443


def build(
    region: str,
    /,
    ctx: TaskContext,
    count: int = 3,
    *,
    keep: timedelta | None = None,
    kind: Literal["full", "part"] = "full",
    paths: list[Path] = [],  # noqa: B006
    target: Target | None = None,
    words: str | list[str] = "",
    few: Annotated[int, Field(le=5)] = 1,
    note: Annotated[str, Field(description="for people")] = "",
) -> None: ...


pytestmark = pytest.mark.usefixtures("own_registry")


def known(function: Callable[..., Any]) -> Task:
    task("under_test")(function)
    return TASKS["under_test"]


@pytest.mark.parametrize(
    ("params", "faults"),
    [
        ({"region": "eu"}, []),
        ({"region": "eu", "count": 5, "keep": "1h30m", "kind": "part", "paths": ["/a", "b"], "note": "x"}, []),
        ({"region": "eu", "target": {"host": "a"}}, []),
        ({}, ["region: is missing; under_test cannot be called without it"]),
        (
            {"regoin": "eu", "region": "eu"},
            ["regoin: under_test has no such parameter; did you mean 'region'?"],
        ),
        ({"region": 3}, ["region: 3 is not text; quote it: '3'"]),
        (
            {"region": "eu", "count": "many"},
            ["count: 'many' is not a whole number"],
        ),
        ({"region": "eu", "kind": "half"}, ["kind: 'half' is not one of full, part"]),
        (
            {"region": "eu", "keep": "10 minutes"},
            ["keep: '10 minutes' is not a duration; examples: '90s', '1h30m', '250ms', '30d'"],
        ),
        ({"region": "eu", "target": {"host": "a", "port": "x"}}, ["target.port: 'x' is not a whole number"]),
        ({"region": "eu", "words": True}, ["words: true is not text or a list"]),
        ({"region": "eu", "words": ["a", 3]}, ["words[1]: 3 is not text; quote it: '3'"]),
        (
            {"region": "eu", "words": {"from_evn": "A"}},
            ["words: a mapping is not text or a list; did you mean"],
        ),
        ({"region": "eu", "few": 9}, ["few: 9 has to be less than or equal to 5"]),
        ({"region": "eu", "target": {}}, ["target.host: is missing"]),
        ({"region": "eu", "ctx": 1}, ["ctx: under_test has no such parameter; "]),
    ],
)
def test_every_fault_is_one_line(params: dict[str, object], faults: list[str]) -> None:
    said = [str(fault) for fault in check_params(known(build), params)]
    assert len(said) == len(faults)
    assert all(line.startswith(expected) for line, expected in zip(said, faults, strict=True)), said
    assert not any("\n" in line for line in said)


@pytest.mark.parametrize(
    ("params", "faults"),
    [
        ({"region": {"from_env": "REGION"}, "count": {"from_file": "/run/count"}}, []),
        ({"region": "eu", "paths": ["a", {"from_env": "PLACE"}], "target": {"host": {"from_env": "HOST"}}}, []),
        ({"region": "eu", "target": {"host": "a", "port": {"from_env": "PORT"}}}, []),
        ({"region": "eu", "paths": [{"from_env": "PLACE"}, 3]}, ["paths[1]: 3 is not a path"]),
        ({"region": {"from_env": 3}}, ["region: from_env: 3 is not the name of an environment variable"]),
        ({"region": {"from_file": ""}}, ["region: from_file: '' is not the path of a file"]),
        (
            {"region": "eu", "target": {"host": {"from_env": "A=B"}}},
            ["target.host: from_env: 'A=B' is not the name of an environment variable"],
        ),
    ],
)
def test_a_reference_stands_for_any_value_and_hides_nothing_else(params: dict[str, object], faults: list[str]) -> None:
    said = [str(fault) for fault in check_params(known(build), params)]
    assert len(said) == len(faults)
    assert all(line.startswith(expected) for line, expected in zip(said, faults, strict=True)), said


def test_any_name_goes_where_the_function_takes_any() -> None:
    def open_ended(region: str, **more: object) -> None: ...

    assert check_params(known(open_ended), {"region": "eu", "other": 1}) == []


def test_an_annotation_that_cannot_be_read_accepts_anything() -> None:
    def odd(client, other) -> None: ...  # type: ignore[no-untyped-def]

    odd.__annotations__ = {"client": "NoSuchClass", "other": object()}
    assert check_params(known(odd), {"client": 1, "other": [2]}) == []


def test_parameters_are_coerced_as_they_are_annotated() -> None:
    positional, named = bind(known(build), {"region": "eu", "keep": "10m", "paths": ["/a"], "count": "5"})
    assert positional == ["eu"]
    assert named == {"keep": timedelta(minutes=10), "paths": [Path("/a")], "count": 5}


def test_what_does_not_fit_at_the_call_is_one_line_of_all_faults() -> None:
    with pytest.raises(ParamsError) as raised:
        bind(known(build), {"count": "x", "colour": "red"})
    assert [part.split(":")[0] for part in str(raised.value).split("; ") if ":" in part] == [
        "colour",
        "region",
        "count",
    ]


def test_a_resolved_secret_is_not_in_what_is_wrong_with_it() -> None:
    for params in ({"count": "hunter22"}, {"count": "x" * 70 + "hunter22"}, {"keep": "hunter22"}):
        with pytest.raises(ParamsError) as raised:
            bind(known(build), {"region": "eu", **params}, Mask.of(list(params.values())))
        assert "hunter" not in str(raised.value) and "***" in str(raised.value)


def test_the_schema_says_what_an_editor_needs() -> None:
    schema = params_schema(known(build))
    assert schema["required"] == ["region"]
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {"region", "count", "keep", "kind", "paths", "target", "words", "few", "note"}
    assert schema["properties"]["note"]["description"] == "for people"
    assert schema["properties"]["count"]["default"] == 3
    assert schema["properties"]["kind"]["anyOf"][0]["enum"] == ["full", "part"]
    assert "from_env" in schema["properties"]["region"]["anyOf"][-1]["properties"]
    assert set(schema["$defs"]) == {"Target"}


def test_the_schema_is_described_by_the_first_line_of_the_docstring() -> None:
    def told() -> None:
        """Tell it.

        And more of it.
        """

    assert params_schema(known(told))["description"] == "Tell it."


def test_the_schema_of_a_function_without_a_docstring_has_no_description() -> None:
    assert "description" not in params_schema(known(lambda: None))
