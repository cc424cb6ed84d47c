"""What an unquoted word of YAML means here: what a person would expect, or a line that says to quote it.

The words are those of YAML 1.2 without its surprises. Where 1.1, 1.2 and common sense differ (`012`, `1_000`, `yes`),
there is no guess: the writer says which one is meant.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

LARGEST = 2**63 - 1

_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None}
_MISSPELT = {spelling: word for word in ("true", "false", "null") for spelling in (word.capitalize(), word.upper())}
_YES_OR_NO = {
    spelling: meaning
    for word, meaning in (("yes", "true"), ("on", "true"), ("no", "false"), ("off", "false"))
    for spelling in (word, word.capitalize(), word.upper())
}
# One look-up tells that an everyday word is nothing but text.
_SPECIAL = _CONSTANTS.keys() | _MISSPELT.keys() | _YES_OR_NO.keys()
_NUMERIC_START = frozenset("0123456789+-.")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]*)?\.[0-9]*(?:[eE][-+]?[0-9]+)?\Z")
# What only some readers of YAML take for a number.
_DOUBTFUL = re.compile(
    r"""[-+]?(?: 0[xX][0-9a-fA-F_]+ | 0[oO]?[0-7_]+ | 0[bB][01_]+ | [0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?
        | \.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)? | \.(?:inf|Inf|INF) ) \Z | \.(?:nan|NaN|NAN)\Z""",
    re.VERBOSE,
)


class Ambiguous(ValueError):
    """The word means different things to different readers; the text says what to write instead."""


def plain(text: str, *, in_list: bool = False) -> str | int | float | bool | None:
    """The value of an unquoted scalar; Ambiguous where it is not plain what that would be.

    `yes`, `no`, `on` and `off` are words in a list (`[no, se]`), and doubtful as the value of a key (`verbose: no`).
    """
    if text in _SPECIAL:
        return _word(text, in_list)
    return _number(text) if text[:1] in _NUMERIC_START else text


def _word(text: str, in_list: bool) -> str | bool | None:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text in _MISSPELT:
        raise Ambiguous(f"write {_MISSPELT[text]}, or quote it if the text '{text}' is meant")
    if in_list:
        return text
    raise Ambiguous(
        f"{text} is a boolean to some and a word to others; write {_YES_OR_NO[text]},"
        f" or quote it if the text '{text}' is meant"
    )


# Specs say the same few lengths and numbers again and again.
@lru_cache(maxsize=4096)
def _number(text: str) -> str | int | float:
    if _WHOLE.match(text):
        # Its length first: Python refuses to convert thousands of digits, and needs long for what it does convert.
        if len(text) > 20 or abs(int(text)) > LARGEST:
            raise Ambiguous(f"{_short(text)} is a whole number of more than 64 bits; quote it if text is meant")
        return int(text)
    if _FRACTION.match(text) and any(char.isdigit() for char in text):
        return _fraction(text)
    if _DOUBTFUL.match(text):
        raise Ambiguous(f"{_short(text)} is a number to some and text to others; {_instead(text)}")
    return text


def _fraction(text: str) -> int | float:
    value = float(text)
    if abs(value) > LARGEST:
        raise Ambiguous(f"{_short(text)} is larger than 64 bits hold; quote it if text is meant")
    # PostgreSQL writes large fractions and -0.0 without their exponent and sign, and would give back another value.
    return int(value) if abs(value) >= 1e15 or (value == 0 and text.startswith("-")) else value


def _instead(text: str) -> str:
    quoted = f"quote it if text is meant, '{_short(text)}'"
    bare = text.replace("_", "").lstrip("+")
    try:
        if re.match(r"-?0[xXoObB]", bare):
            return f"write {int(bare, 0)}, or {quoted}"
        if re.match(r"-?0[0-9]", bare):
            return f"write {int(bare)} for the number, or {quoted}"
        value = float(bare)
        if math.isfinite(value) and abs(value) <= LARGEST:
            return f"write {int(value) if value.is_integer() else value}, or {quoted}"
    except ValueError:
        pass
    return quoted


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:24]}…{text[-8:]}"
