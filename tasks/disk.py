"""Watch how full a disk is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from reconciler.registry import task

UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


class DiskFullError(Exception):
    """Less is free than there should be."""


@task("disk.free")
def free(path: Path = Path(), *, at_least: str = "10%") -> dict[str, float]:
    """Fail when less than `at_least` is free where `path` lies: a share like `10%`, or a size like `5GB`.

    Free is what a plain user can still write. The result has `free_bytes` and `free_percent`.
    """
    usage = shutil.disk_usage(path)
    needed = _bytes(at_least, usage.total)
    share = 100 * usage.free / usage.total if usage.total else 0.0
    print(f"{path.resolve()}: {usage.free / 10**9:.1f} of {usage.total / 10**9:.1f} GB free ({share:.0f}%)")
    if usage.free < needed:
        raise DiskFullError(f"{usage.free / 10**9:.2f} GB ({share:.1f}%) free at {path}, wanted {at_least}")
    return {"free_bytes": usage.free, "free_percent": round(share, 1)}


def _bytes(text: str, total: int) -> float:
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?)\s*(%|[kMGT]?B|[KMGT]iB)", text)
    if match is None or (match[2] == "%" and float(match[1]) > 100):
        raise ValueError(f"at_least {text!r} is neither a share nor a size; examples: '10%', '5GB', '500MiB'")
    number, unit = float(match[1]), match[2]
    return total * number / 100 if unit == "%" else number * UNITS[unit]
