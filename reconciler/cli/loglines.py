"""How a service speaks while it runs: a line a fact, for a person or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal


def speak(level: str, style: Literal["console", "json"]) -> None:
    """Log to stderr from `level` up; `reconciler`'s own loggers say no name, others say theirs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Console() if style == "console" else Json())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("reconciler").setLevel(level.upper())
    if level != "debug":  # of a connection that it gives up, whoever waited for it says more
        logging.getLogger("psycopg").setLevel(logging.ERROR)


class Console(logging.Formatter):
    """`12:00:03 heartbeat: succeeded in 12 ms`, in local time; what is not plain news says its level."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        name = "" if record.name.startswith("reconciler") else f"{record.name}: "
        text = f"{time} {level}{name}{' '.join(part.strip() for part in record.getMessage().splitlines())}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class Json(logging.Formatter):
    """One object a line: time, level, logger, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
