"""What git hosts send: told apart by signature, repository and ref. Bodies are cut down to what is read of them."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from reconciler.errors import ReconcilerError
from reconciler.pushes import concerns, is_signed, place_of, push_of

HASH = "0123456789012345678901234567890123456789"
PLACE = "git.example.org/ops/jobs"
GITHUB: dict[str, Any] = {
    "ref": "refs/heads/main",
    "after": HASH,
    "repository": {
        "id": 7,
        "full_name": "ops/jobs",
        "html_url": "https://git.example.org/ops/jobs",
        "clone_url": "https://git.example.org/ops/jobs.git",
        "ssh_url": "git@git.example.org:ops/jobs.git",
        "keys_url": "https://git.example.org/api/repos/ops/jobs/keys{/key_id}",
    },
}
GITLAB = {"ref": "refs/heads/main", "project": {"git_http_url": "http://git.example.org/ops/jobs.git"}}
GOGS = {"ref": "refs/heads/main", "repository": {"ssh_url": "ssh://gogs@git.example.org:2222/ops/jobs.git"}}
BITBUCKET = {
    "push": {"changes": [{"new": {"type": "branch", "name": "main"}, "old": None}]},
    "repository": {"links": {"html": {"href": "https://git.example.org/ops/jobs"}}},
}
BITBUCKET_SERVER = {
    "changes": [{"ref": {"id": "refs/heads/main"}, "refId": "refs/heads/main"}],
    "repository": {"links": {"clone": [{"href": "ssh://git@git.example.org:7999/ops/jobs.git", "name": "ssh"}]}},
}
AZURE = {
    "resource": {
        "refUpdates": [{"name": "refs/heads/main"}],
        "repository": {"remoteUrl": "https://ana@git.example.org/ops/jobs"},
    }
}


def sent(content: object) -> bytes:
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "content",
    [GITHUB, GITLAB, GOGS, BITBUCKET, BITBUCKET_SERVER, AZURE],
    ids=["github", "gitlab", "gogs", "bitbucket", "bitbucket-server", "azure"],
)
def test_a_push_of_every_host_names_its_repository_and_ref(content: object) -> None:
    push = push_of(sent(content), "application/json; charset=utf-8")
    assert PLACE in push.places
    assert push.refs == {"refs/heads/main"}
    assert concerns(push, "https://git.example.org/ops/jobs.git", "main")


def test_a_form_holds_the_same() -> None:
    body = urlencode({"payload": json.dumps(GITHUB)}).encode()
    assert push_of(body, "application/x-www-form-urlencoded") == push_of(sent(GITHUB), "application/json")


@pytest.mark.parametrize("more", [{}, {"repository": GITHUB["repository"]}])
def test_what_is_no_push_has_no_ref(more: dict[str, Any]) -> None:
    ping = {"zen": "Keep it logically awesome."} | more
    assert push_of(sent(ping), "application/json").refs == frozenset()


@pytest.mark.parametrize(
    ("repo", "ref", "moved", "is_meant"),
    [
        ("git@git.example.org:ops/jobs.git", "main", "refs/heads/main", True),
        ("ssh://git@GIT.example.org:22/ops/jobs", "main", "refs/heads/main", True),
        ("https://git.example.org/ops/jobs.git", "main", "refs/heads/other", False),
        ("https://git.example.org/ops/jobs.git", "v1.2", "refs/tags/v1.2", True),
        ("https://git.example.org/ops/jobs.git", "refs/heads/main", "refs/heads/main", True),
        ("https://git.example.org/ops/jobs.git", "semver:>=1,<2", "refs/tags/anything", True),
        ("https://git.example.org/ops/jobs.git", "semver:>=1,<2", "refs/heads/main", False),
        ("https://git.example.org/ops/jobs.git", HASH, f"refs/heads/{HASH}", False),
        ("https://git.example.org/ops/jobs-old.git", "main", "refs/heads/main", False),
        ("https://elsewhere.example.org/ops/jobs.git", "main", "refs/heads/main", False),
        ("/srv/git/jobs", "main", "refs/heads/main", False),
    ],
)
def test_a_source_is_meant_by_its_repository_and_its_ref(repo: str, ref: str, moved: str, is_meant: bool) -> None:
    push = push_of(sent(GITHUB | {"ref": moved}), "application/json")
    assert concerns(push, repo, ref) is is_meant


@pytest.mark.parametrize(
    "url", ["", "no address", "https://", "https://host/", "https://[::1/x", "mailto:", "git@host:"]
)
def test_what_is_no_address_is_no_place(url: str) -> None:
    assert place_of(url) is None


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", "hooks: the body is no JSON: "),
        (b"\xff", "hooks: the body is no JSON: "),
        (b"[" * 100_000, "hooks: the body is no JSON: "),
        (b"[]", "hooks: the body is no JSON object: "),
        (b'{"ref": "main"}', "hooks: the body names no repository: "),
        (b'{"repository": 3, "ref": "main"}', "hooks: the body names no repository: "),
    ],
)
def test_any_other_body_is_one_line(body: bytes, line: str) -> None:
    with pytest.raises(ReconcilerError, match=f"^{line}") as raised:
        push_of(body, "application/json")
    assert str(raised.value).isprintable()


def test_only_who_knows_the_secret_has_signed() -> None:
    body = sent(GITHUB)
    hashed = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    for headers in (
        {"x-hub-signature-256": f"sha256={hashed}"},
        {"x-hub-signature": f"sha256={hashed}"},
        {"x-gitea-signature": hashed},
        {"x-gitlab-token": "s3cret"},
    ):
        assert is_signed(body, headers, "s3cret")
        assert not is_signed(body, headers, "other")
        assert not is_signed(body, dict.fromkeys(headers, "é"), "s3cret")
    assert not is_signed(body + b" ", {"x-hub-signature-256": f"sha256={hashed}"}, "s3cret")
    assert not is_signed(body, {}, "s3cret")
