"""The schema: migrated there, back and again, and held against the tables."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import reconciler
from reconciler.db import schema
from reconciler.db.link import Link
from reconciler.db.tampered import tampered
from reconciler.errors import ReconcilerError, StoreUnavailable

REPOSITORY = Path(__file__).parents[2]

# Every fact about our tables that two databases could differ in.
CATALOGUE = {
    "columns": """
        select c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               a.attgenerated, pg_get_expr(d.adbin, d.adrelid), a.attcollation::regcollation::text, a.attstorage
        from pg_attribute a
        join pg_class c on c.oid = a.attrelid and c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
        left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attnum > 0""",
    "indexes": """
        select c.relname, pg_get_indexdef(i.indexrelid), i.indisunique, i.indisprimary, i.indnullsnotdistinct
        from pg_index i join pg_class c on c.oid = i.indexrelid and c.relnamespace = 'public'::regnamespace""",
    "constraints": """
        select conname, conrelid::regclass::text, contype, pg_get_constraintdef(oid)
        from pg_constraint where connamespace = 'public'::regnamespace""",
    "objects": """
        select relname, relkind, relpersistence, reloptions from pg_class
        where relnamespace = 'public'::regnamespace""",
}


def catalogue(url: str) -> dict[str, list[tuple[object, ...]]]:
    with psycopg.connect(url) as connection:
        facts = {what: connection.execute(query).fetchall() for what, query in CATALOGUE.items()}
    return {
        what: sorted((row for row in rows if not any("alembic" in str(part) for part in row)), key=str)
        for what, rows in facts.items()
    }


def create_all(url: str) -> None:
    from reconciler.db.tables import metadata

    with schema.connected(url) as connection:
        metadata.create_all(connection)
        connection.commit()


def test_a_migrated_and_a_fresh_database_are_the_same(database_url: str, empty_database_url: str) -> None:
    create_all(empty_database_url)
    migrated, fresh = catalogue(database_url), catalogue(empty_database_url)
    for what in CATALOGUE:
        assert migrated[what] == fresh[what], what
    assert any("exclusive AND (runner_id IS NOT NULL)" in str(row) for row in migrated["indexes"])


def test_down_to_base_leaves_nothing_and_up_again_is_the_same(database_url: str) -> None:
    before = catalogue(database_url)
    assert schema.downgrade(database_url, "base") == list(reversed(schema.revisions()))
    assert catalogue(database_url) == {"columns": [], "indexes": [], "constraints": [], "objects": []}
    assert schema.upgrade(database_url) == list(schema.revisions())
    assert catalogue(database_url) == before


def test_an_upgrade_of_what_is_current_does_nothing(database_url: str) -> None:
    assert schema.upgrade(database_url) == []


def test_two_starters_do_not_collide(empty_database_url: str) -> None:
    code = "import sys; from reconciler.db import schema; print(*schema.upgrade(sys.argv[1]))"
    command = [sys.executable, "-c", code, empty_database_url]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    done = [starter.communicate()[0].split() for starter in starters]
    assert sorted(done, key=len) == [[], [], list(schema.revisions())]


async def said(url: str) -> str:
    link = Link(url)
    try:
        await schema.require_current(link)
    except ReconcilerError as error:
        return str(error)
    finally:
        await link.close()
    return ""


async def test_the_right_database_is_accepted(database_url: str) -> None:
    assert await said(database_url) == ""


async def test_an_empty_database_names_the_command(empty_database_url: str) -> None:
    text = await said(empty_database_url)
    assert text.endswith("the database is empty: run 'reconciler db upgrade'")
    assert "\n" not in text


async def test_an_outdated_database_names_the_command(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "revisions", lambda: ("0001", "0002", "0003", "0004"))
    assert "at revision 0003 and this version needs 0004: run 'reconciler db upgrade'" in await said(database_url)


async def test_a_newer_database_asks_for_a_newer_program(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    assert "at revision 9999, newer than this version knows" in await said(database_url)
    with pytest.raises(ReconcilerError, match="at revision 9999, newer than this version knows"):
        schema.upgrade(database_url)


def test_an_unknown_target_names_the_known_ones(database_url: str) -> None:
    with pytest.raises(ReconcilerError, match="no revision 'nonsense': this version knows 0001"):
        schema.upgrade(database_url, "nonsense")


def test_an_upgrade_of_what_cannot_be_reached_is_one_line() -> None:
    with pytest.raises(StoreUnavailable, match=r"ada:\*\*\*@.*cannot connect: nothing listens there") as caught:
        schema.upgrade("postgresql://ada:hunter2@127.0.0.1:1/name")
    assert "\n" not in str(caught.value)


def test_a_migration_that_is_refused_changes_nothing(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table syncs (mine text)")
    with pytest.raises(ReconcilerError, match='cannot upgrade: relation "syncs" already exists: nothing was changed'):
        schema.upgrade(empty_database_url)
    assert [row[0] for row in catalogue(empty_database_url)["objects"]] == ["syncs"]


def test_the_files_say_the_head_that_alembic_says() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(schema.migrations_directory()))
    script = ScriptDirectory.from_config(config)
    assert script.get_current_head() == schema.head_revision()
    assert [step.revision for step in script.walk_revisions()] == list(reversed(schema.revisions()))


def test_migrations_inside_the_package_are_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site 100%" / "reconciler"
    shutil.copytree(schema.migrations_directory(), package / "migrations")
    monkeypatch.setattr(reconciler, "__file__", str(package / "__init__.py"))
    assert schema.migrations_directory.__wrapped__() == package / "migrations"


def test_a_package_without_migrations_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "__file__", str(tmp_path / "reconciler" / "__init__.py"))
    with pytest.raises(ReconcilerError, match="install reconciler again"):
        schema.migrations_directory.__wrapped__()


def test_looking_at_the_schema_costs_neither_alembic_nor_sqlalchemy() -> None:
    code = (
        "import sys, reconciler.db.schema as s; s.head_revision(); print({'alembic', 'sqlalchemy'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def alembic(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "alembic", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_alembic_itself_works_from_a_clone_and_finds_nothing_to_add(empty_database_url: str) -> None:
    for arguments in (("upgrade", "head"), ("check",), ("downgrade", "base"), ("upgrade", "head")):
        done = alembic("-x", f"url={empty_database_url}", *arguments)
        assert done.returncode == 0, done.stderr
    assert catalogue(empty_database_url)["objects"]


def test_the_migrations_can_be_written_out_as_sql() -> None:
    done = alembic("upgrade", "head", "--sql")
    assert done.returncode == 0, done.stderr
    assert "CREATE UNIQUE INDEX task_claims_one_owned" in done.stdout


async def test_what_was_taken_over_and_moved_before_revisions_had_sources_is_no_drift(empty_database_url: str) -> None:
    schema.upgrade(empty_database_url, "0002")
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(
            "insert into syncs (source, revision, is_success, actor, started_at, finished_at)"
            " select source, repeat(commit, 40) || dirty, true, 'ci', now() + n * interval '1 s', now()"
            " from (values (1, 'old', 'a', ''), (2, 'new', 'b', '-dirty')) as s(n, source, commit, dirty)"
        )
        connection.execute(
            """insert into task_configs (name, source, spec, digest, path, revision)
               values ('a', 'new', '{"name": "a"}', 'one', 'team/a.yaml', 'b')"""
        )
        connection.execute(
            """insert into task_revisions (name, digest, spec, sync_id, removed_at) values
               ('a', 'one', '{"name": "a"}', 1, null), ('gone', 'two', '{"name": "gone"}', 1, now())"""
        )
    schema.upgrade(empty_database_url)
    link = Link(empty_database_url)
    try:
        async with link.transaction() as tx:
            assert [one.kind for one in await tampered(tx)] == ["cursor"]
        rows = await link.run("select name, source, path, revision from task_revisions order by name")
        assert rows == [("a", "new", "team/a.yaml", "a" * 40), ("gone", "old", "", "a" * 40)]
        assert await link.run("select name, revision, tried_revision from sources order by name") == [
            ("new", "b" * 40, "b" * 40 + "-dirty"),
            ("old", "a" * 40, "a" * 40),
        ]
    finally:
        await link.close()
    schema.downgrade(empty_database_url, "0002")
    assert schema.upgrade(empty_database_url) == ["0003"]
