"""What specs say of each other, and of the settings: judged over all files, told at the place that says it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from reconciler.spec import SpecSet
from reconciler.specfiles import Outside, SpecReader


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "specs").mkdir()
    return tmp_path / "specs"


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / f"{name}.yaml").write_text(text)


def lines(found: SpecSet, root: Path) -> list[str]:
    return [str(fault).removeprefix(f"{root}/") for fault in found.faults]


def warnings(found: SpecSet, root: Path) -> list[str]:
    return [str(fault).removeprefix(f"{root}/") for fault in found.warnings]


def test_specs_that_wait_for_each_other_are_fine(root: Path) -> None:
    write(root, a="task: t\n", b="task: t\nafter: [a]\n", c="task: t\nafter: [a, b]\n")
    found = SpecReader(root).read()
    assert (found.faults, found.warnings) == ((), ())


def test_a_circle_is_a_fault_with_the_circle_in_it(root: Path) -> None:
    write(
        root, a="task: t\nafter: [c]\n", b="task: t\nafter:\n  - x\n  - a\n", c="task: t\nafter: [b]\n", x="task: t\n"
    )
    assert lines(SpecReader(root).read(), root) == [
        "a.yaml:2:9: after[0]: a -> c -> b -> a goes round in a circle; remove one of these"
    ]


def test_a_circle_may_lie_in_one_file_or_come_of_an_environment(root: Path) -> None:
    text = "name: a\ntask: t\nenvironments: {prod: {after: [b]}}\n---\nname: b\ntask: t\nafter: [a]\n"
    write(root, several=text)
    assert SpecReader(root).read().faults == ()
    assert lines(SpecReader(root, environment="prod").read(), root) == [
        "several.yaml:3:31: environments.prod.after[0]: a -> b -> a goes round in a circle; remove one of these"
    ]


def test_an_unknown_name_is_a_fault_with_the_nearest_one(root: Path) -> None:
    write(root, a="task: t\nafter: [load-oders, whatever-it-is]\n", **{"load-orders": "task: t\n"})
    assert lines(SpecReader(root).read(), root) == [
        "a.yaml:2:9: after[0]: no spec 'load-oders'; did you mean 'load-orders'?",
        "a.yaml:2:21: after[1]: no spec 'whatever-it-is'; it has to be the name of a spec here",
    ]


def test_in_defaults_it_is_told_once_and_where_it_stands(root: Path) -> None:
    (root / "team").mkdir()
    write(root, first="task: t\n")
    (root / "team" / "_defaults.yaml").write_text("after: [frist]\n")
    for name in "ab":
        (root / "team" / f"{name}.yaml").write_text("task: t\n")
    assert lines(SpecReader(root).read(), root) == [
        "team/_defaults.yaml:1:9: after[0]: no spec 'frist'; did you mean 'first'?"
    ]


def test_what_a_faulty_file_may_be_about_is_not_told_as_unknown(root: Path) -> None:
    write(root, a="task: t\nafter: [b, c]\n", b="task: [\n", c="task: t\nqueue: Q\n")
    assert [line.split(":")[0] for line in lines(SpecReader(root).read(), root)] == ["b.yaml", "c.yaml"]


def test_what_else_is_wrong_with_a_spec_does_not_hide_what_it_names(root: Path) -> None:
    write(
        root,
        a="task: t\nschedule: nonsense\nafter: [b]\n",
        b="task: t\nafter: [a, lod]\nqueue: Q\nnotify: {to: [opps]}\n",
        c="task: t\nafter: [1]\nnotify: {to: [opps]}\n",
        load="task: t\n",
    )
    found = lines(SpecReader(root, outside=Outside(frozenset({"ops"}))).read(), root)
    assert [line.partition(": ")[2] for line in found if "after[" not in line or "no spec" in line] == [
        "schedule: 'nonsense' has 1 field; a cron expression has five: minute hour day month weekday",
        "after[1]: no spec 'lod'; did you mean 'load'?",
        "queue: 'Q' is not a name: names have a-z, 0-9 and '.', '_', '-' inside, up to 128 characters; for example 'q'",
        "notify.to[0]: no target 'opps' in the settings; did you mean 'ops'?",
        "notify.to[0]: no target 'opps' in the settings; did you mean 'ops'?",
    ]
    assert "a.yaml:3:9: after[0]: a -> b -> a goes round in a circle; remove one of these" in found


def test_of_a_single_file_or_one_of_several_sources_it_is_a_warning(root: Path) -> None:
    write(root, a="task: t\nafter: [b]\n", b="task: t\n")
    alone = SpecReader(root / "a.yaml").read()
    assert alone.faults == ()
    assert warnings(alone, root) == ["a.yaml:2:9: after[0]: no spec 'b'; it has to be in force, or among other specs"]
    write(root, a="task: t\nafter: [elsewhere]\n")
    one = SpecReader(root, outside=Outside(has_other_sources=True)).read()
    assert (one.faults, len(one.warnings)) == ((), 1)


def test_a_target_has_to_be_in_the_settings_where_these_are_known(root: Path) -> None:
    write(root, a="task: t\nnotify: {to: [ops, opps]}\n")
    assert SpecReader(root).read().faults == ()
    assert lines(SpecReader(root, outside=Outside(frozenset({"ops", "dev"}))).read(), root) == [
        "a.yaml:2:20: notify.to[1]: no target 'opps' in the settings; did you mean 'ops'?"
    ]
    assert lines(SpecReader(root, outside=Outside(frozenset())).read(), root) == [
        "a.yaml:2:15: notify.to[0]: no target 'ops' in the settings; add it to notify.targets",
        "a.yaml:2:20: notify.to[1]: no target 'opps' in the settings; add it to notify.targets",
    ]


def test_another_file_that_changes_is_seen_without_reading_this_one_again(root: Path) -> None:
    write(root, a="task: t\nafter: [b]\n", b="task: t\n")
    reader = SpecReader(root)
    assert reader.read().faults == ()
    (root / "b.yaml").unlink()
    assert lines(reader.read(), root) == ["a.yaml:2:9: after[0]: no spec 'b'; it has to be the name of a spec here"]
    write(root, b="task: t\nafter: [a]\n")
    assert lines(reader.read(), root) == [
        "a.yaml:2:9: after[0]: a -> b -> a goes round in a circle; remove one of these"
    ]
    write(root, b="task: t\n")
    assert reader.read().faults == ()


def test_another_process_knows_it_from_the_cache(root: Path, tmp_path: Path) -> None:
    write(root, a="task: t\nafter: [b]\nnotify: {to: [ops]}\n", b="task: t\n")
    for file in root.iterdir():
        os.utime(file, ns=(0, time.time_ns() - 10**11))
    cache = tmp_path / "cache"
    assert SpecReader(root, cache=cache).read().faults == ()
    assert len(list(cache.glob("specs-*"))) == 1
    (root / "b.yaml").write_text("task: t\nafter: [a]\n")
    later = SpecReader(root, cache=cache, outside=Outside(frozenset())).read()
    assert lines(later, root) == [
        "a.yaml:2:9: after[0]: a -> b -> a goes round in a circle; remove one of these",
        "a.yaml:3:15: notify.to[0]: no target 'ops' in the settings; add it to notify.targets",
    ]
