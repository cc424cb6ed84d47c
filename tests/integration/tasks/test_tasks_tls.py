"""`tls.expiry`: a real server on this host, with a certificate that has three days to live."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CallTask = Callable[..., Any]


@contextmanager
def served(pem: Path) -> Iterator[int]:
    """A TLS server that shakes hands and nothing else; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    listener = socket.create_server(("localhost", 0))

    def accept() -> None:
        while True:
            try:
                plain = listener.accept()[0]
            except OSError:
                return
            with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as secured:
                secured.recv(1)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_certificate_with_enough_time_left_is_a_success(
    call_task: CallTask, authority: Path, certificate: Callable[..., Path]
) -> None:
    with served(certificate(days=3)) as port:
        outcome = call_task("tls.expiry", host="localhost", port=port, at_least="2d", ca_file=str(authority / "ca.pem"))
    assert outcome.is_success, outcome.error
    assert outcome.result["days_left"] == 2
    assert outcome.result["expires"].endswith("+00:00")
    assert outcome.log.startswith(f"localhost:{port}: expires 2")


def test_one_that_expires_soon_is_a_failure(
    call_task: CallTask, authority: Path, certificate: Callable[..., Path]
) -> None:
    with served(certificate(days=3)) as port:
        outcome = call_task("tls.expiry", host="localhost", port=port, ca_file=str(authority / "ca.pem"))
    assert outcome.error.startswith(f"ExpiresSoonError: localhost:{port}: expires 2")
    assert outcome.error.endswith(" UTC, in 2 days; wanted 14 days")


def test_a_certificate_that_no_client_would_accept_is_a_failure_with_its_reason(
    call_task: CallTask, authority: Path, certificate: Callable[..., Path]
) -> None:
    trusted = {"ca_file": str(authority / "ca.pem"), "at_least": "0s"}
    with served(certificate(days=3)) as port:
        for given in ({"at_least": "0s"}, {"server_name": "other.example", **trusted}):
            outcome = call_task("tls.expiry", host="localhost", port=port, **given)
            assert outcome.error.startswith(f"NotTrustedError: localhost:{port}: the certificate is not accepted: ")
    with served(certificate(days=3, name="other.example")) as port:
        outcome = call_task("tls.expiry", host="localhost", port=port, server_name="other.example", **trusted)
        assert outcome.is_success, outcome.error


def test_an_expired_certificate_says_so(call_task: CallTask, authority: Path, certificate: Callable[..., Path]) -> None:
    with served(certificate(days=-1)) as port:
        outcome = call_task("tls.expiry", host="localhost", port=port, at_least="0s", ca_file=str(authority / "ca.pem"))
    assert outcome.error.endswith("the certificate is not accepted: certificate has expired")


def test_who_cannot_be_reached_is_one_clear_line(call_task: CallTask, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        outcome = call_task("tls.expiry", host="127.0.0.1", port=port, timeout="100ms")
        assert outcome.error == f"NotTrustedError: 127.0.0.1:{port}: no answer within 0.1 s"
    outcome = call_task("tls.expiry", host="127.0.0.1", port=port)
    assert outcome.error == f"NotTrustedError: 127.0.0.1:{port}: Connection refused"
    outcome = call_task("tls.expiry", host="127.0.0.1", port=port, ca_file="/no/such.pem")
    assert outcome.error == "NotTrustedError: ca_file '/no/such.pem' cannot be used: No such file or directory"
