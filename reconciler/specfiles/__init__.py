"""A directory of YAML into specs, with every fault at its place; nothing in a file is trusted."""

from reconciler.specfiles.mentions import Outside
from reconciler.specfiles.specfiles import (
    Check,
    Fault,
    LocatedSpec,
    SpecReader,
    SpecSet,
    check_against,
)

__all__ = ["Check", "Fault", "LocatedSpec", "Outside", "SpecReader", "SpecSet", "check_against"]
