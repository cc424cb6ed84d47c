"""Every input that fuzzing has kept, given to its target again: what was once found and mended stays mended."""

from __future__ import annotations

import pytest
from fuzzed.corpus import inputs
from fuzzed.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_no_kept_input_makes_anything_but_a_result_or_one_line(name: str) -> None:
    known = list(inputs(name))
    assert known
    for kept, data in known:
        try:
            TARGETS[name](data)
        except Exception as error:
            raise AssertionError(f"{name}: {kept}: {data[:200]!r}") from error
