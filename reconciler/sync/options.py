"""What do a source's settings let its passes do? The same answer for the loop, the command line and a webhook."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.plan.guards import Options
from reconciler.settings import SourceSettings


def options_of(source: SourceSettings, **overrides: Any) -> Options:
    """The options of a pass over `source`; an override that is None leaves what the settings say."""
    is_allowed = source.rewind == "allow"
    settled = Options(
        source=source.name,
        prune=source.prune,
        max_prune=source.max_prune,
        on_fault=source.on_fault,
        drift=source.drift,
        allow_rewind=is_allowed,
        reason="allowed by the settings" if is_allowed else None,
    )
    return replace(settled, **{name: given for name, given in overrides.items() if given is not None})
