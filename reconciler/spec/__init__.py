"""What a YAML document may say: the model, its faults in words, its schema for editors."""

from reconciler.spec.spec import (
    DstRule,
    Fault,
    History,
    LocatedSpec,
    Notify,
    Retries,
    SpecSet,
    TaskSpec,
    spec_schema,
)

__all__ = ["DstRule", "Fault", "History", "LocatedSpec", "Notify", "Retries", "SpecSet", "TaskSpec", "spec_schema"]
