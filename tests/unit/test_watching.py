"""Which changes are worth a look."""

from __future__ import annotations

from pathlib import Path

import pytest
from watchfiles import Change

from reconciler.sync.watching import matters


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.yaml", True),
        ("reports/a.yml", True),
        ("holidays/de.txt", True),
        ("holidays/de.ics", True),
        ("build.py", True),
        ("reports", True),
        ("..data", True),
        ("notes.md", False),
        # What editors leave beside a file.
        (".a.yaml.swp", False),
        ("a.yaml~", False),
        ("#a.yaml#", False),
        (".#a.yaml", False),
        # What others keep there.
        (".git/index.yaml", False),
        (".reconciler/task.yaml", False),
        ("reports/__pycache__/a.py", False),
    ],
)
def test_only_what_may_hold_a_spec_or_code_is_worth_a_look(tmp_path: Path, name: str, expected: bool) -> None:
    assert matters(tmp_path, Change.modified, str(tmp_path / name)) is expected


def test_a_directory_with_a_dot_in_its_name_counts_there_or_gone(tmp_path: Path) -> None:
    (tmp_path / "v1.2").mkdir()
    assert matters(tmp_path, Change.added, str(tmp_path / "v1.2"))
    assert matters(tmp_path, Change.deleted, str(tmp_path / "v1.3"))


def test_where_the_root_lies_does_not_count(tmp_path: Path) -> None:
    root = tmp_path / ".git" / "specs"
    assert matters(root, Change.modified, str(root / "a.yaml"))
