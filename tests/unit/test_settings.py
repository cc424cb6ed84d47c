"""Settings: which place wins, where a value came from, and one line for whatever is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from reconciler.errors import ReconcilerError
from reconciler.settings import Reference, Settings, load_settings, redacted


def loaded(directory: Path, text: str | None = None, **environ: str) -> Settings:
    if text is not None:
        (directory / "reconciler.toml").write_text(text)
    return load_settings(directory, environ)


def complaint(directory: Path, text: str | None = None, **environ: str) -> str:
    with pytest.raises(ReconcilerError) as caught:
        loaded(directory, text, **environ)
    shown = str(caught.value).replace(f"{directory}/", "")
    assert "\n" not in shown
    return shown


def test_nothing_set_is_a_whole_set_of_settings(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert (settings.database_url, settings.redis_url, settings.environment) == (None, None, None)
    assert settings.task_modules == ("tasks",)
    assert [(source.name, source.path, source.prune) for source in settings.sources] == [("default", "specs", True)]
    assert settings.runner.lease == timedelta(seconds=30)
    assert settings.runner.worker_processes >= 2
    assert settings.directory == tmp_path
    assert set(settings.origins.values()) == {"default"}


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    text = 'redis_prefix = "file:"\ntask_modules = ["a"]\n[runner]\nlease = "10s"\nconcurrency = 5\n'
    settings = loaded(tmp_path, text, RECONCILER_RUNNER_LEASE="20s", RECONCILER_TASK_MODULES="b, c.d")
    assert settings.runner.lease == timedelta(seconds=20)
    assert settings.runner.concurrency == 5
    assert settings.task_modules == ("b", "c.d")
    assert settings.redis_prefix == "file:"


def test_each_value_says_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = loaded(tmp_path, '[runner]\nconcurrency = 5\n[[sources]]\npath = "x"\n', RECONCILER_RUNNER_LEASE="20s")
    assert settings.origins["runner.concurrency"] == "reconciler.toml"
    assert settings.origins["sources"] == "reconciler.toml"
    assert settings.origins["runner.lease"] == "RECONCILER_RUNNER_LEASE"
    assert settings.origins["log.level"] == "default"


def test_the_file_of_a_parent_counts_and_is_the_directory(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "reconciler.toml").write_text('environment = "prod"')
    settings = load_settings(below, {})
    assert (settings.environment, settings.directory) == ("prod", tmp_path)


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    assert loaded(tmp_path, RECONCILER_DATABASE_URL="", RECONCILER_LOG_LEVEL=" ").log.level == "info"


def test_the_tests_own_variables_are_left_alone(tmp_path: Path) -> None:
    assert loaded(tmp_path, RECONCILER_TEST_DATABASE_URL="anything")


def test_settings_do_not_change(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        loaded(tmp_path).environment = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgres://u@h/d", "postgres://u@h/d"),
        ("postgresql+psycopg://u:p@h/d", "postgresql://u:p@h/d"),
        (" postgresql:///d?host=/run \n", "postgresql:///d?host=/run"),
    ],
)
def test_a_database_url_is_taken_as_psycopg_wants_it(tmp_path: Path, given: str, taken: str) -> None:
    settings = loaded(tmp_path, RECONCILER_DATABASE_URL=given)
    assert settings.database_url and settings.database_url.get_secret_value() == taken


@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://u:p@h", "unix:///run/redis.sock?db=1"])
def test_a_redis_url_may_be_any_that_redis_knows(tmp_path: Path, url: str) -> None:
    settings = loaded(tmp_path, RECONCILER_REDIS_URL=url)
    assert settings.redis_url and settings.redis_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[runner]\nconcurency = 1", "runner.concurency: unknown setting: did you mean 'concurrency'?"),
        ("databse_url = 1", "databse_url: unknown setting: did you mean 'database_url'?"),
        ("[log]\nzzz = 1", "log.zzz: unknown setting: known are level, format"),
        ("[[sources]]\npth = 'x'", "sources.pth: unknown setting: did you mean 'path'?"),
        ("directory = 'x'", "directory: unknown setting: "),
        ("origins = {}", "origins: unknown setting: known are"),
        ("[runner]\nlease = '1s'", "runner.lease: must be greater than or equal to 2 seconds"),
        ("[runner]\nlease = 5", "runner.lease: 5 is not a duration; write '5s' for seconds"),
        ("[runner]\nconcurrency = 'many'", "runner.concurrency: 'many' must be a whole number"),
        ("[runner]\nconcurrency = 0", "runner.concurrency: 0 must be greater than or equal to 1"),
        ("[runner]\nqueues = []", "runner.queues: must not be empty"),
        ("runner = 3", "runner: 3 must be a table"),
        ("log = []", "log: must be a table"),
        ("task_modules = 'tasks'", "task_modules: 'tasks' must be a list"),
        ("task_modules = ['a-b']", "task_modules: 'a-b' must be a module name, as in tasks.reports"),
        ("sources = []", "sources: must not be empty"),
        ("sources = [1]", "sources: 1 must be a table"),
        ("[[sources]]\n[[sources]]", "sources: two are named 'default': give each its own name"),
        ("[[sources]]\nmax_prune = 'few'", "sources.max_prune: 'few' is not a number of configs or a share of them"),
        ("[[sources]]\nmax_prune = '101%'", "sources.max_prune: '101%' is not a number"),
        ("log.level = 'loud'", "log.level: 'loud' must be 'debug', 'info', 'warning' or 'error'"),
        ("environment = 'a b'", "environment: 'a b' must be one word"),
        ("[runner]\nlease = 1\nconcurrency = 0", "(and 1 more)"),
        ("database_url = 'mysql://u:geheim@h'", "mysql:// is not a scheme for it: it begins with postgresql://"),
        ("database_url = 'host=h password=geheim'", "database_url: not a URL: it begins with postgresql://"),
        ("redis_url = 'geheim'", "redis_url: not a URL: it begins with redis:// or rediss:// or unix://"),
        ("redis_url = 'redis://'", "redis_url: nothing follows redis://"),
        ("database_url = 'postgresql'\nredis_prefix = 3", "(and 1 more)"),
        ("[api]\nport = 70000", "api.port: 70000 must be less than or equal to 65535"),
        ("[queues.etl]\nconcurency = 1", "queues.etl.concurency: unknown setting: did you mean 'concurrency'?"),
        ("[queues.etl]\nconcurrency = 0", "queues.etl.concurrency: 0 must be greater than or equal to 1"),
        ("[notify.targets]\nops = 5", "notify.targets.ops: is no URL, and neither {from_env = 'NAME'} nor {from_file"),
        ("[notify.targets]\nops = {url = 'json://geheim'}", "notify.targets.ops: is no URL, and neither"),
        ("[notify.targets]\nops = {from_env = 'A', from_file = 'geheim'}", "notify.targets.ops: is no URL"),
        ("[notify]\nping = []", "notify.ping: is no URL, and neither"),
        ("[notify]\nping_every = '0s'", "notify.ping_every: must be greater than or equal to 1 second"),
        ("[history]\nkeep = '1m'", "history.keep: must be greater than or equal to 1 hour"),
        ("no toml", "reconciler.toml: not TOML: "),
        ("a = " + "[" * 100_000, "reconciler.toml: nested too deeply"),
    ],
)
def test_a_fault_in_the_file_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    shown = complaint(tmp_path, text)
    assert shown.startswith("reconciler.toml: ")
    assert line in shown
    assert "geheim" not in shown


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("RECONCILER_RUNNER_LEAS", "1s", ": unknown setting: did you mean 'RECONCILER_RUNNER_LEASE'?"),
        ("RECONCILER_SOURCES", "x", ": unknown setting: write [[sources]] in reconciler.toml"),
        ("RECONCILER_RUNNER", "x", ": unknown setting: did you mean 'RECONCILER_RUNNER"),
        ("RECONCILER_RUNNER_LEASE", "soon", ": 'soon' is not a duration"),
        ("RECONCILER_RUNNER_WORKER_PROCESSES", "two", ": 'two' must be a whole number"),
        ("RECONCILER_RUNNER_QUEUES", "a,,b", ": '' must be one word"),
        ("RECONCILER_TASK_MODULES", "a/b", ": 'a/b' must be a module name"),
        ("RECONCILER_DATABASE_URL", "http://u:geheim@h", ": http:// is not a scheme for it"),
        ("RECONCILER_QUEUES_ETL", "5", ": unknown setting: write [queues.NAME] in reconciler.toml"),
        (
            "RECONCILER_NOTIFY_TARGETS_OPS",
            "json://geheim",
            ": unknown setting: write [notify.targets] in reconciler.toml",
        ),
        ("RECONCILER_API_PORT", "http", ": 'http' must be a whole number"),
    ],
)
def test_a_fault_in_the_environment_names_the_variable(tmp_path: Path, variable: str, text: str, line: str) -> None:
    shown = complaint(tmp_path, **{variable: text})
    assert shown.startswith(variable + line)
    assert "geheim" not in shown


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "reconciler.toml").mkdir()
    assert complaint(tmp_path) == "reconciler.toml: cannot be read: Is a directory: check the file"
    (tmp_path / "reconciler.toml").rmdir()
    (tmp_path / "reconciler.toml").write_bytes(b"a = '\xff'")
    assert complaint(tmp_path) == "reconciler.toml: not UTF-8: save it as UTF-8"


def test_a_target_is_a_url_or_a_reference_to_one(tmp_path: Path) -> None:
    text = """
    [notify.targets]
    ops = "json://hooks.example/geheim"
    mail = {from_env = "MAIL_URL"}
    chat = {from_file = "/run/secrets/chat"}
    [notify]
    ping_every = "5m"
    """
    settings = loaded(tmp_path, text, RECONCILER_NOTIFY_PING="https://hc.example/geheim")
    assert list(settings.notify.targets) == ["ops", "mail", "chat"]
    assert settings.notify.targets["mail"] == Reference(from_env="MAIL_URL")
    assert settings.notify.ping_every == timedelta(minutes=5)
    assert settings.origins["notify.ping"] == "RECONCILER_NOTIFY_PING"
    assert "geheim" not in repr(settings) + settings.model_dump_json()


def test_settings_never_print_a_password(tmp_path: Path) -> None:
    url = "postgresql://u:geheim@h/d"
    settings = loaded(tmp_path, RECONCILER_DATABASE_URL=url, RECONCILER_REDIS_URL="redis://:geheim@h")
    assert "geheim" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:geheim@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:ge@he/im@h/d?x=1", "postgresql://u:***@h/d?x=1"),
        ("redis://:geheim@h:6379/0", "redis://:***@h:6379/0"),
        ("postgresql://u@h/d?password=geheim&x=1", "postgresql://u@h/d?password=***&x=1"),
        ("postgresql://u@h/d?sslpassword=geheim", "postgresql://u@h/d?sslpassword=***"),
        ("unix:///run/r.sock?password=geheim", "unix:///run/r.sock?password=***"),
        ("host=h password=geheim user=u", "host=h password=*** user=u"),
        ("postgresql://u@h/d?application_name=a:b@c", "postgresql://u@h/d?application_name=a:b@c"),
        ("postgresql:///d?host=/run", "postgresql:///d?host=/run"),
        ("redis://h:6379/0", "redis://h:6379/0"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redacted(url) == shown
