"""How much memory one call may take: a soft limit of the process that it has to itself, for as long as it runs."""

from __future__ import annotations

import errno
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Linux counts all memory of its own that a process may write; elsewhere that is left to the address space.
KIND = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
UNITS = {"T": 1024**4, "G": 1024**3, "M": 1024**2, "K": 1024, "": 1}
# What libraries say, in the log, before they end their process because an allocation failed.
LAST_WORDS = ("MemoryError", "bad_alloc", "Cannot allocate memory", "memory allocation of", "ut of memory")


@contextmanager
def limited(size: int) -> Iterator[None]:
    """While inside, this process gets no more than `size` bytes in all; what it starts has that limit as well."""
    soft, hard = resource.getrlimit(KIND)
    with suppress(ValueError, OSError):  # a system that does not know it, or refuses one below what is in use
        resource.setrlimit(KIND, (_least(size, soft, hard), hard))
    try:
        yield
    finally:
        with suppress(ValueError, OSError):
            resource.setrlimit(KIND, (soft, hard))


def is_of_memory(error: BaseException) -> bool:
    """Whether something failed because there was no memory for it."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def went_beyond(size: int) -> str:
    unit, factor = next((unit, factor) for unit, factor in UNITS.items() if size % factor == 0)
    return f"went beyond memory_limit {size // factor}{unit}"


def in_use() -> int:
    """The bytes that count against the limit at this moment; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[5])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * resource.getpagesize()


def _least(size: int, *limits: int) -> int:
    return min([size, *(limit for limit in limits if limit != resource.RLIM_INFINITY)])
