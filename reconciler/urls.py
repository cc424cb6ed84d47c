"""Which store a URL names, and how it is shown: without its password."""

from __future__ import annotations

import re
from urllib.parse import unquote

DATABASE_SCHEMES = ("postgresql", "postgres")
REDIS_SCHEMES = ("redis", "rediss", "unix")


def redacted(url: str) -> str:
    """The same URL with its password as `***`, wherever in the URL it is."""
    # Greedy up to the last '@': a password with an unquoted '@' or '/' in it must not show either.
    without = re.sub(r"(://[^:/@?]*):.*@", r"\1:***@", url)
    return re.sub(r"((?:^|[?&\s])(?:ssl)?password\s*=\s*)[^&\s]*", r"\1***", without)


def secrets_of(url: str) -> list[str]:
    """What of a URL nobody may read: its passwords, written and decoded, and all of it; nothing without a password.

    A password that is also the user's or the database's name is no secret by itself, and to mask it would take a word
    out of every path and sentence.
    """
    server = re.match(r"[^:]*://([^:/@?#]*):([^/?#]*)@", url) or re.match(r"[^:]*://([^:/@?]*):(.*)@", url)
    passwords = [server[2]] if server else []
    passwords += re.findall(r"[?&](?:ssl)?password=([^&#]*)", url)
    if not any(passwords):
        return []
    database = re.search(r"/([^/?#]*)(?:[?#]|$)", url)
    public = {unquote(name) for name in (server[1] if server else "", database[1] if database else "")}
    decoded = [(password, unquote(password)) for password in passwords]
    return [url, *(form for forms in decoded if forms[1] not in public for form in dict.fromkeys(forms))]


def as_database_url(text: str) -> str:
    """The URL as psycopg takes it (SQLAlchemy's `postgresql+psycopg://` too); ValueError, without the URL."""
    return _checked(re.sub(r"^postgresql\+psycopg(_async)?:", "postgresql:", text.strip()), DATABASE_SCHEMES)


def as_redis_url(text: str) -> str:
    """The URL as redis takes it; ValueError, without the URL, for anything else."""
    return _checked(text.strip(), REDIS_SCHEMES)


def _checked(url: str, schemes: tuple[str, ...]) -> str:
    scheme, colon, rest = url.partition("://")
    shown = " or ".join(f"{name}://" for name in schemes)
    if not colon or scheme not in schemes:
        # What has no scheme may be a password, or a DSN with one in it.
        given = f"{scheme}:// is not a scheme for it" if colon and re.fullmatch("[a-z+]+", scheme) else "not a URL"
        raise ValueError(f"{given}: it begins with {shown}")
    if not rest:
        raise ValueError(f"nothing follows {scheme}://: write the host and the name too")
    return url
