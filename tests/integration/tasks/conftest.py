"""Calling a task of the library as a runner's child does: parameters checked, secrets resolved and masked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.execute import Call, Outcome, execute
from reconciler.execute.output import captured
from reconciler.registry import TASKS, auto_discover_tasks, check_params

DUE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CallTask = Callable[..., Outcome]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The task library alone, registered as a child process has it."""
    before, path, modules = dict(TASKS), list(sys.path), dict(sys.modules)
    TASKS.clear()
    for name in [name for name in sys.modules if name.startswith("reconciler.tasks")]:
        del sys.modules[name]
    assert auto_discover_tasks([], tmp_path_factory.mktemp("empty")) == []
    yield
    TASKS.clear()
    TASKS.update(before)
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("reconciler.tasks")]:
        del sys.modules[name]
    sys.modules.update({name: module for name, module in modules.items() if name.startswith("reconciler.tasks")})


@pytest.fixture
def call_task(library: None) -> CallTask:
    """`call_task("shell.run", command="ls")`; `due` is the occurrence's instant, `timeout` is in seconds."""

    def call(name: str, *, due: datetime = DUE, limit: float | None = None, **params: Any) -> Outcome:
        faults = check_params(TASKS[name], params)
        assert faults == [], [str(fault) for fault in faults]
        with captured():
            return execute(TASKS[name], Call("id", "spec", name, params, due, 1, "schedule", "key", None, limit))

    return call


@pytest.fixture
def faults_of(library: None) -> Callable[..., list[str]]:
    """What `validate` says of a spec that gives a task these parameters."""
    return lambda name, **params: [str(fault) for fault in check_params(TASKS[name], params)]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a certificate authority of our own, made by the openssl command."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on the PATH")
    directory = tmp_path_factory.mktemp("authority")
    _openssl(directory, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ours")
    return directory


@pytest.fixture(scope="session")
def certificate(authority: Path) -> Callable[..., Path]:
    """`certificate(days=3)`: a PEM file with the key and the certificate of `localhost`, valid for that many days."""

    def make(days: int, name: str = "localhost") -> Path:
        stem = f"{name}-{days}"
        (authority / f"{stem}.ext").write_text(f"subjectAltName=DNS:{name}\n")
        _openssl(authority, f"req -newkey rsa:2048 -nodes -keyout {stem}.key -out {stem}.csr -subj /CN={name}")
        _openssl(
            authority,
            f"x509 -req -in {stem}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {stem}.crt -days {days}"
            f" -extfile {stem}.ext",
        )
        pem = authority / f"{stem}.pem"
        pem.write_text((authority / f"{stem}.key").read_text() + (authority / f"{stem}.crt").read_text())
        return pem

    return make


def _openssl(directory: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=directory, check=True, capture_output=True)
