"""How is the database asked for a connection, and why did it refuse?

Words only: nothing is opened here, and no password comes out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from reconciler.errors import ReconcilerError

EXAMPLE = "postgresql://user:password@host:5432/name"

# A dead peer must not hold a statement for the hours that TCP takes by itself. Sockets on disk ignore these.
ALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}

REASONS = (
    (r"password authentication failed for user \"(.+?)\"", "the password for user '{0}' was refused"),
    (r"no password supplied", "the server asks for a password and none is given"),
    (r"database \"(.+?)\" does not exist", "there is no database '{0}'"),
    (r"role \"(.+?)\" does not exist", "there is no user '{0}'"),
    (r"no pg_hba.conf entry for (.+)", "the server admits no {0}"),
    (r"failed to resolve host '(.*?)'", "the host name '{0}' is not known"),
    (r"could not translate host name \"(.+?)\"", "the host name '{0}' is not known"),
    (r"Connection refused", "nothing listens there"),
    (r"socket \"(.+?)\" failed: No such file", "there is no socket '{0}'"),
    (r"Unix-domain socket path .* is too long", "the path of the socket is too long (at most 107 bytes)"),
    (r"Network is unreachable|No route to host", "the network does not reach it"),
    (
        r"too many clients|remaining connection slots|too many connections",
        "the server has no connection left",
    ),
    (r"the database system is (.+)", "the server is {0}"),
    (r"server does not support SSL", "the server does not speak TLS and the url requires it"),
    (r"terminating connection due to administrator command", "the server ended it"),
    (r"server closed the connection unexpectedly", "the server went away"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What psycopg is given to connect, and how long it may take in all, in seconds."""

    arguments: dict[str, Any]
    patience: float


def connection_options(url: str, connect_timeout: float) -> Options:
    """The arguments of psycopg's connect; what the url says wins. ReconcilerError when it is no url."""
    given = _parts(url)
    timeout = int(given.get("connect_timeout") or max(2, round(connect_timeout)))
    hosts = str(given.get("host") or "").count(",") + 1
    arguments = {
        "application_name": "reconciler",
        "client_encoding": "utf8",
        **ALIVE,
        **given,
        "connect_timeout": timeout,
    }
    return Options(arguments, timeout * hosts + 1)


def reason(error: BaseException, options: Options | None = None) -> str:
    """Why, in one line and in plain words, else in the library's."""
    if isinstance(error, TimeoutError | psycopg.errors.ConnectionTimeout):
        return f"no answer within {options.arguments['connect_timeout']} s" if options else "no answer"
    text = str(error)
    for pattern, words in REASONS:
        if found := re.search(pattern, text):
            return words.format(*found.groups())
    line = " ".join(text.split()) or type(error).__name__
    return re.sub(r"^(connection failed: )?(connection to server .*? failed: )?((FATAL|ERROR): )?", "", line)


def _parts(url: str) -> dict[str, Any]:
    plain = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url.strip())
    server, _, path = plain.partition("://")[2].partition("?")[0].partition("/")
    try:
        if not plain.startswith("postgresql://") or server.count("@") > 1 or "@" in path:
            raise ValueError("another scheme, or an '@' or '/' that may belong to the password")
        given = conninfo_to_dict(plain)
        int(given.get("connect_timeout") or 0)
    except (psycopg.Error, ValueError, UnicodeError) as error:
        # The library quotes what it could not read, and that may be the password.
        what = "not the url of a PostgreSQL database"
        how = f"write '{EXAMPLE}', with %40 for @ and %2F for / in a password"
        raise ReconcilerError(f"database_url: {what}: {how}") from error
    return {key: value for key, value in given.items() if value is not None}
