"""How git is let into a remote: a token or a key, handed over in the environment and masked in what it says."""

from __future__ import annotations

import base64
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.settings import SourceSettings

SSH = (
    *("ssh", "-oBatchMode=yes", "-oConnectTimeout=15", "-oServerAliveInterval=15", "-oServerAliveCountMax=4"),
    # A connection that somebody else left open was let in by another key, and its host checked by other rules.
    *("-oControlMaster=no", "-oControlPath=none", "-oForwardAgent=no", "-oClearAllForwardings=yes"),
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What git finds in its environment, and what of that nobody may read."""

    environment: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


def credentials_of(source: SourceSettings, directory: Path) -> Credentials:
    """What lets git in, read afresh; ReconcilerError, without the secret, where it cannot be read."""
    if source.repo is None:
        return Credentials()
    if source.token is not None and source.repo.startswith("https://"):
        return _with_token(source, source.repo, _token(source, directory))
    return Credentials(_ssh(source, directory))


def placed(file: str, directory: Path) -> Path:
    """A file of the settings: relative to them, or to the home directory with a `~`."""
    return (directory / Path(file).expanduser()).absolute()


def _token(source: SourceSettings, directory: Path) -> str:
    token = source.token
    if token is None:
        return ""
    where = f"source '{source.name}': token"
    if hasattr(token, "get_secret_value"):
        text = token.get_secret_value()
    elif token.from_env is not None:
        text = os.environ.get(token.from_env, "")
        where = f"{where}: the environment variable {token.from_env}"
    else:
        path = placed(token.from_file or "", directory)
        where = f"{where}: {path}"
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ReconcilerError(f"{where}: {reason}: a file with the token in it has to be there") from error
    text = text.strip()
    if not text or not text.isprintable():
        raise ReconcilerError(f"{where}: holds no token: put one line there")
    return text


def _with_token(source: SourceSettings, repo: str, token: str) -> Credentials:
    basic = base64.b64encode(f"{source.username}:{token}".encode()).decode()
    header = f"http.{repo}.extraHeader"
    settings = [
        # The empty one takes away what the machine would send as well: forges refuse two.
        *((header, ""), (header, f"Authorization: Basic {basic}")),
        # A redirect must not take the token to another host, and a refused token must not lead to somebody else's.
        ("http.followRedirects", "false"),
        ("credential.helper", ""),
    ]
    return Credentials(_as_environment(settings), (basic, token))


def _as_environment(settings: list[tuple[str, str]]) -> dict[str, str]:
    """Settings of git that are neither arguments, which anybody may read, nor written to a file."""
    first = int(count) if (count := os.environ.get("GIT_CONFIG_COUNT", "")).isdecimal() else 0
    environment = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings, first):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment


def _ssh(source: SourceSettings, directory: Path) -> dict[str, str]:
    command = list(SSH)
    for what, file in (("ssh_key", source.ssh_key), ("known_hosts", source.known_hosts)):
        if file is not None and not placed(file, directory).is_file():
            raise ReconcilerError(f"source '{source.name}': {what}: {placed(file, directory)}: no such file")
    if source.ssh_key is not None:
        command += ["-oIdentitiesOnly=yes", "-oIdentityAgent=none", "-i", str(placed(source.ssh_key, directory))]
    if source.known_hosts is not None:
        # ssh takes the value apart at blanks itself, after the shell.
        hosts = f'-oUserKnownHostsFile="{placed(source.known_hosts, directory)}"'
        command += [hosts, "-oGlobalKnownHostsFile=/dev/null", "-oStrictHostKeyChecking=yes"]
    if len(command) == len(SSH):
        return {}  # then whatever the machine is set up with holds
    return {"GIT_SSH_COMMAND": shlex.join(command), "GIT_SSH_VARIANT": "ssh"}
