"""A bare repository on disk as a remote, and somebody who commits and pushes to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.gitrepo import Origin, origin_of
from reconciler.settings import SourceSettings

PERSON = {"NAME": "Ada Lovelace", "EMAIL": "ada@example.org"}
IDENTITY = {f"GIT_{role}_{key}": text for role in ("AUTHOR", "COMMITTER") for key, text in PERSON.items()}


class Forge:
    """`bare` is what a source follows; `work` is a clone of it in which somebody works."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.bare = place / "remote.git"
        self.work = place / "work"
        self.here = place / "here"
        self.here.mkdir()
        self.git("init", "--quiet", "--bare", "-b", "main", str(self.bare), at=place)
        # As the large forges have it.
        for key in ("allowFilter", "allowAnySHA1InWant"):
            self.git("config", f"uploadpack.{key}", "true", at=self.bare)
        self.git("init", "--quiet", "-b", "main", str(self.work), at=place)
        self.git("remote", "add", "origin", self.url)

    @property
    def url(self) -> str:
        return f"file://{self.bare}"

    def git(self, *arguments: str, at: Path | None = None) -> str:
        environment = os.environ | IDENTITY | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
        command = ["git", "-c", "core.fsync=none", "-c", "gc.auto=0", *arguments]
        done = subprocess.run(
            command, cwd=at or self.work, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(
        self, files: Mapping[str, str | None], message: str = "a change", *options: str, push: bool = True
    ) -> str:
        """Write these files (None: remove it), commit and push; the commit."""
        for path, text in files.items():
            place = self.work / path
            if text is None:
                place.unlink()
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
        self.git("add", "--all", "--force", ".")
        self.git("commit", "--quiet", "--allow-empty", "-m", message, *options)
        if push:
            self.push("HEAD")
        return self.git("rev-parse", "HEAD")

    def push(self, *refs: str) -> None:
        self.git("push", "--quiet", "--force", "origin", *refs)

    def source(self, **settings: Any) -> SourceSettings:
        return SourceSettings(**{"repo": self.url, "allow_file": True, **settings})

    def origin(self, **settings: Any) -> Origin:
        return origin_of(self.source(**settings), self.here)

    def checkout(self, **settings: Any) -> Origin:
        """The working tree as a source of its own."""
        return origin_of(SourceSettings(allow_file=True, **settings), self.work)

    def kept(self) -> Path:
        """Where the only origin keeps what it fetched."""
        return next((self.here / ".reconciler" / "sources").iterdir())


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    if shutil.which("git") is None:
        pytest.skip("there is no git command here")
    return Forge(tmp_path)


def _held(place: Path) -> dict[str, str]:
    found = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text(errors="surrogateescape")
    return found


@pytest.fixture
def held() -> Callable[[Path], dict[str, str]]:
    """Every file below a directory, by path, with its text, or where it links to."""
    return _held
