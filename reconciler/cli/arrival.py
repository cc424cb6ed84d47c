"""Has a commit arrived in PostgreSQL? Judged from how far its source says it has come, asked again and again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.cli.output import note
from reconciler.durations import span
from reconciler.errors import ReconcilerError, StoreUnavailable
from reconciler.lines import first_line, of_source

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.db.sources import Source
    from reconciler.db.syncs import Sync
    from reconciler.gitrepo import Origin

POLL = 0.3
APPLIED, FAILED, REFUSED = 0, 1, 3
LONGEST = 1000
Upshot = tuple[int, str]


async def arrival(link: Link, origin: Origin, source: str, commit: str, timeout: timedelta) -> Upshot:
    """The exit code and the line that says why; each change on the way there is a note.

    `origin` is asked what descends from what, as far as the git of here can tell.
    """
    watching = _Watching(link, origin, source, commit)
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            return await watching.until_known()
    except TimeoutError:
        return FAILED, f"reconciler: wait: {commit[:7]} is not applied after {span(timeout)}: {watching.said}"


def judged(row: Source | None, last: Sync | None, commit: str, *, is_behind: bool) -> Upshot | None:
    """What is known of the commit; None: not yet. `is_behind`: the source is at a commit that descends from it."""
    if row is None:
        return None
    short = commit[:7]
    # A late attempt at it may be refused because a newer one is in force, which has it in it.
    if row.error and _is(row.tried_revision, commit) and not is_behind:
        plan = (last.plan or {}) if last and _is(last.revision, commit) else {}
        code, word = (REFUSED, "refused") if plan.get("refusals") else (FAILED, "failed")
        return code, f"reconciler: wait: {short} {word}: {first_line(row.error, LONGEST)}"
    if not (is_behind or _is(row.revision, commit)):
        return None
    if row.pin:
        release = of_source("reconciler rollback --release", row.name)
        return FAILED, f"reconciler: wait: {short}: the source is {row.pin.text}: {release}"
    newer = f", with {row.revision[:7]}" if row.revision and not _is(row.revision, commit) else ""
    return APPLIED, f"✓ {short} is applied{newer}"


def state(row: Source | None, source: str) -> str:
    """Where the source is, for whoever waits."""
    if row is None or (row.revision is None and row.tried_at is None):
        return f"nothing of source '{source}' was applied yet"
    at = f"source '{source}' is at {row.revision[:7]}" if row.revision else f"source '{source}' has no revision"
    if not row.error:
        return at
    tried = f" at {row.tried_revision[:7]}" if row.tried_revision else ""
    return f"{at}; the last attempt{tried} failed: {first_line(row.error, LONGEST)}"


def _is(revision: str | None, commit: str) -> bool:
    return bool(revision) and str(revision).removesuffix("-dirty").startswith(commit)


@dataclass(slots=True)
class _Watching:
    link: Link
    origin: Origin
    source: str
    commit: str
    said: str = ""
    _is_away: bool = False
    _behind: dict[str, bool] = field(default_factory=dict)

    async def until_known(self) -> Upshot:
        while True:
            if (found := await self._look()) is not None:
                return found
            await asyncio.sleep(POLL)

    async def _look(self) -> Upshot | None:
        from reconciler.db import sources, syncs

        try:
            row = await sources.one(self.link, self.source)
            last = await syncs.latest(self.link, self.source) if row and row.error else None
        except StoreUnavailable as error:
            if not self._is_away:
                note(f"{error}; waiting until it answers")
            self._is_away = True
            return None
        self._is_away = False
        found = judged(row, last, self.commit, is_behind=await self._has_passed(row))
        if found is None and self.said != (said := state(row, self.source)):
            self.said = said
            note(said)
        return found

    async def _has_passed(self, row: Source | None) -> bool:
        """Whether the source's commit descends from the one that is waited for; asked once for each."""
        from reconciler.gitrepo import Revision

        if row is None or row.revision is None or _is(row.revision, self.commit):
            return False
        if row.revision not in self._behind:
            revision = Revision(row.revision)
            try:
                found = await asyncio.to_thread(self.origin.descent, self.commit, revision, deepen=False)
            except ReconcilerError:
                self._behind[row.revision] = False
            else:
                self._behind[row.revision] = found.kind in ("same", "descends")
        return self._behind[row.revision]
