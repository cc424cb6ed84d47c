"""A disk that is full, for one server: a small file system of its own where root may mount one, else a library that
refuses whatever would make a file grow; where there is no compiler either, the test is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SIZE = 160 << 20
BLOCK = bytes(1 << 16)
REFUSES = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Whether a write up to `end` would make a regular file grow while the flag file is there. */
static int is_full(int fd, off_t end) {
    struct stat file;
    const char *flag = getenv("DISK_IS_FULL");
    return flag && access(flag, F_OK) == 0 && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && end > file.st_size;
}
#define REFUSE(fd, end) if (is_full(fd, end)) { errno = ENOSPC; return -1; }

static off_t sum(const struct iovec *parts, int count) {
    off_t total = 0;
    for (int n = 0; n < count; n++) total += parts[n].iov_len;
    return total;
}
ssize_t pwrite(int fd, const void *data, size_t count, off_t at) {
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (!next) next = dlsym(RTLD_NEXT, "pwrite");
    REFUSE(fd, at + (off_t)count)
    return next(fd, data, count, at);
}
ssize_t pwrite64(int fd, const void *data, size_t count, off_t at) { return pwrite(fd, data, count, at); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    static ssize_t (*next)(int, const struct iovec *, int, off_t);
    if (!next) next = dlsym(RTLD_NEXT, "pwritev");
    REFUSE(fd, at + sum(parts, count))
    return next(fd, parts, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) { return pwritev(fd, parts, count, at); }
int posix_fallocate(int fd, off_t at, off_t count) {
    static int (*next)(int, off_t, off_t);
    if (!next) next = dlsym(RTLD_NEXT, "posix_fallocate");
    if (is_full(fd, at + count)) return ENOSPC;
    return next(fd, at, count);
}
int posix_fallocate64(int fd, off_t at, off_t count) { return posix_fallocate(fd, at, count); }
"""


class Disk:
    """Where a server keeps its data; `environment` is for the server."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory, self.environment = directory, environment

    def fill(self) -> None:
        raise NotImplementedError

    def free(self) -> None:
        raise NotImplementedError


class Mounted(Disk):
    """Filled by a file that takes all that is left."""

    def fill(self) -> None:
        with suppress(OSError), (self.directory / "ballast").open("ab", buffering=0) as file:
            while True:
                file.write(BLOCK)

    def free(self) -> None:
        (self.directory / "ballast").unlink()


class Refusing(Disk):
    """Full as soon as a file says so."""

    @property
    def _flag(self) -> Path:
        return Path(self.environment["DISK_IS_FULL"])

    def fill(self) -> None:
        self._flag.touch()

    def free(self) -> None:
        self._flag.unlink()


@contextmanager
def small_disk(directory: Path) -> Iterator[Disk]:
    """A disk in that directory, which has to be empty; skips the test where this machine allows none."""
    if os.geteuid() == 0 and _mounts(directory):
        try:
            yield Mounted(directory, {})
        finally:
            subprocess.run(["umount", "--lazy", str(directory)], check=True)
        return
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("a full disk takes root, who may mount a tmpfs, or a C compiler: neither is here")
    source, library = directory / "refuses.c", directory / "refuses.so"
    source.write_text(REFUSES)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    library.chmod(0o755)
    yield Refusing(directory, {"LD_PRELOAD": str(library), "DISK_IS_FULL": str(directory / "full")})


def _mounts(directory: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(directory)]
    with suppress(FileNotFoundError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False
