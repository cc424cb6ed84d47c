"""Which files a commit has below a path, and their content, from git's objects: no working tree is ever made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from reconciler.gitrepo.clone import Clone
from reconciler.gitrepo.command import Git, TooMuch, Trouble

SECONDS = 120.0
MOST_FILES = 200_000
MOST_LISTING = 256 * 1024 * 1024
SUFFIXES = (".yaml", ".yml", ".ics", ".txt")
FILES, LINK = ("100644", "100755", "100664"), "120000"
LONGEST_LINK = 4096


class Entry(NamedTuple):
    """A file or a link: its object, and which of the two it is."""

    made: str
    is_link: bool


class Unfit(Exception):
    """What the commit has there cannot be specs; the text is `what: what to do`."""


def tree_of(git: Git, commit: str, path: str) -> str:
    """The tree object of a directory of the commit, `path` being "" for all of it; Unfit without one."""
    root = git.tell("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}")
    if not path:
        return root
    # Unlike `rev-parse COMMIT:PATH` it tells a tree that is broken from one without that path.
    row = git.tell("ls-tree", "-z", "--full-tree", root, "--", path)
    about, _, name = row.partition("\0")[0].partition("\t")
    if about.split(" ")[1:2] != ["tree"] or name != path:
        what = "there is no directory but something else named" if row else "there is no directory"
        raise Unfit(f"{what} '{path}' at {commit[:7]}: set path to where the specs are")
    return about.split(" ")[2]


def entries(git: Git, tree: str) -> dict[str, Entry]:
    """Specs, calendars and links below the tree, by path; hidden names, submodules and all other files are left out.

    Unfit for a tree that cannot be laid out as files.
    """
    try:
        listing = git.told("ls-tree", "-r", "-z", "--full-tree", tree, seconds=SECONDS, most=MOST_LISTING).output
    except TooMuch as error:
        raise Unfit(f"it holds more files than can be listed: {error}: split it into sources") from error
    found: dict[str, Entry] = {}
    for row in listing.decode(errors="surrogateescape").split("\0")[:-1]:
        about, _, path = row.partition("\t")
        mode, _, made = about.split(" ")
        is_wanted = mode == LINK or (mode in FILES and _is_wanted(path))
        if is_wanted and not _is_hidden(path):
            found[path] = Entry(made, mode == LINK)
    if len(found) > MOST_FILES:
        raise Unfit(f"it holds more than {MOST_FILES} files: split it into sources")
    _check(found)
    return found


def may_be_read(path: str) -> bool:
    """Whether a file of that path is one of the specs or calendars."""
    return _is_wanted(path) and not _is_hidden(path)


def _is_wanted(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(SUFFIXES) or "." not in name


def _is_hidden(path: str) -> bool:
    # `..` begins with a dot too. What git itself would write as `.git` on other systems is of no use to anybody.
    return path.startswith(".") or "/." in path or "git~1" in path.lower().split("/")


def _check(found: dict[str, Entry]) -> None:
    """Unfit for a tree that somebody forged: no `git add` makes such a one."""
    folders: set[str] = set()
    for path in found:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
        if path.startswith("/") or "//" in path or path.endswith("/"):
            raise Unfit(f"it has a file of the forged name {path!a}: remove it")
    if both := folders & found.keys():
        raise Unfit(f"it has {min(both)!a} as a file and as a directory: remove one")


def fill(clone: Clone, tree: str, objects: set[str]) -> None:
    """Fetch those of the objects below the tree that are not here, in one request."""
    arguments = ("rev-list", "--objects", "--no-object-names", "--missing=print", "--no-walk", tree)
    listing = clone.git.told(*arguments, seconds=SECONDS, most=MOST_LISTING).output.decode()
    missing = {line[1:] for line in listing.splitlines() if line.startswith("?")}
    if wanted := sorted(missing & objects):
        clone.bring(wanted)


def sizes(git: Git, objects: Iterable[str]) -> dict[str, int]:
    """Bytes of each object; nothing is loaded for that. Trouble if one is not here or is no file."""
    feed = (f"{made}\n".encode() for made in objects)
    arguments = ("cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", "--buffer")
    listing = git.told(*arguments, feed=feed, seconds=SECONDS, most=MOST_LISTING).output.decode()
    rows = [line.split(" ") for line in listing.splitlines()]
    if amiss := next((row for row in rows if len(row) != 3 or row[1] != "blob"), None):
        raise Trouble(f"the object {amiss[0]} is missing")
    return {made: int(size) for made, _, size in rows}


def contents(git: Git, objects: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Each object with its bytes, one after the other. Trouble if one is not here or is broken."""
    feed = (f"{made}\n".encode() for made in objects)
    with git.start("cat-file", "--batch", "--buffer", feed=feed, seconds=SECONDS) as running:
        while head := running.out.readline():
            made, _, rest = head.decode().rstrip("\n").partition(" ")
            kind, _, size = rest.partition(" ")
            data = running.out.read(int(size) + 1)[:-1] if kind == "blob" else b""
            if kind != "blob" or len(data) != int(size):
                raise Trouble(running.answer().reason if kind == "blob" else f"the object {made} is missing")
            yield made, data
        answer = running.answer()
        if answer.code:
            raise Trouble(answer.reason)
