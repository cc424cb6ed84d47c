"""Which functions become tasks, under which names, and what a broken module costs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import ReconcilerError
from reconciler.registry import TASKS, TaskContext, auto_discover_tasks, get_task_function, task


@pytest.fixture(autouse=True)
def own_registry() -> Iterator[None]:
    """An empty registry, and no trace of the modules imported meanwhile."""
    before, path, modules = dict(TASKS), list(sys.path), set(sys.modules)
    TASKS.clear()
    yield
    TASKS.clear()
    TASKS.update(before)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in ("jobs", "tasks") or name.startswith("reconciler.tasks"):
            del sys.modules[name]


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("from reconciler.registry import task\n" + text)


def found(directory: Path, *modules: str) -> tuple[list[str], list[str]]:
    """The user's own tasks, and the faults."""
    faults = auto_discover_tasks(modules, directory)
    return sorted(name for name, known in TASKS.items() if known.file.startswith(str(directory))), faults


def test_the_decorator_works_with_and_without_arguments_and_returns_the_function() -> None:
    def build() -> None: ...

    assert task(build) is build
    assert task()(build) is build
    assert task("reports.build")(build) is build
    assert task(name="reports.daily")(build) is build
    assert {"reports.build", "reports.daily"} < set(TASKS)
    assert get_task_function("reports.build") is build


def test_a_generator_is_no_task(tmp_path: Path) -> None:
    text = "@task\n{}def rows():\n    yield 1\n"
    write(tmp_path, {"jobs/a.py": text.format(""), "jobs/b.py": text.format("async ")})
    write(tmp_path, {"jobs/c.py": "class Rows:\n    def __call__(self):\n        yield 1\ntask(Rows(), name='c')\n"})
    tasks, faults = found(tmp_path, "jobs")
    assert tasks == []
    why = "is a generator, and nothing would take what it yields: return a list; the tasks of module"
    assert [fault.split(" until")[0] for fault in faults] == [
        f"jobs/a.py:2: @task: rows {why} jobs.a are absent",
        f"jobs/b.py:2: @task: rows {why} jobs.b are absent",
        f"jobs/c.py:5: @task: Rows {why} jobs.c are absent",
    ]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("tasks.reports", "reports.build"),
        ("tasks.sales.reports", "sales.reports.build"),
        ("tasks", "build"),
        ("reconciler.tasks.reports", "reports.build"),
        ("reconciler.tasks", "build"),
        ("company.jobs.reports", "jobs.reports.build"),
    ],
)
def test_the_default_name_is_the_module_without_its_first_part(module: str, name: str) -> None:
    def build() -> None: ...

    build.__module__ = module
    task(build)
    assert list(TASKS) == [name]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    task("send_report")(lambda: None)
    with pytest.raises(ReconcilerError, match=r"no task named 'send_reprot'; did you mean 'send_report'\?"):
        get_task_function("send_reprot")


def test_another_function_under_a_taken_name_is_an_error_that_names_both_places() -> None:
    def first() -> None: ...
    def second() -> None: ...

    task("same")(first)
    with pytest.raises(ReconcilerError) as raised:
        task("same")(second)
    assert str(raised.value).count("test_registry.py:") == 2


def test_a_class_is_not_a_task() -> None:
    with pytest.raises(ReconcilerError, match="is not a function"):
        task(type("Report", (), {}))


def test_async_functions_are_known_as_such() -> None:
    class Callable:
        async def __call__(self) -> None: ...

    async def one() -> None: ...
    def other() -> None: ...

    for name, function in {"one": one, "other": other, "instance": Callable()}.items():
        task(name)(function)
    assert {name: known.is_async for name, known in TASKS.items()} == {"one": True, "other": False, "instance": True}


def test_the_context_is_a_parameter_by_annotation_or_by_name() -> None:
    def by_annotation(run: TaskContext) -> None: ...
    def optional(run: TaskContext | None = None) -> None: ...
    def by_name(ctx) -> None: ...  # type: ignore[no-untyped-def]
    def by_long_name(context) -> None: ...  # type: ignore[no-untyped-def]
    def another_meaning(context: str) -> None: ...
    def none(region: str) -> None: ...

    parameters = {}
    for function in (by_annotation, optional, by_name, by_long_name, another_meaning, none):
        task(function.__name__)(function)
        parameters[function.__name__] = TASKS[function.__name__].context_parameter
    assert parameters == {
        "by_annotation": "run",
        "optional": "run",
        "by_name": "ctx",
        "by_long_name": "context",
        "another_meaning": None,
        "none": None,
    }


