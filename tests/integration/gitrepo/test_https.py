"""A remote that asks for a token, over https as a forge speaks it: git's own backend behind a server of ours."""

from __future__ import annotations

import base64
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from reconciler.errors import ReconcilerError

Forge = Any
GOOD = "Basic " + base64.b64encode(b"git:s3cret-token").decode()


class Backend(BaseHTTPRequestHandler):
    """`/private/…` needs the token, `/moved/…` redirects to it."""

    root = ""
    seen: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.seen.append((self.path, ", ".join(self.headers.get_all("Authorization") or [])))
        if self.path.startswith("/moved/"):
            self.send_response(301)
            self.send_header("Location", self.path.replace("/moved/", "/private/", 1))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.headers.get("Authorization") != GOOD:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="forge"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._answer()

    do_POST = do_GET  # noqa: N815

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self._body()
        environment = os.environ | {
            "GIT_PROJECT_ROOT": self.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": parts.path.removeprefix("/private"),
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "GIT_CONFIG_COUNT": "0",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(headers.pop("Status", "200").split(" ")[0]))
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    backend = Path(forge.git("--exec-path"))
    if shutil.which("openssl") is None or not all(
        (backend / name).exists() for name in ("git-http-backend", "git-remote-https")
    ):
        pytest.skip("openssl or git's parts for https are not here")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    arguments = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", "req", "-x509", *arguments, *names], check=True, capture_output=True)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    handler = type("Handler", (Backend,), {"root": str(forge.place), "seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        served.socket = context.wrap_socket(served.socket, server_side=True)
        served.handler = handler  # type: ignore[attr-defined]
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def origin(forge: Forge, server: Any, folder: str = "private", **settings: Any) -> Any:
    url = f"https://localhost:{server.server_address[1]}/{folder}/remote.git"
    return forge.origin(repo=url, allow_file=False, **settings)


def test_a_token_lets_in_and_one_file_is_fetched(forge: Forge, server: Any, tmp_path: Path) -> None:
    commit = forge.commit({"specs/a.yaml": "task: a\n", "large": "x" * 1000})
    (tmp_path / "here" / "token").write_text("s3cret-token\n")
    source = origin(forge, server, token={"from_file": "token"})
    found = source.look()
    assert found.commit == commit
    with source.opened(found) as place:
        assert (place / "a.yaml").read_text() == "task: a\n"
    kept = b"".join(path.read_bytes() for path in (tmp_path / "here" / ".reconciler").rglob("*") if path.is_file())
    assert b"s3cret" not in kept
    assert GOOD.split(" ")[1].encode() not in kept


@pytest.mark.parametrize("settings", [{}, {"token": "wrong-token"}, {"token": "s3cret-token", "username": "eve"}])
def test_without_the_right_token_it_is_said_what_is_missing(
    forge: Forge, server: Any, settings: dict[str, str]
) -> None:
    forge.commit({"specs/a.yaml": "task: a\n"})
    with pytest.raises(ReconcilerError, match=r"cannot be fetched: .*: give it a token that may read there") as caught:
        origin(forge, server, **settings).look()
    assert "\n" not in str(caught.value)
    assert "-token" not in str(caught.value)


def test_a_token_does_not_follow_a_redirect(forge: Forge, server: Any) -> None:
    forge.commit({"specs/a.yaml": "task: a\n"})
    with pytest.raises(ReconcilerError, match="set repo to the address that it has now"):
        origin(forge, server, "moved", token="s3cret-token").look()
    assert [path for path, _ in server.handler.seen if path.startswith("/private/")] == []


def test_the_machine_s_own_token_is_not_sent_as_well(
    forge: Forge, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = forge.commit({"specs/a.yaml": "task: a\n"})
    address = f"https://localhost:{server.server_address[1]}"
    settings = tmp_path / "gitconfig"
    settings.write_text(
        '[http]\nextraHeader = "Authorization: Basic one"\n'
        f'[http "{address}/"]\nextraHeader = "Authorization: Basic other"\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    assert origin(forge, server, token="s3cret-token").look().commit == commit
    assert {given for _, given in server.handler.seen} == {GOOD}
