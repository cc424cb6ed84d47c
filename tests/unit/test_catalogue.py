"""The tasks as others may know them: the same faults in the same words as with the functions themselves."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, field_validator
from typing_extensions import TypedDict

from reconciler.errors import ReconcilerError
from reconciler.registry import TASKS, Task, TaskContext, check_params, task
from reconciler.registry.catalogue import CatalogueCheck, as_text, catalogue_of, check_of, entry, from_text
from reconciler.registry.discover import has_modules, without_absent
from reconciler.specfiles import check_against

pytestmark = pytest.mark.usefixtures("own_registry")


class Colour(enum.Enum):
    red = "red"
    blue = "blue"


class Level(enum.IntEnum):
    low = 1


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    host: str
    port: Annotated[int, Field(gt=0)] = 443


class Tree(BaseModel):
    kids: list[Tree] = []


class Ship(BaseModel):
    kind: Literal["ship"]
    knots: int


class Car(BaseModel):
    kind: Literal["car"]
    plate: str


class Even(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def _even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("is odd")
        return number


@dataclass
class Point:
    x: int
    y: int = 0


class Loose(TypedDict, total=False):
    a: int


TYPES: list[Any] = [
    str, int, float, bool, bytes, Any, Decimal, UUID, date, datetime, timedelta, Path, HttpUrl,
    int | None, int | str, list[int], tuple[int, ...], tuple[int, str], set[str], dict[str, float],
    Literal["full", "part"], Colour, Level, Strict, Tree, Point, Loose,
    list[Strict], dict[str, Strict] | None, list[Tree], list[Path] | None, list[timedelta],
    Annotated[int, Field(gt=3, le=9)], Annotated[str, Field(pattern="^a", max_length=3)],
    Annotated[list[int], Field(min_length=1)], Annotated[Ship | Car, Field(discriminator="kind")],
]  # fmt: skip
VALUES: list[Any] = [
    None, 0, 1, 12, -1, True, 1.5, "", "1", "a", "abcd", "full", "ful", "red", "rad", "10m", "2026-01-02",
    "2026-01-02T03:04:05Z", "http://a/b", "nonsense", "12345678-1234-5678-1234-567812345678", 10**30,
    [], [1], ["a"], [1, "b"], ["1m", "x"], {}, {"host": "a"}, {"host": 3}, {"host": "a", "prot": 1},
    {"host": "a", "port": 0}, [{"host": 1}], {"k": {"host": 1}}, {"kids": [{"kids": 3}]}, [{"kids": 1}],
    {"x": "q"}, {"x": 1}, {"a": "z"}, {"kind": "ship"}, {"kind": "shop"}, {"kind": "car", "plate": 1},
    {"from_env": "X"}, {"from_evn": "X"}, {"from_env": "a=b"}, [{"from_env": "X"}],
]  # fmt: skip


def known(function: Callable[..., Any], name: str = "t.one") -> Task:
    task(name)(function)
    return TASKS[name]


def published(*tasks: Task) -> CatalogueCheck:
    """As it comes back from a store, or a file."""
    return check_of(json.loads(json.dumps(catalogue_of({one.name: one for one in tasks}))))


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_value_is_judged_from_the_catalogue_as_from_the_code(kind: Any) -> None:
    def one(value: Any) -> None: ...

    one.__annotations__ = {"value": kind}
    here, there = known(one), published(known(one))
    for value in VALUES:
        params = {"value": value}
        assert list(map(str, there("t.one", params))) == list(map(str, check_params(here, params))), value


def build(region: str, /, ctx: TaskContext, count: int = 3, *, keep: timedelta | None = None, **more: Any) -> None: ...


def closed(region: str, rows: int = 3) -> None: ...


@pytest.mark.parametrize("function", [build, closed])
@pytest.mark.parametrize(
    "params", [{}, {"region": "eu"}, {"regoin": "eu", "rwos": 1}, {"region": 1, "count": "x", "keep": 3, "rows": []}]
)
def test_names_are_judged_from_the_catalogue_as_from_the_code(
    function: Callable[..., Any], params: dict[str, Any]
) -> None:
    here = known(function)
    assert list(map(str, published(here)("t.one", params))) == list(map(str, check_params(here, params)))


@pytest.mark.parametrize("name", ["t.oen", "t.one", "other"])
def test_an_unknown_task_is_told_in_the_same_words(name: str) -> None:
    known(closed)
    tasks = {"t.one": TASKS["t.one"]}
    assert list(published(*tasks.values())(name, {"region": "eu"})) == list(
        check_against(tasks)(name, {"region": "eu"})
    )


def test_what_only_the_code_knows_is_left_to_the_code() -> None:
    def one(even: Even, anything: object) -> None: ...

    check = published(known(one))
    assert check("t.one", {"even": {"number": 3}, "anything": [1]}) == []
    assert [str(one) for one in check("t.one", {"even": {"number": "x"}, "anything": 1})] == [
        "even.number: 'x' is not a whole number"
    ]


def test_what_an_older_runner_published_is_checked_by_its_names() -> None:
    schema = {"properties": {"region": {}}, "required": ["region"], "additionalProperties": False}
    check = check_of({"t.one": schema})
    assert [str(fault) for fault in check("t.one", {"regoin": 3})] == [
        "regoin: t.one has no such parameter; did you mean 'region'?",
        "region: is missing; t.one cannot be called without it",
    ]
    assert check("t.one", {"region": 3}) == []


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "no-such"},
        {"type": "list", "items_schema": {"type": 3}},
        {"type": "function-plain"},
        {},
        {"type": "enum"},
    ],
)
def test_a_type_of_another_version_fits_everything(kind: dict[str, Any]) -> None:
    check = check_of({"t.one": {"parameters": [["value", True, kind]], "additionalProperties": False}})
    assert check("t.one", {"value": object}) == []
    assert len(check("t.one", {})) == 1


def test_a_partial_catalogue_lets_pass_what_it_does_not_know_and_tells_what_that_was() -> None:
    check = check_of(catalogue_of({"t.one": known(closed)}), is_partial=True)
    assert check("t.two", {"x": 1}) == []
    assert len(check("t.one", {})) == 1
    assert check.left == {"t.two"}
    assert check.catalogue != check_of(check.tasks).catalogue


def test_a_catalogue_is_the_same_in_every_process_and_tells_others_apart() -> None:
    def tree(value: Tree) -> None: ...

    assert "0x" not in json.dumps(entry(known(tree))) and "ref" in json.dumps(entry(known(tree)))
    one, other = catalogue_of({"a": known(closed, "t.other")}), catalogue_of({"a": TASKS["t.one"]})
    assert check_of(one).catalogue == check_of(json.loads(json.dumps(one))).catalogue != check_of(other).catalogue


def test_a_file_says_what_it_is() -> None:
    catalogue = catalogue_of({"t.one": known(closed)})
    assert from_text(as_text(catalogue), "tasks.json") == json.loads(json.dumps(catalogue))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"tasks.json: is not JSON \(.*\): write it with reconciler schema --catalogue"),
        ("[]", "tasks.json: is no catalogue of tasks: write one with reconciler schema --catalogue tasks.json"),
        ('{"kind": "reconciler.plan"}', "tasks.json: is no catalogue"),
        ('{"kind": "reconciler.catalogue", "tasks": {"a": 1}}', "tasks.json: is no catalogue"),
        (
            '{"kind": "reconciler.catalogue", "format_version": 2, "tasks": {}}',
            "tasks.json: has format_version 2, and 1 is known: write it anew",
        ),
    ],
)
def test_another_file_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ReconcilerError, match=said):
        from_text(text, "tasks.json")


@pytest.mark.parametrize(
    ("modules", "files", "is_here"),
    [
        (["tasks"], [], False),  # of a clone of this repository that is on the path, it is the library
        (["tasks"], ["tasks/__init__.py"], True),
        (["jobs.daily"], ["jobs.py"], True),
        (["jbos"], ["jobs.py"], False),
        (["json.tool"], [], True),  # installed
        (["a", "b"], ["b.py"], True),
        ([], ["b.py"], False),
    ],
)
def test_task_modules_are_here_when_one_of_them_is(
    modules: list[str], files: list[str], is_here: bool, tmp_path: Path
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert has_modules(modules, tmp_path) is is_here


def test_where_no_module_is_here_only_a_misspelt_one_is_a_fault() -> None:
    absent = "task_modules: no module named 'jobs' in /a or on the Python path"
    misspelt = f"{absent}; did you mean 'jbos'?"
    assert without_absent([absent, misspelt, "tasks/x.py:1: broken"]) == [misspelt, "tasks/x.py:1: broken"]
