"""What is this installation set to? `reconciler.toml` and `RECONCILER_*` in one frozen value.

The environment wins over the file. Knows nothing of who uses a setting, and connects to nothing: a URL is only
checked for its form. Its own small loader, because importing pydantic-settings costs more than half of what a
`validate` may take.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from reconciler.errors import ReconcilerError
from reconciler.settings.model import (
    ApiSettings,
    HistorySettings,
    LogSettings,
    NotifySettings,
    QueueSettings,
    RunnerSettings,
    Settings,
    SourceSettings,
)

FILE_NAME = "reconciler.toml"
PREFIX = "RECONCILER_"
# The tests' own variables, which say where a test database is, and at which step the process ends.
IGNORED_PREFIXES = ("RECONCILER_TEST_", "RECONCILER_FAILPOINT")
SECTIONS: dict[str, type[BaseModel]] = {
    "runner": RunnerSettings,
    "api": ApiSettings,
    "history": HistorySettings,
    "notify": NotifySettings,
    "log": LogSettings,
}
# Tables of tables, which only the file can hold.
ONLY_IN_FILE = {"sources": "[[sources]]", "queues": "[queues.NAME]", "notify.targets": "[notify.targets]"}
TOP = tuple(name for name in Settings.model_fields if name not in ("directory", "origins"))
LISTS = ("task_modules", "runner.queues")


def load_settings(directory: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings of `directory` (the current one by default), whose file may also be in a parent.

    ReconcilerError, in one line, for a file that cannot be read, an unknown key or variable, or a bad value.
    """
    start = (directory or Path.cwd()).absolute()
    files = (where / FILE_NAME for where in (start, *start.parents))
    file = next((file for file in files if file.exists()), None)
    shown = FILE_NAME if file is None or file.parent == Path.cwd() else str(file)
    values = _read(file, shown) if file else {}
    _refuse_unknown(values, shown)
    origins = dict.fromkeys(_keys(), "default") | {key: shown for key in _keys() if _given(values, key)}
    for variable, key in _variables(environ):
        _put(values, key, environ[variable])
        origins[key] = variable
    try:
        settings = Settings(**values, directory=file.parent if file else start, origins=origins)
    except ValidationError as error:
        raise ReconcilerError(_first_fault(error, origins, shown)) from None
    names = [source.name for source in settings.sources]
    for name in names:
        if names.count(name) > 1:
            raise ReconcilerError(f"{shown}: sources: two are named {name!r}: give each its own name")
    return settings


def _keys() -> list[str]:
    """Every key that the environment can set too, and `sources`."""
    plain = [name for name in TOP if name not in SECTIONS]
    return plain + [f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields]


def _read(file: Path, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode())
    except tomllib.TOMLDecodeError as error:
        raise ReconcilerError(f"{shown}: not TOML: {str(error).splitlines()[0]}") from None
    except UnicodeDecodeError:
        raise ReconcilerError(f"{shown}: not UTF-8: save it as UTF-8") from None
    except RecursionError:
        raise ReconcilerError(f"{shown}: nested too deeply: settings are at most two levels deep") from None
    except OSError as error:
        raise ReconcilerError(f"{shown}: cannot be read: {error.strerror}: check the file") from None


def _refuse_unknown(values: Mapping[str, Any], shown: str) -> None:
    _refuse_keys(values, TOP, shown, "")
    for section, model in SECTIONS.items():
        if isinstance(part := values.get(section), Mapping):
            _refuse_keys(part, tuple(model.model_fields), shown, f"{section}.")
    sources = values.get("sources")
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, Mapping):
            _refuse_keys(source, tuple(SourceSettings.model_fields), shown, "sources.")
    queues = values.get("queues")
    for name, queue in queues.items() if isinstance(queues, Mapping) else ():
        if isinstance(queue, Mapping):
            _refuse_keys(queue, tuple(QueueSettings.model_fields), shown, f"queues.{name}.")


def _refuse_keys(part: Mapping[str, Any], known: tuple[str, ...], shown: str, above: str) -> None:
    for key in part:
        if key not in known:
            raise ReconcilerError(f"{shown}: {above}{key}: unknown setting: {_nearest(key, known)}")


def _nearest(given: str, known: tuple[str, ...]) -> str:
    import difflib

    close = difflib.get_close_matches(given, known, 1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(variable, key) for each that is set; an empty one counts as not set, as compose files leave them."""
    known = {PREFIX + key.replace(".", "_").upper(): key for key in _keys() if key not in ONLY_IN_FILE}
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        if variable.startswith(IGNORED_PREFIXES) or not environ[variable].strip():
            continue
        for key, written in ONLY_IN_FILE.items():
            if variable.startswith(PREFIX + key.replace(".", "_").upper()):
                raise ReconcilerError(f"{variable}: unknown setting: write {written} in {FILE_NAME}")
        if variable not in known:
            raise ReconcilerError(f"{variable}: unknown setting: {_nearest(variable, tuple(known))}")
        yield variable, known[variable]


def _given(values: Mapping[str, Any], key: str) -> bool:
    section, dot, name = key.partition(".")
    part = values.get(section)
    return name in part if dot and isinstance(part, Mapping) else not dot and section in values


def _put(values: dict[str, Any], key: str, text: str) -> None:
    value = [item.strip() for item in text.split(",")] if key in LISTS else text.strip()
    section, dot, name = key.partition(".")
    if dot and isinstance(values.setdefault(section, {}), dict):
        values[section][name] = value
    elif not dot:
        values[key] = value


WORDING = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def _first_fault(error: ValidationError, origins: Mapping[str, str], shown: str) -> str:
    faults = error.errors(include_url=False)
    fault = faults[0]
    key = ".".join(str(step) for step in fault["loc"] if isinstance(step, str))
    origin = origins.get(key, "default")
    where = origin if origin.startswith(PREFIX) else f"{shown}: {key}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{where}: {_what(fault, key)}{more}"


def _what(fault: Any, key: str) -> str:
    kind, text = fault["type"], fault["msg"]
    if kind == "value_error":
        return str(fault["ctx"]["error"])
    if kind == "string_pattern_mismatch":
        what = "must be a module name, as in tasks.reports" if key == "task_modules" else "must be one word"
    else:
        what = WORDING.get(kind, text.replace("Input should be", "must be"))
    value = fault["input"]
    # A URL is never shown: it may hold a password.
    is_shown = (
        not key.endswith("_url") and not key.startswith("notify.targets") and isinstance(value, (str, int, float))
    )
    return f"{value!r} {what}" if is_shown else what
