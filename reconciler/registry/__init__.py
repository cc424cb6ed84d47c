"""The registered task functions: how they are declared, found and called with the right parameters."""

from reconciler.registry.context import RetryAfter, TaskContext
from reconciler.registry.registry import (
    LIBRARY,
    TASKS,
    Task,
    auto_discover_tasks,
    check_params,
    get_task_function,
    params_schema,
    task,
)

__all__ = [
    "LIBRARY",
    "TASKS",
    "RetryAfter",
    "Task",
    "TaskContext",
    "auto_discover_tasks",
    "check_params",
    "get_task_function",
    "params_schema",
    "task",
]
