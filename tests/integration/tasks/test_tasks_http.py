"""`http.request`: what is asked, what counts as an answer, and what is never said aloud."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CallTask = Callable[..., Any]


class Handler(BaseHTTPRequestHandler):
    """Answers by path, and remembers what it was asked."""

    server: Server

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.server.asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        path = self.path.partition("?")[0]
        if path == "/elsewhere":
            self.moved(self.server.elsewhere)
        elif path == "/moved":
            self.moved("/ok")
        elif path == "/loop":
            self.moved("/loop")
        elif path == "/ftp":
            self.moved("ftp://127.0.0.1/file")
        elif path == "/drip":
            self.drip()
        elif path == "/garbage":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
        else:
            self.plain(int(path[1:]) if path[1:].isdigit() else 200)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server calls them so

    def plain(self, status: int) -> None:
        text = b"" if status == 204 else b"all is well"
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def moved(self, where: str) -> None:
        self.send_response(302)
        self.send_header("Location", where)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def drip(self) -> None:
        """A byte now and then: no single wait is long, and all of it has no end."""
        self.send_response(200)
        self.end_headers()
        while not self.server.is_over.wait(0.02):
            try:
                self.wfile.write(b".")
            except OSError:
                return

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.elsewhere = ""
        self.is_over = threading.Event()
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that breaks off is what some of these tests are about."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        self.is_over.set()
        self.shutdown()
        self.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def test_an_answer_as_expected_is_a_success(call_task: CallTask, server: Server) -> None:
    outcome = call_task("http.request", url=f"http://{server.address}/ok?key=k1", expect_text="is well")
    assert outcome.is_success, outcome.error
    assert (outcome.result["status"], outcome.result["bytes"]) == (200, 11)
    assert outcome.log.startswith(f"GET http://{server.address}/ok: 200, 11 bytes in ")
    assert server.asked[0][1] == "/ok?key=k1"


@pytest.mark.parametrize(
    ("path", "given", "error"),
    [
        ("503", {}, "answered 503, expected 200"),
        ("503", {"expect_status": 503}, None),
        ("204", {"expect_status": [200, 204]}, None),
        ("404", {"expect_status": [200, 204]}, "answered 404, expected 200 or 204"),
        ("ok", {"expect_text": "is not well"}, "the answer does not contain 'is not well'"),
        ("ok", {"expect_within": "1h"}, None),
        ("moved", {"expect_text": "all is well"}, None),
        ("ok", {"method": "HEAD"}, None),
    ],
)
def test_status_text_and_time_are_judged(
    call_task: CallTask, server: Server, path: str, given: dict[str, Any], error: str | None
) -> None:
    outcome = call_task("http.request", url=f"http://{server.address}/{path}", **given)
    assert outcome.error == (error and f"UnexpectedAnswerError: {error}")


def test_what_an_unexpected_answer_says_is_in_the_log(call_task: CallTask, server: Server) -> None:
    assert call_task("http.request", url=f"http://{server.address}/500").log.endswith("\nall is well\n")


def test_an_answer_that_took_too_long_is_a_failure(call_task: CallTask, server: Server) -> None:
    outcome = call_task("http.request", url=f"http://{server.address}/ok", expect_within="0s")
    assert outcome.error.startswith("UnexpectedAnswerError: took ")


def test_data_is_sent_as_json_and_a_body_as_it_is(call_task: CallTask, server: Server) -> None:
    url = f"http://{server.address}/ok"
    call_task("http.request", url=url, method="POST", data={"n": [1, "ü"]})
    call_task("http.request", url=url, method="PUT", body="ü", headers={"Content-Type": "text/x"})
    (post, _, first, json_body), (put, _, second, plain_body) = server.asked
    assert (post, first["Content-Type"], json.loads(json_body)) == ("POST", "application/json", {"n": [1, "ü"]})
    assert (put, second["Content-Type"], plain_body.decode()) == ("PUT", "text/x", "ü")


def test_a_name_and_password_in_the_url_become_a_header_and_are_never_shown(
    call_task: CallTask, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", f"http://ada:pa%20ss@{server.address}/418?token=hush")
    outcome = call_task("http.request", url={"from_env": "HOOK"})
    assert server.asked[0][2]["Authorization"] == "Basic YWRhOnBhIHNz"
    assert outcome.error == "UnexpectedAnswerError: answered 418, expected 200"
    shown = f"{outcome.log}{outcome.error}{outcome.traceback}"
    assert not [secret for secret in ("pa ss", "pa%20ss", "YWRh", "hush") if secret in shown]


def test_headers_do_not_follow_a_redirect_to_another_host(call_task: CallTask, server: Server) -> None:
    other = Server()
    try:
        server.elsewhere = f"http://{other.address}/ok"
        given = {"Authorization": "Bearer abcdef", "X-Key": "k"}
        for path in ("elsewhere", "moved"):
            assert call_task("http.request", url=f"http://{server.address}/{path}", headers=given).is_success
        assert {"Authorization", "X-Key"} & other.asked[0][2].keys() == set()
        assert server.asked[-1][2]["Authorization"] == "Bearer abcdef"
    finally:
        other.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_who_does_not_answer_is_one_clear_line(call_task: CallTask, server: Server) -> None:
    closed = f"http://127.0.0.1:{free_port()}/"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        cases = {
            closed: f"GET {closed}: Connection refused",
            mute: f"GET {mute}: no whole answer within 0.1 s",
            f"http://{server.address}/drip": f"GET http://{server.address}/drip: no whole answer within 0.1 s",
            f"http://{server.address}/garbage": f"GET http://{server.address}/garbage: BadStatusLine: ",
        }
        for url, error in cases.items():
            outcome = call_task("http.request", url=url, timeout="100ms")
            assert not outcome.is_success
            assert outcome.error.startswith(f"NoAnswerError: {error}"), outcome.error


@pytest.mark.parametrize(("path", "status"), [("ftp", 302), ("loop", 302)])
def test_a_redirect_to_nowhere_is_an_answer_that_was_not_expected(
    call_task: CallTask, server: Server, path: str, status: int
) -> None:
    outcome = call_task("http.request", url=f"http://{server.address}/{path}")
    assert outcome.error == f"UnexpectedAnswerError: answered {status}, expected 200"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "localhost:80", "http://", "/etc/passwd", ""])
def test_only_http_is_spoken(call_task: CallTask, url: str) -> None:
    outcome = call_task("http.request", url=url)
    assert outcome.error == "ValueError: url: it begins with http:// or https:// and a host"


def test_body_and_data_exclude_each_other(call_task: CallTask, server: Server) -> None:
    outcome = call_task("http.request", url=f"http://{server.address}/ok", body="x", data={})
    assert outcome.error == "ValueError: body and data are both given; use one"
    assert server.asked == []


def test_a_certificate_is_verified(call_task: CallTask, authority: Path, certificate: Callable[..., Path]) -> None:
    server = Server(certificate(days=3))
    try:
        url = f"https://localhost:{server.server_address[1]}/ok"
        good = call_task("http.request", url=url, ca_file=str(authority / "ca.pem"))
        assert good.is_success, good.error
        unknown = call_task("http.request", url=url)
        assert unknown.error.startswith(f"NoAnswerError: GET {url}: the certificate is not accepted: ")
        other_name = call_task(
            "http.request", url=url.replace("localhost", "127.0.0.1"), ca_file=str(authority / "ca.pem")
        )
        assert "the certificate is not accepted: " in other_name.error
        absent = call_task("http.request", url=url, ca_file="/no/such.pem")
        assert absent.error == "NoAnswerError: ca_file '/no/such.pem' cannot be used: No such file or directory"
    finally:
        server.close()
