"""Does a source stand as it was read? One short answer instead of a row for each of its configs.

Most passes find nothing to do, in a process that has runs to start meanwhile: so the server makes the comparison.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from reconciler.db.link import Statements

# Names are compared byte by byte, as Python orders text.
FINGERPRINT: Final = """
select encode(sha256(convert_to(
    string_agg(concat_ws(chr(31), name, digest, path), chr(30) order by name collate "C"), 'UTF8')), 'hex')
from task_configs where source = %(source)s
"""


async def fingerprint(tx: Statements, source: str) -> str | None:
    """Of names, digests and paths of a source's configs; None where it has none."""
    [(found,)] = await tx.run(FINGERPRINT, {"source": source})
    return str(found) if found else None


def fingerprint_of(rows: Iterable[tuple[str, str, str]]) -> str:
    """The same of (name, digest, path) as they were read."""
    lines = "\x1e".join("\x1f".join(row) for row in sorted(rows))
    return hashlib.sha256(lines.encode(errors="surrogatepass")).hexdigest()
