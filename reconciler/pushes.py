"""What a git host's webhook announces: is it signed with our secret, which refs of which repository moved, who follows?

Bytes and headers in, values out. A body is only a hint to look: nothing that is applied comes from it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from reconciler.errors import ReconcilerError

# HMAC-SHA256 of the body, as hex: GitHub and others, Bitbucket, Gitea and Forgejo, Gogs.
SIGNATURES: Final = ("x-hub-signature-256", "x-hub-signature", "x-gitea-signature", "x-gogs-signature")
# The secret itself: GitLab.
TOKEN: Final = "x-gitlab-token"
REPOSITORIES: Final = ("repository", "project")
ADDRESSES: Final = (
    *("clone_url", "ssh_url", "git_url", "html_url", "url"),
    *("git_http_url", "git_ssh_url", "web_url", "homepage", "remoteUrl", "sshUrl"),
)
MOST_REFS: Final = 1_000
SCP: Final = re.compile(r"^(?:[^@/\s]+@)?([^:/\s]+):(?!//)(\S+)$")
COMMIT: Final = re.compile(r"^[0-9a-f]{40}$|^[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class Push:
    """Refs that moved, `refs/heads/main`, and where their repository is found, as `place_of` has it."""

    places: frozenset[str]
    refs: frozenset[str]


def is_signed(body: bytes, headers: Mapping[str, str], secret: str) -> bool:
    """Whether the sender knows the secret. `headers`: with names in small letters."""
    if TOKEN in headers:
        return hmac.compare_digest(headers[TOKEN].encode(), secret.encode())
    wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()
    given = [headers[name].removeprefix("sha256=").encode() for name in SIGNATURES if name in headers]
    return any(hmac.compare_digest(one, wanted) for one in given)


def push_of(body: bytes, content_type: str) -> Push:
    """What a body says; without refs where it tells of something else. ReconcilerError where it is no webhook's."""
    content = _content(body, content_type)
    resource = content.get("resource")
    around = resource if isinstance(resource, dict) else content  # Azure DevOps puts it one deeper
    found = [around[key] for key in REPOSITORIES if isinstance(around.get(key), dict)]
    places = frozenset(place for one in found for url in _urls(one) if (place := place_of(url)))
    refs = frozenset(_refs(content, around))
    if refs and not places:
        raise ReconcilerError("hooks: the body names no repository: have the git host send its push events as JSON")
    return Push(places, refs)


def place_of(url: str) -> str | None:
    """`host/path` of a repository's address, the same for https, ssh and `git@host:path`; None where it is none."""
    if found := SCP.match(url):
        host, path = found[1], found[2]
    else:
        try:
            parts = urlsplit(url)
            host, path = parts.hostname or "", parts.path
        except ValueError:
            return None
    path = path.strip("/").removesuffix(".git").strip("/")
    return f"{host.lower()}/{path}" if host and path else None


def concerns(push: Push, repo: str, ref: str) -> bool:
    """Whether a source that follows `ref` of `repo` may see something new."""
    if place_of(repo) not in push.places or COMMIT.match(ref):
        return False
    if ref.startswith("semver:"):
        return any(moved.startswith("refs/tags/") for moved in push.refs)
    return not push.refs.isdisjoint({ref, f"refs/heads/{ref}", f"refs/tags/{ref}"})


def _content(body: bytes, content_type: str) -> dict[str, Any]:
    try:
        text = body.decode()
        if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            text = (parse_qs(text, max_num_fields=10).get("payload") or [""])[0]
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ReconcilerError("hooks: the body is no JSON: have the git host send application/json") from None
    if not isinstance(content, dict):
        raise ReconcilerError("hooks: the body is no JSON object: have the git host send its push events")
    return content


def _urls(repository: Mapping[str, Any]) -> Iterator[str]:
    """Every address in what tells of a repository: at its top, and below `links` (Bitbucket)."""
    for value in [*(repository.get(key) for key in ADDRESSES), *_inside(repository.get("links"))]:
        if isinstance(value, str) and len(value) <= 2048:
            yield value


def _inside(links: object) -> Iterator[object]:
    for value in links.values() if isinstance(links, dict) else ():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield one.get("href")


def _refs(content: Mapping[str, Any], around: Mapping[str, Any]) -> Iterator[str]:
    """What moved: `ref` (GitHub, GitLab, Gitea, Gogs), changes (Bitbucket), updates (Azure DevOps)."""
    push = content.get("push")
    changes = _listed(push.get("changes") if isinstance(push, dict) else content.get("changes"))
    updates = _listed(around.get("refUpdates"))
    given: list[object] = [content.get("ref"), *(one.get("name") for one in updates)]
    for change in changes:
        given += [change.get("refId"), _named(change.get("new")), _named(change.get("old"))]
    for ref in given:
        if isinstance(ref, str) and 0 < len(ref) <= 1024:
            yield ref


def _listed(value: object) -> Iterable[Mapping[str, Any]]:
    return [one for one in value[:MOST_REFS] if isinstance(one, dict)] if isinstance(value, list) else []


def _named(value: object) -> str | None:
    """Bitbucket's `{type: branch, name: main}`."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    return f"refs/{'tags' if value.get('type') == 'tag' else 'heads'}/{value['name']}"
