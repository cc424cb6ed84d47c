"""Files that mean harm, or were never specs: each gets its line, and the good ones beside it stay."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.errors import ReconcilerError
from reconciler.specfiles import SpecReader
from reconciler.specfiles import walk as specwalk
from reconciler.specfiles.yamlgate import FILE_BYTES, load

MEBIBYTE = 2**20
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(12)
)
MERGES = b"a0: &a0 {k: v}\n" + b"".join(
    b"a%d: &a%d {<<: [%s]}\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 20)) for n in range(1, 40)
)

HOSTILE: dict[str, tuple[bytes, str]] = {
    "flow lists": (b"[" * 30_000, "nested deeper than 32 levels"),
    "a mebibyte of flow lists": (b"[" * (MEBIBYTE - 1), "nested deeper than 32 levels"),
    "flow mappings": (b"{a: " * 10_000, "nested deeper than 32 levels"),
    "block lists": (b"- " * 10_000, "nested deeper than 32 levels"),
    "complex keys": (b"? " * 10_000, "a key must be a plain word"),
    "indented mappings": (b"\n".join(b" " * n + b"a:" for n in range(1_400)), "nested deeper than 32 levels"),
    "indented lists": (b"\n".join(b" " * n + b"-" for n in range(1_400)), "nested deeper than 32 levels"),
    "closed nesting": (b"a: " + b"[" * 5_000 + b"]" * 5_000, "nested deeper than 32 levels"),
    "exploding aliases": (BOMB, "more than 250000 values, with what aliases repeat"),
    "exploding merges": (MERGES, "more than 250000 values, with what aliases repeat"),
    "long repeated text": (b"a: &a '" + b"x" * 500_000 + b"'\nb: [" + b"*a," * 1_000 + b"]", "more than 250000 values"),
    "an alias of itself": (b"task: t\nparams: &a {x: *a}", "the alias *a stands inside what it repeats"),
    "a merge of itself": (b"task: t\nparams: &a {<<: *a}", "the alias *a stands inside what it repeats"),
    "an unknown alias": (b"task: t\nparams: *nope", "the alias *nope has no anchor before it"),
    "an alias as a key": (b"task: t\n&a b: *a\n*a : x", "a key must be a plain word"),
    "a merge of text": (b"task: t\n<<: x", "merges only mappings"),
    "a tag that runs code": (b"task: !!python/object/apply:os.system [id]", "tags are not allowed"),
    "a harmless tag": (b"task: !!str t", "tags are not allowed"),
    "a local tag": (b"task: !vault t", "tags are not allowed"),
    "tag directives": (b"%TAG ! tag:x,2000:\n" * 50_000 + b"---\ntask: t", "directives (%TAG and others) are not"),
    "a NUL byte": (b"task: t\0", "has a NUL byte, which is no text; remove it"),
    "an escaped NUL": (b'task: t\nparams: {x: "a\\0b"}', "has a NUL character, which no store keeps"),
    "a NUL in a key": (b'task: t\nparams: {"a\\0b": 1}', "a key has a NUL character"),
    "an escaped surrogate": (b'task: "\\ud800"', "found invalid Unicode character escape code"),
    "a control character": (b"task: t\x1b[2J", "has the control character '\\x1b', which is no text"),
    "a line end that editors do not show": ("task: t\u2028queue: q".encode(), "has the control character '\\u2028'"),
    "Latin-1": (b"task: t\ndescription: caf\xe9", "byte 0xe9 is not UTF-8; save it as UTF-8"),
    "UTF-16": ("task: t".encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "a UTF-8 surrogate": (b"task: \xed\xa0\x80", "byte 0xed is not UTF-8"),
    "binary": (bytes(range(256)), "is not UTF-8"),
    "tabs": (b"task: t\nretries:\n\tattempts: 1", "a tab stands where spaces belong"),
    "duplicate keys": (b"task: t\ntask: u", "is written twice; the first is on line 1"),
    "many duplicate keys": (b"a: 1\n" * 200_000, "is written twice"),
    "many values": (b"task: t\nparams: {x: [" + b"1," * 300_000 + b"]}", "more than 250000 values"),
    "many keys": (b"task: t\n" + b"".join(b"k%d: 1\n" % n for n in range(80_000)), "unknown key"),
    "many parameters": (
        b"task: t\nparams:\n" + b"".join(b" k%d: 1\n" % n for n in range(80_000)),
        "entries; at most 256",  # how many there are, pydantic counts up to 2.13
    ),
    "many environments": (
        b"task: t\nenvironments:\n" + b"".join(b" e%d: {queue: q}\n" % n for n in range(40_000)),
        "at most 50 are allowed",
    ),
    "many documents": (b"---\ntask: t\n" * 80_000, "more than 5000 documents; split it"),
    "many empty documents": (b"---\n" * 200_000, "more than 5000 documents; split it"),
    "a long line": (b"task: " + b"x" * 1_000_000, "is 1000000 characters long; up to 256 are allowed"),
    "a long key": (b"? " + b"x" * 1_000_000 + b"\n: 1", "unknown key"),
    "an unfinished quote": (b"task: '" + b"x" * 1_000_000, "the quote that opens here is never closed"),
    "an unfinished list": (b"task: t\nafter: [a, b", "the brackets opened on line 2 need a comma or ] here"),
    "a huge number": (b"task: t\npriority: " + b"9" * 100_000, "is a whole number of more than 64 bits"),
    "a number like a date": (b"task: t\nstarts_at: " + b"1" * 19 + b"-01-01", "is not a date and time"),
    "a long schedule": (b"task: t\nschedule: '" + b"1," * 400_000 + b"'", "a cron expression has at most 1000"),
    "a wide schedule": (b"task: t\nschedule: 1-100000000 * * * *", "1-100000000"),
    "many expressions": (b"task: t\nschedule: [" + b"'@daily'," * 50_000 + b"]", "at most 100 are allowed"),
    "colons": (b":" * MEBIBYTE, "a colon cannot stand here"),
    "bangs": (b"! " * 500_000, "tags are not allowed"),
    "anchors": (b"[" + b"&a " * 300_000, "has no value"),
    "question marks": (b"?\n" * 500_000, "a key is empty"),
}


def faults(root: Path) -> list[str]:
    found = SpecReader(root).read()
    assert "good" in {one.spec.name for one in found.specs}
    return [str(fault) for fault in found.faults]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "specs"
    root.mkdir()
    (root / "good.yaml").write_text("task: t\n")
    return root


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_its_line_and_hides_no_good_one(root: Path, name: str) -> None:
    data, what = HOSTILE[name]
    (root / "bad.yaml").write_bytes(data)
    told = faults(root)
    assert any(what in line for line in told), told[:3]
    assert all(line.startswith(f"{root}/bad.yaml:") for line in told)
    assert len(told) <= 1_001
    assert max(map(len, told)) < 1_000
    assert all(line.isprintable() for line in told)


def test_a_file_of_50_mb_is_not_read(root: Path) -> None:
    with (root / "bad.yaml").open("wb") as file:
        file.truncate(50 * MEBIBYTE)
    told = faults(root)
    assert told == [f"{root}/bad.yaml:1:1: file: is 52428800 bytes large; a spec file may have up to {FILE_BYTES}"]


def test_a_file_that_grows_while_it_is_read_is_read_up_to_the_limit(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "bad.yaml").write_bytes(b"#" * 2 * FILE_BYTES)
    monkeypatch.setattr(
        "reconciler.specfiles.onepass.FILE_BYTES", 10 * FILE_BYTES
    )  # as if it had been small when looked at
    (line,) = faults(root)
    assert line.endswith(f"is {2 * FILE_BYTES} bytes large; a spec file may have up to {FILE_BYTES}")


BLOCKING: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "is a pipe, not a file; remove it or rename it"),
    "a socket": (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "is a socket, not a file"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "is a link that leaves the specs' directory"),
    "a link out": (lambda path: path.symlink_to("/etc/passwd"), "is a link that leaves the specs' directory"),
    "a link up": (lambda path: path.symlink_to(".."), "is a link that leaves the specs' directory"),
    "a link to itself": (lambda path: path.symlink_to(path), "is a link that leads nowhere"),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "is a link that leads nowhere"),
    "a link to its own directory": (lambda path: path.symlink_to("."), "is a link to a directory that is read already"),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", BLOCKING)
def test_what_is_no_file_is_never_opened(
    root: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, what = BLOCKING[name]
    monkeypatch.chdir(root)  # a socket's path has to be short
    make(Path("bad.yaml") if name == "a socket" else root / "bad.yaml")
    (line,) = faults(root)
    assert line.startswith("bad.yaml:1:1: file: ")
    assert what in line


def test_a_directory_that_is_linked_out_is_told_and_not_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.yaml").write_text("task: t")
    (root / "team").symlink_to(tmp_path / "other")
    (line,) = faults(root)
    assert line == f"{root}/team:1:1: file: is a link that leaves the specs' directory; put a copy here"


def test_links_inside_are_followed_once_as_a_config_map_is_mounted(root: Path) -> None:
    (root / "..2026").mkdir()
    (root / "..2026" / "a.yaml").write_text("task: t")
    (root / "..2026" / "team").mkdir()
    (root / "..2026" / "team" / "b.yaml").write_text("task: t")
    (root / "..data").symlink_to("..2026")
    (root / "a.yaml").symlink_to("..data/a.yaml")
    (root / "team").symlink_to("..data/team")
    found = SpecReader(root).read()
    assert found.faults == ()
    assert [one.path for one in found.specs] == ["a.yaml", "good.yaml", "team/b.yaml"]


def test_a_directory_called_like_a_file_is_a_directory(root: Path) -> None:
    (root / "x.yaml").mkdir()
    (root / "x.yaml" / "a.yaml").write_text("task: t")
    assert faults(root) == []


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_may_not_be_read_is_told(root: Path, kind: str) -> None:
    path = root / "bad.yaml"
    path.mkdir() if kind == "directory" else path.write_text("task: t")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("whoever runs this may read everything")
    try:
        (line,) = faults(root)
    finally:
        path.chmod(0o700)
    assert line == f"{path}:1:1: file: cannot be read: permission denied"


def test_what_the_system_refuses_to_read_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "bad.yaml").write_text("task: t")
    really = os.open

    def refuse(path: str, *arguments: int) -> int:
        if str(path).endswith("bad.yaml"):
            raise PermissionError(13, "Permission denied")
        return really(path, *arguments)

    monkeypatch.setattr(specwalk.os, "open", refuse)
    assert faults(root) == [f"{root}/bad.yaml:1:1: file: cannot be read: permission denied"]


def test_a_file_that_vanishes_while_it_is_read_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "bad.yaml").write_text("task: t")
    really = os.open

    def vanish(path: str, *arguments: int) -> int:
        if str(path).endswith("bad.yaml"):
            Path(path).unlink()
        return really(path, *arguments)

    monkeypatch.setattr(specwalk.os, "open", vanish)
    reader = SpecReader(root)
    (fault,) = reader.read().faults
    assert fault.what == "vanished while it was read; the next pass sees what is there then"
    assert reader.read().faults == ()


def test_a_file_that_becomes_a_pipe_before_it_is_opened_does_not_block(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "bad.yaml").write_text("task: t")
    really = os.open

    def swap(path: str, *arguments: int) -> int:
        if str(path).endswith("bad.yaml"):
            Path(path).unlink()
            os.mkfifo(path)
        return really(path, *arguments)

    monkeypatch.setattr(specwalk.os, "open", swap)
    assert faults(root) == [f"{root}/bad.yaml:1:1: file: is not a file any more; remove it"]


def test_a_file_name_that_no_terminal_can_show_is_told_in_letters_that_it_can(root: Path) -> None:
    for name in (b"bad\x1b[2J.yaml", b"bad\xff.yaml", b"bad\n.yaml"):
        with open(os.path.join(os.fsencode(root), name), "wb") as file:  # noqa: PTH118, PTH123 - bytes
            file.write(b"task: t")
    told = faults(root)
    assert len(told) == 3
    assert all("its name has characters that cannot be shown; rename it" in line for line in told)
    assert all(line.isprintable() for line in told)


def test_more_files_than_a_source_may_have_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specwalk, "MOST_FILES", 3)
    for number in range(10):
        (root / f"x{number}.yaml").write_text("task: t")
    assert faults(root) == [f"{root}/:1:1: file: holds more than 3 spec files; split it into sources"]


def test_directories_without_end_are_told(root: Path) -> None:
    path = root
    for _ in range(40):
        path = path / "d"
        path.mkdir()
    (path / "a.yaml").write_text("task: t")
    (line,) = faults(root)
    assert line.endswith("is deeper than 32 directories; move it up")


def test_many_faults_are_told_up_to_a_number(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.specfiles.gathered.MOST_FAULTS", 5)
    for number in range(10):
        (root / f"x{number}.yaml").write_text("task: 5")
    told = faults(root)
    assert len(told) == 6
    assert told[-1] == f"{root}/:1:1: file: and 5 more lines; mend these first"


def test_a_bug_of_ours_costs_one_file_and_not_the_pass(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "bad.yaml").write_text("task: boom")
    really = load

    def fail(data: bytes) -> object:
        if b"boom" in data:
            raise RuntimeError("bug\n")
        return really(data)

    monkeypatch.setattr("reconciler.specfiles.onefile.load", fail)
    assert faults(root) == [f"{root}/bad.yaml:1:1: file: cannot be read (RuntimeError: bug\\n); please report this"]


def test_a_root_that_is_no_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ReconcilerError, match="cannot be read"):
        SpecReader(tmp_path / "loop").read()


GOOD = b"""name: job
task: reports.build
schedule: ["0 2 * * 1-5", '@every 30s']
params: &p {region: eu, list: [no, 1, 2.5, ~], text: "a\\tb"}
retries: {attempts: 3, backoff: 30s}
environments: {prod: {params: *p}}
--- # another
<<: {task: t}
name: other
description: |
  Lines
   of text
