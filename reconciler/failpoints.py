"""Where a test may end this process as `kill -9` would: at the step that `RECONCILER_FAILPOINT` names.

`step@3` is the third time that the process gets there; the variable is read once. Off unless it is set.

Steps of a sync, in their order: after-fetch and export-written (of a repository), after-read, after-lock, after-plan,
after-apply, after-commit, after-align. Steps of a run: after-take (Redis gave it out), after-claim (the decision is
committed) or after-pick-up (of what waited), after-start (handed to a child), in-child (there, before the function is
called) and after-call (there, before anybody knows what came of it), before-finish, after-finish (committed, and not
yet forgotten).
"""

from __future__ import annotations

import os
from typing import Final

EXIT_CODE: Final = 70

_end = os._exit  # a child puts its last words before it
_step, _, _times = os.environ.get("RECONCILER_FAILPOINT", "").partition("@")
_left = int(_times) if _times.isdecimal() else 1


def failpoint(name: str) -> None:
    """End here, if this is the step, and the time."""
    global _left
    if name == _step:
        _left -= 1
        if _left <= 0:
            _end(EXIT_CODE)
