"""How long 1,000 objects from YAML take: Reconciler's `plan` and `apply`, and Terraform's.

Terraform has the same files, read with `fileset` and `yamldecode`, as `terraform_data`, which is built in. It keeps
them in a local state file; what it makes runs nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from measuring import report, stores, write_project

from reconciler import __version__

CASE = "peers: sync"
WITHIN = 240.0
SPEC = """task: own.nothing
schedule: "{minute} 2 * * 1-5"
timezone: Europe/Berlin
timeout: 10m
retries: {{attempts: 3, backoff: 30s}}
labels: {{team: team-{team:02}}}
"""
TERRAFORM = """locals {
  objects = {
    for name in fileset("${path.module}/specs", "**/*.yaml") :
    name => yamldecode(file("${path.module}/specs/${name}"))
  }
}

resource "terraform_data" "object" {
  for_each = local.objects
  input    = each.value
}
"""
STEPS = (("plan, all new", "plan"), ("apply, all new", "apply"), ("plan, nothing changed", "plan"))


def objects(count: int) -> None:
    with stores() as own:
        project = write_project(own.directory, lambda number: SPEC.format(minute=number % 60, team=number % 50), count)
        words = [sys.executable, "-m", "reconciler"]
        _measure(
            "reconciler", __version__, count, project, own.environment, {name: [*words, name] for _, name in STEPS}
        )
        _terraform(count, project)


def _terraform(count: int, project: Path) -> None:
    program = shutil.which("terraform")
    if program is None:
        report(f"{CASE}, plan, all new", count, peer="terraform", failed="terraform is not installed here")
        return
    (project / "main.tf").write_text(TERRAFORM)
    # It would ask the internet whether there is a newer one.
    told = os.environ | {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    subprocess.run([program, "init", "-input=false"], cwd=project, env=told, check=True, capture_output=True)
    said = subprocess.run([program, "version", "-json"], env=told, check=True, capture_output=True, text=True)
    words = [program, "plan", "-input=false", "-no-color"], [program, "apply", "-input=false", "-auto-approve"]
    release = json.loads(said.stdout)["terraform_version"]
    _measure("terraform", release, count, project, told, {"plan": words[0], "apply": words[1]})


def _measure(
    peer: str,
    release: str,
    count: int,
    project: Path,
    environment: Mapping[str, str],
    commands: Mapping[str, list[str]],
) -> None:
    """One line a step; none after one that fails."""
    for case, verb in STEPS:
        seconds, held, failed = _timed(commands[verb], project, environment)
        report(
            f"{CASE}, {case}", count, peer=peer, version=release, seconds=seconds, rss_mb=held, failed=failed or None
        )
        if failed:
            return


def _timed(words: list[str], directory: Path, environment: Mapping[str, str]) -> tuple[float, float, str]:
    """Seconds, MiB at most of the process itself, and what went wrong."""
    with (directory / "said.log").open("wb") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            words,
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        too_late = threading.Timer(WITHIN, process.kill)
        too_late.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            too_late.cancel()
            if process.returncode is None:
                process.kill()
    seconds = time.monotonic() - started
    lines = (directory / "said.log").read_text(errors="replace").split("\n")
    failed = "" if process.returncode == 0 else f"exit {process.returncode}: {' '.join(lines)[-200:]}"
    if seconds >= WITHIN:
        failed = f"not done within {WITHIN:.0f} s"
    return seconds, used.ru_maxrss / 1024, failed
