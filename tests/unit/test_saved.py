"""A saved plan: what is written is what is read back, what it forbids, and when it no longer holds."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.firstfiles import WORKFLOWS, workflow
from reconciler.errors import ReconcilerError
from reconciler.plan import make_plan
from reconciler.plan.saved import (
    SavedChange,
    SavedPlan,
    differing,
    is_done,
    moved,
    moved_text,
    options_for,
    read_plan,
    saved_changes,
    written,
)
from reconciler.plan.state import read_state
from reconciler.spec import LocatedSpec, TaskSpec

ROOT = Path(__file__).parents[2]
MADE = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Config:
    name: str
    digest: str
    source: str = "default"
    path: str = "a.yaml"


def spec(name: str, minute: int = 0) -> TaskSpec:
    return TaskSpec(name=name, task="t", schedule=(f"{minute} 2 * * *",))


OLD, NEW = spec("a", 1), spec("a", 2)


def plan_of(*changes: SavedChange, **more: Any) -> SavedPlan:
    return SavedPlan(source="default", made_at=MADE, made_by="ada", has_changes=bool(changes), changes=changes, **more)


def update() -> SavedChange:
    return SavedChange(
        verb="update",
        name="a",
        path="a.yaml",
        before_digest=OLD.digest,
        before_path="a.yaml",
        before_source="default",
        after_digest=NEW.digest,
        document=NEW.document(),
    )


def create() -> SavedChange:
    return SavedChange(verb="create", name="a", path="a.yaml", after_digest=NEW.digest, document=NEW.document())


def delete() -> SavedChange:
    return SavedChange(
        verb="delete", name="a", path="a.yaml", before_digest=OLD.digest, before_path="a.yaml", before_source="default"
    )


def test_what_is_written_is_what_is_read_back() -> None:
    plan = plan_of(update(), revision="1a2b3c4", last_revision="0a0b0c0")
    assert read_plan(plan.model_dump_json().encode(), "plan.json") == plan
    [located] = written(plan, "plan.json")
    assert (located.spec, located.path, located.digest) == (NEW, "a.yaml", NEW.digest)


def test_a_plan_saves_what_it_saw_and_what_it_writes() -> None:
    wanted = LocatedSpec(NEW, "b.yaml", 1, NEW.digest)
    held = Config("a", OLD.digest)
    plan = make_plan([wanted], [held], {"a": OLD.document()}, options_for(plan_of()))
    saved = plan_of(*saved_changes(plan, {"a": NEW.document()}, {"a": held}))
    [change] = saved.changes
    assert (change.before_digest, change.before_path, change.before_source) == (OLD.digest, "a.yaml", "default")
    assert (change.after_digest, change.path) == (NEW.digest, "b.yaml")
    assert list(differing(saved, plan)) == []
    assert list(differing(saved, make_plan([], [held], {}, options_for(saved)))) == ["a"]


@pytest.mark.parametrize(
    ("change", "held", "said"),
    [
        (create(), None, None),
        (create(), Config("a", NEW.digest), "a exists now, in source 'default'"),
        (update(), Config("a", OLD.digest), None),
        (update(), None, "a was deleted"),
        (update(), Config("a", spec("a", 3).digest), "a was edited"),
        (update(), Config("a", OLD.digest, source="other"), "a now belongs to source 'other'"),
        (update(), Config("a", OLD.digest, path="b.yaml"), "a was moved to b.yaml"),
        (delete(), Config("a", OLD.digest), None),
        (delete(), Config("a", NEW.digest), "a was edited"),
        (delete(), None, "a was deleted"),
    ],
)
def test_what_has_moved_is_named(change: SavedChange, held: Config | None, said: str | None) -> None:
    assert moved(plan_of(change), {"a": held} if held else {}) == ([said] if said else [])


@pytest.mark.parametrize(
    ("change", "held", "done"),
    [
        (create(), None, False),
        (create(), Config("a", NEW.digest), True),
        (update(), Config("a", OLD.digest), False),
        (update(), Config("a", NEW.digest), True),
        (update(), Config("a", NEW.digest, source="other"), False),
        (update(), Config("a", NEW.digest, path="b.yaml"), False),
        (delete(), None, True),
        (delete(), Config("a", OLD.digest), False),
    ],
)
def test_a_plan_is_done_when_all_is_as_it_wanted(change: SavedChange, held: Config | None, done: bool) -> None:
    assert is_done(plan_of(change), {"a": held} if held else {}) is done


def test_of_very_many_that_moved_the_first_are_named() -> None:
    text = moved_text(plan_of(), [f"t{number} was edited" for number in range(9)])
    assert "t4 was edited and 4 more" in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"verb": "delete"}, "does not go with what it writes"),
        ({"verb": "create"}, "to create has before_digest"),
        ({"before_digest": "zz"}, "before_digest"),
        ({"name": "a\nb"}, "name"),
        ({"path": "a\x00b"}, "path"),
        ({"moves_cursor": False}, "moves_cursor"),
    ],
)
def test_a_change_that_makes_no_sense_is_no_plan(edit: dict[str, Any], said: str) -> None:
    content = json.loads(plan_of(update()).model_dump_json())
    content["changes"][0] |= edit
    with pytest.raises(ReconcilerError) as error:
        read_plan(json.dumps(content).encode(), "plan.json")
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("text", [b"\xff\xfe", b'{"kind": "reconciler.plan", "x": NaN}', b'{"a": ' * 5000, b"null"])
def test_what_is_not_even_json_is_one_line(text: bytes) -> None:
    for reader in (read_plan, read_state):
        with pytest.raises(ReconcilerError) as error:
            reader(text, "x.json")
        assert str(error.value).startswith("x.json: ")
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("kind", WORKFLOWS)
def test_a_wheel_carries_the_workflows_that_init_writes(kind: str) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["docs/ci"] == "reconciler/ci"
    name, place = WORKFLOWS[kind]
    assert workflow(kind) == (place, (ROOT / "docs" / "ci" / name).read_text(encoding="utf-8"))


def test_a_document_with_what_no_store_keeps_is_refused_before_any_store_is_asked() -> None:
    odd = TaskSpec.from_document({"name": "a", "task": "t", "params": {"n": ["\0"]}})
    change = SavedChange(verb="create", name="a", path="a.yaml", after_digest=odd.digest, document=odd.document())
    with pytest.raises(ReconcilerError, match="a: has a NUL character"):
        written(read_plan(plan_of(change).model_dump_json().encode(), "plan.json"), "plan.json")
