"""The settings of an installation: what there is, and where it is read from."""

from reconciler.settings.loading import load_settings
from reconciler.settings.model import (
    ApiSettings,
    HistorySettings,
    LogSettings,
    NotifySettings,
    QueueSettings,
    Reference,
    RunnerSettings,
    Settings,
    SourceSettings,
)
from reconciler.urls import redacted

__all__ = [
    "ApiSettings",
    "HistorySettings",
    "LogSettings",
    "NotifySettings",
    "QueueSettings",
    "Reference",
    "RunnerSettings",
    "Settings",
    "SourceSettings",
    "load_settings",
    "redacted",
]
