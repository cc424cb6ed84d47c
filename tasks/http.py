"""Ask an HTTP server, and check the answer."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from reconciler.registry import task

if TYPE_CHECKING:
    from urllib.request import Request

MOST = 1024 * 1024
AT_ONCE = 64 * 1024
SHOWN = 2000


class UnexpectedAnswerError(Exception):
    """The server answered, and not as it should."""


class NoAnswerError(Exception):
    """The server could not be asked, or did not answer in time."""


@task("http.request")
def request(
    url: str,
    *,
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET",
    headers: dict[str, str] | None = None,
    body: str | None = None,
    data: dict[str, Any] | list[Any] | None = None,
    expect_status: int | list[int] = 200,
    expect_text: str | None = None,
    expect_within: timedelta | None = None,
    timeout: timedelta = timedelta(seconds=30),
    ca_file: str | None = None,
) -> dict[str, Any]:
    """Send one request; fail unless the status, the text and the time are as expected.

    `data` is sent as JSON, `body` as it is. Redirects are followed; `headers` do not go along to another host.
    `expect_text` must stand somewhere in the first MiB of the answer. `timeout` is for all of it. `ca_file` is
    trusted beside nothing else. The result has the status, the seconds, and how many bytes of the answer were read.
    """
    asked = _request(url, method, headers or {}, body, data)
    where = f"{method} {_shown(asked.full_url)}"
    started = time.monotonic()
    status, answer = _answer(asked, where, timeout, ca_file)
    seconds = time.monotonic() - started
    print(f"{where}: {status}, {len(answer)} bytes in {seconds:.3f} s")
    text = answer.decode(errors="replace")
    if fault := _fault(status, text, expect_status, expect_text):
        print(text[:SHOWN])
        raise UnexpectedAnswerError(fault)
    if expect_within is not None and seconds > expect_within.total_seconds():
        raise UnexpectedAnswerError(f"took {seconds:.3f} s, expected at most {expect_within.total_seconds():g} s")
    return {"status": status, "seconds": round(seconds, 3), "bytes": len(answer)}


def _fault(status: int, text: str, expect_status: int | list[int], expect_text: str | None) -> str | None:
    allowed = [expect_status] if isinstance(expect_status, int) else expect_status
    if status not in allowed:
        return f"answered {status}, expected {' or '.join(map(str, allowed)) or 'what is in an empty list'}"
    if expect_text is not None and expect_text not in text:
        return f"the answer does not contain {expect_text!r}"
    return None


def _request(url: str, method: str, headers: dict[str, str], body: str | None, data: object) -> Request:
    from base64 import b64encode
    from urllib.parse import quote, unquote, urlsplit
    from urllib.request import Request

    if body is not None and data is not None:
        raise ValueError("body and data are both given; use one")
    parts = urlsplit(quote(url, safe="%/:=&?~#+!$,;'@()*[]"))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url: it begins with http:// or https:// and a host")
    own = {"User-Agent": "reconciler"}
    login, at, host = parts.netloc.rpartition("@")
    if at:
        own["Authorization"] = "Basic " + b64encode(unquote(login).encode()).decode()
    content = None if body is None else body.encode()
    if content is not None:
        own["Content-Type"] = "text/plain; charset=utf-8"
    if data is not None:
        content, own["Content-Type"] = json.dumps(data).encode(), "application/json"
    return Request(parts._replace(netloc=host).geturl(), content, own | headers, method=method)


def _answer(asked: Request, where: str, timeout: timedelta, ca_file: str | None) -> tuple[int, bytes]:
    """The status and the first MiB; NoAnswerError."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError

    until = time.monotonic() + timeout.total_seconds()
    opener = _opener(ca_file)
    try:
        try:
            with opener.open(asked, timeout=timeout.total_seconds()) as answer:
                return answer.status, _read(answer, until)
        except HTTPError as error:
            with error:
                return error.code, _read(error, until)
    except TimeoutError:
        raise NoAnswerError(f"{where}: no whole answer within {timeout.total_seconds():g} s") from None
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise NoAnswerError(f"{where}: no answer within {timeout.total_seconds():g} s") from None
        raise NoAnswerError(f"{where}: {_reason(error.reason)}") from None
    except (OSError, HTTPException) as error:
        raise NoAnswerError(f"{where}: {_reason(error)}") from None


def _read(answer: Any, until: float) -> bytes:
    """Up to a MiB. The socket's own timeout is for each piece, and a slow server has many."""
    content = b""
    while len(content) < MOST and (chunk := answer.read1(AT_ONCE)):
        content += chunk
        if time.monotonic() > until:
            raise TimeoutError
    return content[:MOST]


def _opener(ca_file: str | None) -> Any:
    import ssl
    from urllib.error import HTTPError
    from urllib.parse import urlsplit
    from urllib.request import HTTPRedirectHandler, HTTPSHandler, build_opener

    class Redirects(HTTPRedirectHandler):
        """A header may hold a password, and that is meant for the host which the spec names."""

        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            old, new = urlsplit(req.full_url), urlsplit(newurl)
            if new.scheme not in ("http", "https"):
                raise HTTPError(req.full_url, code, f"redirected to {new.scheme}:", headers, fp)
            asked = super().redirect_request(req, fp, code, msg, headers, newurl)
            if asked is not None and (old.scheme, old.netloc) != (new.scheme, new.netloc):
                asked.headers = {"User-agent": req.headers.get("User-agent", "reconciler")}
            return asked

    try:
        context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    except OSError as error:
        raise NoAnswerError(f"ca_file {ca_file!r} cannot be used: {error.strerror or error}") from None
    return build_opener(HTTPSHandler(context=context), Redirects)


def _reason(error: object) -> str:
    from ssl import SSLCertVerificationError

    if isinstance(error, SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)


def _shown(url: str) -> str:
    """Without the query, in which keys and tokens are given."""
    from urllib.parse import urlsplit

    return urlsplit(url)._replace(query="", fragment="").geturl()
