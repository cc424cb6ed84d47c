"""What a new repository begins with: the text of each file, and nothing about where it is written.

The workflows are those of `docs/ci/`, which a wheel carries as `reconciler/ci/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import reconciler
from reconciler.errors import ReconcilerError

WORKFLOWS: Final = {
    "github": ("github.yml", ".github/workflows/reconciler.yml"),
    "gitlab": ("gitlab.yml", ".gitlab-ci.yml"),
}

SETTINGS: Final = """\
# The settings of this repository. The environment wins over this file: RECONCILER_DATABASE_URL and so on.
# `reconciler doctor` shows every setting, and where each comes from.

# Without these two, a real PostgreSQL and a real Redis are started under .reconciler/ (`reconciler[embedded]`).
# A password does not belong here: set RECONCILER_DATABASE_URL where the service runs.
# database_url = "postgresql://reconciler@db.example.com/reconciler"
# redis_url = "redis://redis.example.com:6379/0"

# Where functions with @task are.
task_modules = ["tasks"]

# Where specs are. `serve` reads this directory, or with `repo` a repository that it fetches by itself.
[[sources]]
name = "default"
path = "specs"
# repo = "https://git.example.com/team/jobs.git"
# ref = "main"
# token = {from_env = "GIT_TOKEN"}
# interval = "30s"
# max_prune = "10%"      # how many tasks one commit may delete; more are refused until somebody says so
# on_fault = "refuse"    # or "hold_file": a faulty file holds back its own tasks only
"""

TASKS: Final = '"""The functions that specs name: each with @task, sync or async."""\n'

EXAMPLE: Final = '''\
"""A task to copy from. Its name is the module's and the function's: example.heartbeat."""

from reconciler import TaskContext, task


@task
def heartbeat(ctx: TaskContext, message: str = "alive") -> dict[str, str]:
    """What a spec's `params` may say is this signature; a wrong one is a fault before anything is applied."""
    ctx.logger.info("%s, for %s", message, ctx.scheduled_for)
    return {"message": message}
'''

SPEC: Final = """\
# yaml-language-server: $schema=../.reconciler/task.schema.json
# The name of a task is its file's. An editor that knows YAML schemas completes the fields, and says what is wrong.
task: example.heartbeat
schedule: "* * * * *"
params: {message: hello}
description: Something to see; delete this file once you have seen it.
"""

IGNORED: Final = "# Embedded stores, caches, the editor's schema.\n.reconciler/\n__pycache__/\n"

PRE_COMMIT: Final = """\
repos:
  - repo: local
    hooks:
      - id: reconciler-validate
        name: reconciler validate
        entry: reconciler validate
        language: system
        pass_filenames: false
        files: ^(specs|tasks)/|^reconciler\\.toml$
"""


def workflow(kind: str) -> tuple[str, str]:
    """Where the workflow for `github` or `gitlab` belongs in a repository, and its text."""
    name, place = WORKFLOWS[kind]
    package = Path(reconciler.__file__).parent
    for directory in (package / "ci", package.parent / "docs" / "ci"):
        if (directory / name).is_file():
            return place, (directory / name).read_text(encoding="utf-8")
    raise ReconcilerError(f"init: no workflows in {package}: install reconciler again, or use --ci none")
