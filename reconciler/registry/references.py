"""Secrets in parameters: `{from_env: NAME}` and `{from_file: PATH}`, resolved late and masked everywhere.

A reference stands anywhere in the parameters, also inside lists and mappings. It is resolved only in the
process that runs the function, right before the call; its value is never stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from reconciler.typewords import shown
from reconciler.urls import secrets_of

STORES = ("RECONCILER_DATABASE_URL", "RECONCILER_REDIS_URL")
KINDS = ("from_env", "from_file")
SHORTEST_MASKED = 4
LARGEST_FILE = 1024 * 1024
Place = tuple[str | int, ...]


class UnresolvedError(ValueError):
    """A variable or file that a parameter refers to is not there."""


def is_reference(value: object) -> bool:
    """Whether a value is meant as a reference: a mapping whose only key is `from_env` or `from_file`."""
    return isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in KINDS


def fault_of(reference: Mapping[str, object]) -> str | None:
    """What is wrong with how a reference is written."""
    kind, target = next(iter(reference.items()))
    if isinstance(target, str) and target.strip() and "\0" not in target and not (kind == KINDS[0] and "=" in target):
        return None
    meant = "the name of an environment variable" if kind == KINDS[0] else "the path of a file"
    return f"{kind}: {shown(target)} is not {meant}"


def references(value: object, place: Place = ()) -> Iterator[tuple[Place, Mapping[str, object]]]:
    """Every reference inside a value, with the keys and indexes that lead to it."""
    if isinstance(value, Mapping):
        if is_reference(value):
            yield place, value
            return
        for key, item in value.items():
            yield from references(item, (*place, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from references(item, (*place, index))


def replaced(value: Any, replacement: Any) -> Any:
    """A copy of a value with `replacement(reference)` for each reference."""
    if isinstance(value, Mapping):
        if is_reference(value):
            return replacement(value)
        return {key: replaced(item, replacement) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(item, replacement) for item in value]
    return value


def resolve(params: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The parameters with every reference replaced by its value, and the values; UnresolvedError."""
    secrets: list[str] = []

    def look_up(reference: Mapping[str, object]) -> str:
        if fault := fault_of(reference):
            raise UnresolvedError(fault)
        secrets.append(_value(reference, environ))
        return secrets[-1]

    return replaced(params, look_up), secrets


def _value(reference: Mapping[str, object], environ: Mapping[str, str]) -> str:
    kind, target = next(iter(reference.items()))
    if kind == "from_env":
        if str(target) not in environ:
            raise UnresolvedError(f"from_env: the environment variable {target} is not set where the task runs")
        return environ[str(target)]
    return _content(Path(str(target)))


def _content(path: Path) -> str:
    """A file's text without the newline at its end. Only plain files: a FIFO would wait for ever."""
    try:
        if path.exists() and not path.is_file():
            raise UnresolvedError(f"from_file: {path} is not a file")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise UnresolvedError(f"from_file: {path} is larger than 1 MiB")
        return content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UnresolvedError(f"from_file: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnresolvedError(f"from_file: {path} is not UTF-8 text") from error


@dataclass(frozen=True)
class Mask:
    """Replaces secret values by `***` in text, also quoted, escaped, or printed line by line."""

    needles: tuple[str, ...] = ()

    @classmethod
    def of(cls, secrets: Sequence[str]) -> Mask:
        needles = {form for secret in secrets for form in _forms(secret)}
        return cls(tuple(sorted(needles, key=len, reverse=True)))

    @classmethod
    def of_stores(cls, environ: Mapping[str, str]) -> Mask:
        """The passwords of the service's own stores: every task finds them in its environment, asked for or not."""
        return cls.of([secret for name in STORES for secret in secrets_of(environ.get(name, ""))])

    def also(self, secrets: Sequence[str]) -> Mask:
        """This one and those of a call."""
        more = Mask.of(secrets).needles if secrets else ()
        return Mask(tuple(sorted({*self.needles, *more}, key=len, reverse=True))) if more else self

    def __call__(self, text: str) -> str:
        for needle in self.needles:
            text = text.replace(needle, "***")
        return text

    def inside(self, value: Any) -> Any:
        """A JSON value with its texts masked, the keys of its mappings too."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {self(key): self.inside(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.inside(item) for item in value]
        return value


def _forms(secret: str) -> Iterator[str]:
    lines = [line.strip() for line in secret.splitlines()] if "\n" in secret else []
    for text in (secret, secret.strip(), *lines):
        if len(text) >= SHORTEST_MASKED:
            yield from (
                text,
                json.dumps(text)[1:-1],
                repr(text)[1:-1],
                quote(text, safe=""),
                quote_plus(text),
            )
