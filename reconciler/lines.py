"""What of a text fits into a line. Nothing here knows what the text is of."""

from __future__ import annotations


def first_line(text: str | None, longest: int = 80) -> str:
    """The first line that says something, cut to `longest` characters; empty where none does."""
    return cut(next((part.strip() for part in (text or "").splitlines() if part.strip()), ""), longest)


def cut(text: str, longest: int) -> str:
    """The text, or as much of it as `longest` characters hold with an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
