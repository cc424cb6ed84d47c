"""A real repository with specs in it, and the passes over it, for tests of what a revision may do."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconciler.db.link import Link
from reconciler.gitrepo import Origin, origin_of
from reconciler.plan import Plan
from reconciler.scheduler import SchedulerService
from reconciler.settings import SourceSettings
from reconciler.spec import SpecSet
from reconciler.specfiles import SpecReader
from reconciler.sync.options import options_of
from reconciler.sync.reconcile import Pass, Request, preview, reconcile

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


def git(directory: Path, *arguments: str) -> str:
    """What the command says; fails where it does."""
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *arguments],
        cwd=directory,
        env=os.environ | IDENTITY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def spec_text(name: str, **fields: Any) -> str:
    lines = {"name": name, "task": "reports.build", "schedule": "0 2 * * *"} | fields
    return "".join(
        f"{key}: {str(value).lower() if isinstance(value, bool) else repr(value)}\n" for key, value in lines.items()
    )


@dataclass
class GitSource:
    """A working tree with `specs/`, whose commits are applied to the stores of the test."""

    root: Path
    link: Link
    scheduler: SchedulerService

    def __post_init__(self) -> None:
        (self.root / "specs").mkdir(parents=True, exist_ok=True)

    @property
    def origin(self) -> Origin:
        return origin_of(SourceSettings(), self.root)

    def init(self) -> GitSource:
        git(self.root, "init", "-q")
        return self

    def write(self, *names: str, **fields: Any) -> None:
        for name in names:
            path = self.root / "specs" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(spec_text(path.stem, **fields))

    def delete(self, *names: str) -> None:
        for name in names:
            (self.root / "specs" / f"{name}.yaml").unlink()

    def commit(self, subject: str) -> str:
        """Everything as it lies there; the commit."""
        git(self.root, "add", "-A")
        git(self.root, "commit", "-q", "--allow-empty", "-m", subject)
        return git(self.root, "rev-parse", "HEAD")

    def checkout(self, commit: str) -> None:
        git(self.root, "checkout", "-q", commit)

    def read(self) -> SpecSet:
        return SpecReader(self.root / "specs").read()

    def request(self, **options: Any) -> Request:
        name = options.pop("source", "default")
        settled = options_of(SourceSettings(name=name), **options)
        return Request(settled, "ci", self.origin.look(), self.origin)

    async def apply(self, link: Link | None = None, **options: Any) -> Pass:
        """One pass over what lies there now."""
        return await reconcile(self.read(), link or self.link, self.scheduler, self.request(**options))

    async def plan(self, **options: Any) -> Plan:
        return await preview(self.read(), self.link, self.request(**options))

    async def names(self) -> list[str]:
        return [name for (name,) in await self.link.run("select name from task_configs order by name")]

    def elsewhere(self, root: Path) -> GitSource:
        """Another place with specs, on the same stores."""
        return replace(self, root=root)
