"""Which account a server runs under, and how a child gets there.

PostgreSQL refuses to run as root. For root it therefore runs as `postgres` or `nobody`, but keeps root's way
through directories: a project or a virtual environment under /root works, and nothing is made readable for
others. Whoever can reach such a server's socket or files could use that way too, so they stay in directories of root.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_CAP_AMBIENT = 1, 8, 27, 28, 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522
ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """`keeps_reach`: may pass directories that its user may not."""

    uid: int
    gid: int
    keeps_reach: bool


def account_for(data: Path, run: Path) -> Account | None:
    """Who a server should run as; None when that is who we are already. LookupError: there is no such account."""
    if os.geteuid() != 0:
        return None
    uid, gid = _owner(data)
    # A socket in a directory of another user must not lend root's reach to that user.
    return Account(uid, gid, run.stat().st_uid == 0 and _can_keep_reach(uid, gid))


def _owner(data: Path) -> tuple[int, int]:
    """A data directory stays with its owner, be it a plain user whose directory root looks at."""
    if data.is_dir() and (found := data.stat()).st_uid != 0:
        return found.st_uid, found.st_gid
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return entry.pw_uid, entry.pw_gid
    raise LookupError(f"PostgreSQL does not run as root, and there is no user {' or '.join(ACCOUNTS)}")


def _can_keep_reach(uid: int, gid: int) -> bool:
    """Tried in a child: a container may forbid any of the steps."""
    if not sys.platform.startswith("linux"):
        return False
    child = os.fork()
    if child == 0:
        status = 1
        try:
            become(Account(uid, gid, keeps_reach=True))
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def become(account: Account) -> None:
    """Turn this process into that account, for good. OSError where the system does not allow it."""
    if account.keeps_reach:
        # access(2) asks the real user and drops the capabilities for the question, unless this bit is set; and
        # with it set no change of user drops any, so _limit_capabilities must come after and must succeed.
        _prctl(PR_SET_SECUREBITS, _prctl(PR_GET_SECUREBITS) | SECBIT_NO_SETUID_FIXUP)
        _prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setregid(account.gid, account.gid)
    os.setreuid(account.uid, account.uid)
    if account.keeps_reach:
        _limit_capabilities()


def die_with(parent: int, by: signal.Signals) -> None:
    """Have this process get `by` when its parent ends, however it ends. Linux only; elsewhere nothing."""
    if sys.platform.startswith("linux"):
        _prctl(PR_SET_PDEATHSIG, by)
        if os.getppid() != parent:
            os._exit(1)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _limit_capabilities() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Header(CAPABILITY_VERSION_3, 0)
    held = (_Sets * 2)()
    _checked(libc.capget(ctypes.byref(header), held))
    # Docker grants root only the first of the two, and it is enough.
    mask = held[0].permitted & (1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH)
    if not mask & 1 << CAP_DAC_OVERRIDE:
        raise PermissionError("this root may not pass directories itself")
    _checked(libc.capset(ctypes.byref(header), (_Sets * 2)(_Sets(mask, mask, mask), _Sets(0, 0, 0))))
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if mask & 1 << capability:
            _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *values: int) -> int:
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    return _checked(ctypes.CDLL(None, use_errno=True).prctl(option, *padded))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
