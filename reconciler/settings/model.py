"""Every setting there is, its default, and what it may hold. It does not know where a value comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from reconciler.durations import Duration
from reconciler.urls import as_database_url, as_redis_url, redacted


def _url(checked: Callable[[str], str]) -> Any:
    return AfterValidator(lambda secret: SecretStr(checked(secret.get_secret_value())))


def _max_prune(value: object) -> object:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,9}|\d{1,2}%|100%", text):
        raise ValueError(f"{value!r} is not a number of configs or a share of them; examples: '3', '10%'")
    return text


DatabaseUrl = Annotated[SecretStr, _url(as_database_url)]
RedisUrl = Annotated[SecretStr, _url(as_redis_url)]
Word = Annotated[str, StringConstraints(pattern=r"^\S+$")]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reference(_Part):
    """A value that is not written here: the environment variable or the file that holds it. One of the two."""

    from_env: str | None = None
    from_file: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Reference:
        if (self.from_env is None) == (self.from_file is None):
            raise ValueError("needs either from_env or from_file")
        return self


def _or_reference(what: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        is_reference = isinstance(value, dict) and len(value) == 1 and next(iter(value)) in Reference.model_fields
        if isinstance(value, SecretStr | Reference) or (isinstance(value, str) and value.strip()):
            return value
        if is_reference and isinstance(value, dict) and all(isinstance(name, str) and name for name in value.values()):
            return Reference(**value)
        # Whatever it is, it may hold a secret, so it is not shown.
        raise ValueError(f"is no {what}, and neither {{from_env = 'NAME'}} nor {{from_file = 'PATH'}}")

    return check


Target = Annotated[SecretStr | Reference, BeforeValidator(_or_reference("URL"))]
Secret = Annotated[SecretStr | Reference, BeforeValidator(_or_reference("text"))]


def _is_local(url: str) -> bool:
    return url.startswith("file://") or not ("://" in url or re.match(r"^[\w.-]+@[\w.-]+:", url))


def _git_url(url: str) -> str:
    scheme = url.partition("://")[0] if "://" in url else ""
    if url.startswith("-") or not url.isprintable() or " " in url or "::" in url:
        raise ValueError(f"{url!r} is no address of a repository")
    if scheme and scheme not in ("https", "ssh", "file"):
        raise ValueError(f"{scheme}:// is not allowed: use https, ssh, or file with allow_file")
    if scheme == "https" and "@" in url.partition("://")[2].partition("/")[0]:
        raise ValueError("an https address holds no user and no password here: use token = {from_env = 'NAME'}")
    return url


GitUrl = Annotated[str, StringConstraints(min_length=1, max_length=2048), AfterValidator(_git_url)]


class SourceSettings(_Part):
    """One place that specs come from: `[[sources]]`.

    Without `repo`, `path` is a directory relative to `Settings.directory`; with it, one inside that repository.
    """

    name: Word = "default"
    path: str = Field(default="specs", min_length=1)
    repo: GitUrl | None = None
    """https, ssh, or with `allow_file` a path or file:// URL."""
    ref: str = Field(default="main", min_length=1, max_length=256)
    """A branch, a tag, a commit, or 'semver:>=1.2,<2' for the newest tag in that range."""
    token: Secret | None = None
    """For https: {from_env = 'NAME'} or {from_file = 'PATH'}, sent as the password of `username`."""
    username: str = "git"
    ssh_key: str | None = None
    known_hosts: str | None = None
    allow_file: bool = False
    interval: Duration = Field(default=timedelta(seconds=30), ge=timedelta(milliseconds=100))
    prune: bool = True
    max_prune: Annotated[str | None, BeforeValidator(_max_prune)] = None
    """How many configs one pass may delete: a number or a share ('10%'). None: the larger of 2 and 10 %."""
    on_fault: Literal["refuse", "hold_file"] = "refuse"
    """Whether a fault holds back everything, or only the tasks of its file."""
    rewind: Literal["refuse", "allow"] = "refuse"
    """What to do with a revision that does not descend from the last applied one."""
    drift: Literal["correct", "detect", "ignore"] = "correct"
    """What to do with what somebody changed by hand in a store."""
    require_signed: Literal["ssh", "gpg"] | None = None
    allowed_signers: str | None = None
    """For ssh: a file as git's gpg.ssh.allowedSignersFile has it."""
    keyring: str | None = None
    """For gpg: a file with the public keys of those who may sign."""

    @model_validator(mode="after")
    def _fits(self) -> SourceSettings:
        needed = {"ssh": "allowed_signers", "gpg": "keyring"}.get(self.require_signed or "")
        if needed and getattr(self, needed) is None:
            raise ValueError(f"require_signed = '{self.require_signed}' needs {needed}, the file of who may sign")
        if self.repo and _is_local(self.repo) and not self.allow_file:
            raise ValueError(f"{self.repo!r} is on this machine: allow_file = true lets git read it")
        return self

    @property
    def place(self) -> str:
        """Where it is, as a person reads it: `specs`, or `https://host/repo main specs`, without a secret."""
        return f"{redacted(self.repo)} {self.ref} {self.path}" if self.repo else self.path


