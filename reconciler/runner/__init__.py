"""One runner: it decides what is due, has it run, and records what became of it."""

from reconciler.runner.runner import (
    Runner,
)

__all__ = ["Runner"]
