"""What of a text fits into a line, and how a line names a command. Nothing here knows what the text is of."""

from __future__ import annotations


def first_line(text: str | None, longest: int = 80) -> str:
    """The first line that says something, cut to `longest` characters; empty where none does."""
    return cut(next((part.strip() for part in (text or "").splitlines() if part.strip()), ""), longest)


def of_source(command: str, source: str) -> str:
    """The command as one types it for that source; the usual name goes without saying."""
    return command if source == "default" else f"{command} --source {source}"


def bare(error: str, source: str) -> str:
    """What is wrong with a source, for where its name stands beside it."""
    return error.removeprefix(f"source '{source}': ")


def cut(text: str, longest: int) -> str:
    """The text, or as much of it as `longest` characters hold with an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