"""
BITS = [b"[", b"{", b"- ", b"? ", b": ", b"&a ", b"*a", b"<<: ", b"!!x ", b"|\n", b">", b"'", b'"', b"%", b"---\n",
        b"...\n", b"\t", b"\n", b" ", b"#", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"@", b"`", b"1e999",
        b"0x", b"null", b"~", b"2026-01-01", b"\\", b",", b"]", b"}"]  # fmt: skip


def read_bytes(root: Path, data: bytes) -> None:
    (root / "fuzz.yaml").write_bytes(data)
    found = SpecReader(root, environment="prod").read()
    assert "good" in {one.spec.name for one in found.specs}
    for fault in found.faults:
        assert str(fault).isprintable()
        assert "please report this" not in fault.what
        assert fault.line >= 1 and fault.column >= 1
    for one in found.specs:
        assert type(one.spec).from_document(one.spec.document()).digest == one.digest


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_random_bytes_are_faults_and_never_an_exception(root: Path, data: bytes) -> None:
    read_bytes(root, data)


@FUZZ
@given(st.lists(st.sampled_from(BITS) | st.sampled_from(GOOD.split(b" ")), max_size=60).map(b"".join))
def test_bits_of_yaml_are_faults_and_never_an_exception(root: Path, data: bytes) -> None:
    read_bytes(root, data)


@FUZZ
@given(st.randoms(use_true_random=False))
def test_a_spec_with_bits_changed_is_faults_and_never_an_exception(root: Path, chance: random.Random) -> None:
    data = bytearray(GOOD)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(data))
        data[place : place + chance.randint(0, 3)] = chance.choice(BITS)
    read_bytes(root, bytes(data))


def test_a_root_that_may_not_be_read_is_an_error_and_not_empty(root: Path) -> None:
    root.chmod(0)
    if os.access(root, os.R_OK):
        root.chmod(0o700)
        pytest.skip("whoever runs this may read everything")
    try:
        for given_path in (root, root / "good.yaml"):
            with pytest.raises(ReconcilerError, match="cannot be read: permission denied"):
                SpecReader(given_path).read()
    finally:
        root.chmod(0o700)
