"""Where a test may end this process as `kill -9` would: at the step that `RECONCILER_FAILPOINT` names.

Steps of a sync, in their order: after-fetch and export-written (of a repository), after-read, after-lock, after-plan,
after-apply, after-commit, after-align. Off unless the variable names the step.
"""

from __future__ import annotations

import os
from typing import Final

EXIT_CODE: Final = 70


def failpoint(name: str) -> None:
    if os.environ.get("RECONCILER_FAILPOINT") == name:
        os._exit(EXIT_CODE)
