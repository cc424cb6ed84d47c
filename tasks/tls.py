"""Watch when a TLS certificate expires."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.registry import task


class ExpiresSoonError(Exception):
    """The certificate is valid for less time than there should be left."""


class NotTrustedError(Exception):
    """The server could not be reached, or no client would accept its certificate."""


@task("tls.expiry")
def expiry(
    host: str,
    *,
    port: int = 443,
    at_least: timedelta = timedelta(days=14),
    server_name: str | None = None,
    ca_file: str | None = None,
    timeout: timedelta = timedelta(seconds=10),
) -> dict[str, Any]:
    """Connect, verify the certificate as any client would, and fail when it has less than `at_least` to live.

    A certificate that is expired already, for another name or from an unknown authority fails the verification, with
    its reason. `ca_file` is trusted beside nothing else; `server_name` is asked for instead of `host`. The server's
    own certificate is looked at, not those of its authorities.
    """
    import ssl

    expires = ssl.cert_time_to_seconds(_not_after(host, port, server_name or host, ca_file, timeout))
    when = f"{datetime.fromtimestamp(expires, UTC):%Y-%m-%d %H:%M:%S} UTC"
    left = timedelta(seconds=int(expires - time.time()))
    print(f"{host}:{port}: expires {when}, in {_length(left)}")
    if left < at_least:
        raise ExpiresSoonError(f"{host}:{port}: expires {when}, in {_length(left)}; wanted {_length(at_least)}")
    return {"expires": datetime.fromtimestamp(expires, UTC), "days_left": left.days}


def _not_after(host: str, port: int, name: str, ca_file: str | None, timeout: timedelta) -> str:
    """The end of the certificate's life as the certificate has it; NotTrustedError."""
    import socket
    import ssl

    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise NotTrustedError(f"ca_file {ca_file!r} cannot be used: {error.strerror or error}") from None
    try:
        with (
            socket.create_connection((host, port), timeout.total_seconds()) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            return str((secured.getpeercert() or {})["notAfter"])
    except ssl.SSLCertVerificationError as error:
        raise NotTrustedError(f"{host}:{port}: the certificate is not accepted: {error.verify_message}") from None
    except TimeoutError:
        raise NotTrustedError(f"{host}:{port}: no answer within {timeout.total_seconds():g} s") from None
    except OSError as error:
        raise NotTrustedError(f"{host}:{port}: {error.strerror or error}") from None


def _length(length: timedelta) -> str:
    if length >= timedelta(days=2):
        return f"{length.days} days"
    hours, seconds = divmod(int(length.total_seconds()), 3600)
    return f"{hours} h {seconds // 60} min"