class RunnerSettings(_Part):
    """How runs are made: `[runner]`. `concurrency` bounds async runs, `worker_processes` sync ones."""

    queues: tuple[Word, ...] = Field(default=("default",), min_length=1)
    concurrency: int = Field(default=100, ge=1)
    worker_processes: int = Field(default_factory=lambda: max(2, os.cpu_count() or 2), ge=1)
    lease: Duration = Field(default=timedelta(seconds=30), ge=timedelta(seconds=2))
    shutdown_grace: Duration = timedelta(seconds=3)
    cancel_grace: Duration = timedelta(seconds=5)


class LogSettings(_Part):
    """What is logged, and how: `[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class QueueSettings(_Part):
    """What holds for one queue on all runners together: `[queues.NAME]`."""

    concurrency: int | None = Field(default=None, ge=1)
    """How many runs of it may be under way at once; None: as many as the runners have slots for."""


class ApiSettings(_Part):
    """Where `serve` and `runner` can be asked how they are: `[api]`. Port 0: any that is free."""

    enabled: bool = True
    host: Word = "127.0.0.1"
    port: int = Field(default=8484, ge=0, le=65_535)
    hook_secret: Secret | None = None
    """What a git host signs its webhooks with; None: none are taken."""


class HistorySettings(_Part):
    """What is kept where no spec says how long: `[history]`: syncs, outages, incidents, and names long removed."""

    keep: Duration = Field(default=timedelta(days=30), ge=timedelta(hours=1))
    prune_every: Duration = Field(default=timedelta(minutes=10), ge=timedelta(seconds=1))


class NotifySettings(_Part):
    """Who is told: `[notify]`. A target is a URL as apprise has them, or a reference to one."""

    targets: Mapping[Word, Target] = {}
    ping: Target | None = None
    """Fetched for as long as this service is well: when that stops, whoever is behind the URL raises the alarm."""
    ping_every: Duration = Field(default=timedelta(minutes=1), ge=timedelta(seconds=1))


class Settings(_Part):
    """All settings. `directory` is where reconciler.toml was found, else where it was looked for."""

    database_url: DatabaseUrl | None = None
    redis_url: RedisUrl | None = None
    redis_prefix: str = ""
    sources: tuple[SourceSettings, ...] = Field(default=(SourceSettings(),), min_length=1)
    task_modules: tuple[ModuleName, ...] = ("tasks",)
    catalogue: str | None = Field(default=None, min_length=1)
    """What `schema --catalogue` wrote, relative to `directory`: specs are checked by it where no task module is."""
    environment: Word | None = None
    runner: RunnerSettings = RunnerSettings()
    queues: Mapping[Word, QueueSettings] = {}
    api: ApiSettings = ApiSettings()
    history: HistorySettings = HistorySettings()
    notify: NotifySettings = NotifySettings()
    log: LogSettings = LogSettings()
    directory: Path = Field(default_factory=Path.cwd)
    origins: Mapping[str, str] = {}
    """'runner.lease' -> 'reconciler.toml', 'RECONCILER_RUNNER_LEASE' or 'default'."""

    @property
    def drift_modes(self) -> dict[str, str]:
        """By source: what becomes of what somebody changed by hand in a store."""
        return {source.name: source.drift for source in self.sources}
