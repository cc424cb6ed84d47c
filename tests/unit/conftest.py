"""The one thing that unit tests share: the registry is as it was, whatever a test registers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.registry import TASKS


@pytest.fixture
def own_registry() -> Iterator[None]:
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)
