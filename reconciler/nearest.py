"""Which known word was meant by an unknown one."""

from __future__ import annotations

from collections.abc import Iterable

# At two thirds 'bogus' would be like 'logs'.
CUTOFF = 0.67


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or None where none is like it; capitals do not matter."""
    from difflib import get_close_matches

    spellings = {candidate.lower(): candidate for candidate in known}
    letters = sorted(word[:200].lower())
    for spelling, candidate in spellings.items():
        if sorted(spelling) == letters:
            return candidate  # as 'rnu' for 'run', too short to be near enough
    found = get_close_matches(word[:200].lower(), list(spellings), n=1, cutoff=CUTOFF)
    return spellings[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """How a line about an unknown word ends: the nearest known one, else all that there are (up to 30)."""
    words = list(known)
    near = nearest(word, words)
    if near is not None:
        return f"did you mean '{near}'?"
    if not words:
        return "there are none"
    more = f" and {len(words) - 30} more" if len(words) > 30 else ""
    return f"known are {', '.join(words[:30])}{more}"
