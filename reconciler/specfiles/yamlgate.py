"""Bytes into documents: which YAML a spec file may use, and a line for everything else.

PyYAML is no boundary by itself. A cheap look at the bytes comes first, then libyaml's event parser (which does not
recurse) feeds a tree that is bounded in every direction. No tags, no duplicate keys, no guessing.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from reconciler.errors import ReconcilerError
from reconciler.specfiles.yamltree import DEPTH, Builder, Enough, Loaded, Problem

try:
    from yaml._yaml import CParser
except ImportError as error:
    raise ReconcilerError(
        "pyyaml: was built without libyaml: install a wheel of it, or libyaml's headers before building"
    ) from error

FILE_BYTES = 1024 * 1024
VERSION = yaml.__version__

# What YAML calls printable, without the line ends (and a second BOM) that YAML sees and an editor does not.
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_DIRECTIVE = re.compile(r"^%(?!YAML 1\.[12][ \t]*\r?$)", re.MULTILINE)
_BOM = b"\xef\xbb\xbf"
# What libyaml says, in the words of whoever wrote the file, and whether it is shown where the matter began.
_PLAINLY = (
    ("could not find expected ':'", "simple key", True, "a colon has to follow this key; write it as key: value"),
    ("mapping values are not allowed", "", False,
     "a colon cannot stand here; quote what is text, or mend the indentation"),
    ("did not find expected key", "block mapping", False,
     "is no key of the mapping that begins on line {begun}; check the indentation, and the quotes before it"),
    ("did not find expected '-'", "block collection", False,
     "is no entry of the list that begins on line {begun}; begin it with '- ', or check the indentation"),
    ("unexpected end of stream", "quoted scalar", True, "the quote that opens here is never closed; close it"),
    ("did not find expected ',' or '}'", "flow mapping", False,
     "the braces opened on line {begun} need a comma or }} here; check the quotes, commas and braces"),
    ("did not find expected ',' or ']'", "flow sequence", False,
     "the brackets opened on line {begun} need a comma or ] here; check the quotes, commas and brackets"),
    ("exceeded maximum nesting depth", "", False, f"is nested deeper than {DEPTH} levels"),
    ("unknown escape character", "", False, "a backslash means something else in double quotes; use single quotes"),
)  # fmt: skip


def load(data: bytes) -> Loaded:
    """The documents of a spec file, as JSON would have them. Never raises for what `data` holds."""
    loaded = Loaded()
    problem = _refused(data)
    if problem is not None:
        loaded.problems.append(problem)
        return loaded
    builder = Builder(CParser(data.removeprefix(_BOM)).get_event, loaded)
    try:
        builder.build()
    except Enough:
        pass
    except yaml.MarkedYAMLError as error:
        loaded.problems.append(_syntax(error, data))
    except yaml.YAMLError as error:
        loaded.problems.append(Problem(1, 1, "yaml", " ".join(str(error).split())))
    return loaded


def _refused(data: bytes) -> Problem | None:
    """What is wrong with the bytes before anything is parsed: the cheap gate."""
    if len(data) > FILE_BYTES:
        return Problem(1, 1, "file", too_large(len(data)))
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return Problem(1, 1, "file", "is UTF-16; save it as UTF-8")
        line, column = _position(data[: error.start].decode(errors="replace"))
        return Problem(line, column, "file", f"byte 0x{data[error.start]:02x} is not UTF-8; save it as UTF-8")
    text = text.removeprefix("\ufeff")
    found = _NOT_TEXT.search(text)
    if found:
        name = "a NUL byte" if found[0] == "\0" else f"the control character {found[0]!a}"
        return Problem(*_position(text[: found.start()]), "file", f"has {name}, which is no text; remove it")
    found = _DIRECTIVE.search(text) if "%" in text else None
    if found:
        return Problem(*_position(text[: found.start()]), "yaml", "directives (%TAG and others) are not allowed")
    return None


def too_large(size: int) -> str:
    """The line for a file of `size` bytes that is not read."""
    return f"is {size} bytes large; a spec file may have up to {FILE_BYTES}"


def _position(before: str) -> tuple[int, int]:
    line = before.count("\n") + 1
    return line, len(before) - (before.rfind("\n") + 1) + 1


def _syntax(error: yaml.MarkedYAMLError, data: bytes) -> Problem:
    mark: Any = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    what = error.problem or "is not YAML"
    lines = data.removeprefix(_BOM).decode().split("\n")
    here = lines[line - 1][column - 1 : column] if line <= len(lines) else ""
    if here == "\t":
        return Problem(line, column, "yaml", "a tab stands where spaces belong; indent with spaces")
    if here and here in "@`%" and "cannot start any token" in what:
        return Problem(line, column, "yaml", f"an unquoted word cannot begin with {here}; quote it")
    if error.context and error.context.startswith("while scanning an alias"):
        column -= 1
        return Problem(line, column, "yaml", 'an unquoted * begins an alias; quote the value, as in "*/5 * * * *"')
    begun: Any = error.context_mark or mark
    for problem, context, is_shown_there, plainly in _PLAINLY:
        if problem in what and context in (error.context or ""):
            line, column = (begun.line + 1, begun.column + 1) if is_shown_there else (line, column)
            return Problem(line, column, "yaml", plainly.format(begun=begun.line + 1))
    what = f"{what} {error.context or ''}"
    return Problem(line, column, "yaml", f"{' '.join(what.split())}; check the indentation, colons and quotes")
