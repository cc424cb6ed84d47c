"""Which object of a remote a `ref` means: a branch, a tag, a commit, or the newest tag within a range of versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.gitrepo import semver
from reconciler.nearest import did_you_mean, nearest

BRANCH = "refs/heads/"
TAG = "refs/tags/"
PEELED = "^{}"


class NoSuchRef(Exception):
    """The remote was asked and has nothing by that name; the text is `what: what to do`."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to fetch, `name` being a full ref or a commit; `made` is the object it names at the remote."""

    name: str
    made: str

    @property
    def tag(self) -> str | None:
        return self.name.removeprefix(TAG) if self.name.startswith(TAG) else None


def fault_of(ref: str) -> str:
    """Why no remote could have that ref; "" if one could."""
    if ref.startswith(semver.PREFIX):
        return ""
    is_odd = re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock$|^[-./]|[./]$", ref)
    return f"'{ref}' is no name of a branch, a tag or a commit" if is_odd or not ref.isprintable() else ""


def is_commit(ref: str) -> bool:
    """Whether it is written as a whole commit: nothing else is meant by it."""
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", ref) is not None


def may_be_commit(ref: str) -> bool:
    """Whether it may be the beginning of one."""
    return re.fullmatch(r"[0-9a-f]{7,64}", ref) is not None


def patterns(ref: str) -> tuple[str, ...]:
    """What to ask a remote for, so that the answer is short."""
    if ref.startswith(semver.PREFIX):
        return (f"{TAG}*",)
    return (ref,) if _is_full(ref) else (f"{BRANCH}{ref}", f"{TAG}{ref}")


def listed(text: str) -> dict[str, str]:
    """`git ls-remote` as name and object, a tag's commit not among them."""
    rows = (line.split("\t", 1) for line in text.split("\n") if "\t" in line)
    return {name: made for made, name in rows if not name.endswith(PEELED)}


def target(ref: str, there: Mapping[str, str]) -> Target | None:
    """What `ref` means among the refs that are there, None if it is none of them; NoSuchRef if none can be chosen."""
    if ref.startswith(semver.PREFIX):
        return _newest(ref, there)
    if _is_full(ref):
        return Target(ref, there[ref]) if ref in there else None
    found = [Target(name, there[name]) for name in (f"{BRANCH}{ref}", f"{TAG}{ref}") if name in there]
    if len(found) > 1:
        raise NoSuchRef(f"'{ref}' is a branch and a tag: write ref = '{BRANCH}{ref}' or '{TAG}{ref}'")
    return found[0] if found else None


def _is_full(ref: str) -> bool:
    return ref == "HEAD" or ref.startswith("refs/")


def _newest(ref: str, there: Mapping[str, str]) -> Target:
    wanted = ref.removeprefix(semver.PREFIX)
    tags = [name.removeprefix(TAG) for name in there if name.startswith(TAG)]
    try:
        tag = semver.newest(tags, wanted)
    except ValueError as error:
        raise NoSuchRef(f"ref: {error}") from error
    if tag is None:
        raise NoSuchRef(f"none of its {len(tags)} tags is within '{wanted}': tag a release, or widen the range")
    return Target(TAG + tag, there[TAG + tag])


def unknown(ref: str, there: Mapping[str, str]) -> NoSuchRef:
    """What to say of a ref that is not there."""
    names = [name.removeprefix(BRANCH).removeprefix(TAG) for name in there if name.startswith((BRANCH, TAG))]
    if not names:
        return NoSuchRef(f"there is no '{ref}', nor any branch: push one")
    what = f"there is no branch, tag or commit '{ref}'"
    if ref in names:
        return NoSuchRef(f"{what} a moment ago, and there is now: the next pass finds it")
    if len(names) == 1 and not nearest(ref, names):
        return NoSuchRef(f"{what}, only '{names[0]}'")
    return NoSuchRef(f"{what}: {did_you_mean(ref, names)}")
