"""The documents: short where they promise to be, their links lead somewhere, their tables say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from reconciler.db.tables import metadata
from reconciler.schedule import InvalidSchedule, Schedule
from reconciler.settings import QueueSettings, Settings, SourceSettings
from reconciler.settings.loading import ONLY_IN_FILE
from reconciler.spec import TaskSpec

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_readme_is_read_in_ten_minutes() -> None:
    assert len(text_of("README.md").splitlines()) <= 200


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings}
            assert heading in anchors, target


def test_every_part_of_a_field_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([\w.]+)` \| [^|]+ \| ([^|]*) \|", text_of("docs/specs.md"), re.MULTILINE))
    for field, value in TaskSpec(name="a", task="b").document().items():
        for name, default in value.items() if isinstance(value, dict) and value else [("", value)]:
            row = f"{field}.{name}".rstrip(".")
            assert row in rows
            if default not in (None, "", [], {}) and field not in ("name", "task"):
                said = str(default).lower() if isinstance(default, bool) else default
                assert rows[row] == f"`{said}`", row


def test_the_lines_about_strictness_are_what_the_schedule_says() -> None:
    section = text_of("docs/schedules.md").partition("### Strictness")[2].partition("\n## ")[0]
    lines = re.findall(r"^'(.+?)' .+$", section, re.MULTILINE)
    assert len(lines) >= 6
    for expression in lines:
        with pytest.raises(InvalidSchedule) as error:
            Schedule([expression])
        assert f"\n{error.value}\n" in section


def test_every_setting_has_a_row_with_its_variable() -> None:
    text, settings = text_of("docs/settings.md"), Settings(directory=ROOT)
    parts = {key: getattr(settings, key) for key in Settings.model_fields}
    sections = {key: value for key, value in parts.items() if isinstance(value, BaseModel)}
    keys = [key for key in parts if key not in ("directory", "origins", *ONLY_IN_FILE, *sections)]
    keys += [f"{section}.{key}" for section, value in sections.items() for key in type(value).model_fields]
    keys = [key for key in keys if key not in ONLY_IN_FILE]
    assert [key for key in keys if f"| `{key}` | `RECONCILER_{key.replace('.', '_').upper()}` |" not in text] == []
    assert [key for key in SourceSettings.model_fields if f"| `sources.{key}` |" not in text] == []
    assert [key for key in QueueSettings.model_fields if f"| `queues.NAME.{key}` |" not in text] == []
    assert "| `notify.targets.NAME` |" in text


def test_every_test_that_the_semantics_name_exists() -> None:
    named = re.findall(
        r"`((?:unit|integration|acceptance|faults)/test_\w+\.py)(?:::(test_\w+))?`", text_of("docs/semantics.md")
    )
    assert len(named) > 50
    for path, test in named:
        code = (ROOT / "tests" / path).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in code, f"{path}::{test}"


def test_every_test_that_the_table_of_faults_names_exists() -> None:
    """A name belongs to the file that was linked last."""
    code, count = "", 0
    for path, test in re.findall(r"\]\(\.\./(tests/[\w/]+\.py)\)|`(test_\w+)`", text_of("docs/reliability.md")):
        code, count = ((ROOT / path).read_text(encoding="utf-8"), count) if path else (code, count + 1)
        assert path or f"def {test}(" in code, test
    assert count > 30


def test_every_table_is_in_the_table_of_tables() -> None:
    section = text_of("docs/architecture.md").partition("\n## Tables\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(metadata.tables)