def test_the_library_comes_first_and_needs_no_module_of_ones_own(tmp_path: Path) -> None:
    own, faults = found(tmp_path, "tasks")
    assert (own, faults) == ([], [])
    assert "shell.run" in TASKS


def test_a_package_is_walked_to_its_end(tmp_path: Path) -> None:
    function = "@task\ndef build(): pass\n"
    files = {"tasks/__init__.py": "", "tasks/a.py": function, "tasks/b/c.py": function, "tasks/b/__init__.py": ""}
    write(tmp_path, {**files, "tasks/b/__main__.py": "1/0"})
    assert found(tmp_path, "tasks") == (["a.build", "b.c.build"], [])


def test_a_broken_module_is_one_line_and_costs_only_itself(tmp_path: Path) -> None:
    function = "@task\ndef build(): pass\n"
    write(
        tmp_path,
        {
            "tasks/good.py": function,
            "tasks/typo.py": "def (:\n",
            "tasks/late.py": function + "raise ValueError('two\\nlines')\n",
            "tasks/missing.py": "import no_such_module_anywhere\n",
            "tasks/leaving.py": "import sys\nsys.exit(3)\n",
        },
    )
    own, faults = found(tmp_path, "tasks")
    assert own == ["good.build"]
    rest = "; the tasks of module {} are absent until this is mended"
    assert sorted(faults) == [
        "tasks/late.py:4: ValueError: two lines" + rest.format("tasks.late"),
        "tasks/leaving.py:3: SystemExit: 3" + rest.format("tasks.leaving"),
        "tasks/missing.py:2: ModuleNotFoundError: No module named 'no_such_module_anywhere'"
        + rest.format("tasks.missing"),
        "tasks/typo.py:2: SyntaxError: invalid syntax" + rest.format("tasks.typo"),
    ]


def test_a_module_that_is_not_there_is_named_with_its_nearest(tmp_path: Path) -> None:
    write(tmp_path, {"jobs/__init__.py": ""})
    _, faults = found(tmp_path, "jbos")
    assert faults == [f"task_modules: no module named 'jbos' in {tmp_path} or on the Python path; did you mean 'jobs'?"]


def test_two_functions_of_one_name_in_two_modules_are_a_fault_of_the_second(tmp_path: Path) -> None:
    function = "@task('same')\ndef build(): pass\n"
    write(tmp_path, {"jobs/__init__.py": "", "jobs/a.py": function, "jobs/b.py": function})
    own, faults = found(tmp_path, "jobs")
    assert own == ["same"]
    assert len(faults) == 1
    assert "defined twice" in faults[0]


def test_the_same_file_under_two_module_names_is_one_task(tmp_path: Path) -> None:
    write(tmp_path, {"jobs/__init__.py": "", "jobs/a.py": "@task('same')\ndef build(): pass\n"})
    sys.path.insert(0, str(tmp_path / "jobs"))
    assert found(tmp_path, "jobs", "a") == (["same"], [])
    sys.modules.pop("a", None)


def test_a_skipped_module_is_not_imported_and_its_text_is_the_fault(tmp_path: Path) -> None:
    write(tmp_path, {"jobs/__init__.py": "", "jobs/deadly.py": "import os\nos._exit(3)\n"})
    heard: list[str] = []
    faults = auto_discover_tasks(["jobs"], tmp_path, skip={"jobs.deadly": "it kills"}, importing=heard.append)
    assert faults == ["it kills"]
    assert heard[-1] == "jobs"


def test_a_name_of_the_library_may_be_taken_over(tmp_path: Path) -> None:
    write(tmp_path, {"jobs/__init__.py": "", "jobs/a.py": "@task('shell.run')\ndef mine(): pass\n"})
    _, faults = found(tmp_path, "jobs")
    assert (faults, TASKS["shell.run"].qualname) == ([], "mine")
