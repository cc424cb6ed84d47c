"""A declarative reconciler for scheduled tasks: git says what should run, and this keeps it so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.registry import RetryAfter, TaskContext, task

__version__ = "0.1.0"
__all__ = ["RetryAfter", "TaskContext", "__version__", "task"]


def __getattr__(name: str) -> Any:
    # Only when asked for: every command imports this module.
    if name in __all__:
        from reconciler import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
