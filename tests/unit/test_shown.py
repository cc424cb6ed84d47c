"""Paths in faults, as whoever wrote the files knows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.settings import SourceSettings
from reconciler.spec.specset import Fault, SpecSet
from reconciler.sync.shown import as_in_repository

HERE = Path("/srv/app")
ROOT = HERE / ".reconciler/sources/far-1a2b/files"
URL = "https://git.example/x"


@pytest.mark.parametrize("prefix", [str(ROOT), ".reconciler/sources/far-1a2b/files"])
@pytest.mark.parametrize(
    ("path", "shown"), [("specs", "specs/a.yaml"), ("./ops/specs/", "ops/specs/a.yaml"), (".", "a.yaml")]
)
def test_a_fault_is_where_the_repository_has_it(prefix: str, path: str, shown: str) -> None:
    fault = Fault(f"{prefix}/a.yaml", 1, 1, "name", f"'a' is also in {prefix}/a.yaml")
    read = SpecSet(faults=(fault,), warnings=(fault,), held=("a.yaml",))
    found = as_in_repository(read, SourceSettings(repo=URL, path=path), ROOT, HERE)
    assert {(one.path, one.what) for one in (*found.faults, *found.warnings)} == {(shown, f"'a' is also in {shown}")}
    assert (found.held, found.specs is read.specs) == (read.held, True)


def test_without_a_repository_or_without_a_fault_it_is_the_very_set() -> None:
    fault = Fault("specs/a.yaml", 1, 1, "name", "is missing")
    for read, source in ((SpecSet(), SourceSettings(repo=URL)), (SpecSet(faults=(fault,)), SourceSettings())):
        assert as_in_repository(read, source, ROOT, HERE) is read
