"""Look after this service itself: its health.

The runner tells its children where its database is, in RECONCILER_DATABASE_URL.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.registry import task

if TYPE_CHECKING:
    from reconciler.db.link import Link

# The clock is PostgreSQL's, as for everything that the service itself decides. What a service that has only just been
# started has not done yet says nothing about it.
HEALTH = """
select (select max(finished_at) from task_executions
        where is_success and finished_at > statement_timestamp() - %(within)s),
       (select count(*) from task_claims
        where runner_id is null and not_before < statement_timestamp() - %(within)s),
       (select count(*) from runners where ended_at is null),
       (select max(started_at) < statement_timestamp() - %(within)s from runners
        where ended_at is null)
"""


class UnhealthyError(Exception):
    """The service does not do what it is there for."""


@task("service.check")
async def check(*, within: timedelta = timedelta(minutes=5)) -> dict[str, int]:
    """Fail unless something has succeeded `within` this time, and no work that is due waits for longer.

    As long as a runner has been there for less than that, only the waiting work counts.
    """
    link = _own()
    try:
        [(succeeded_at, overdue, runners, is_settled)] = await link.run(HEALTH, {"within": within})
    finally:
        await link.close()
    print(f"last success {succeeded_at or 'none'}, {overdue} overdue, {runners} runners")
    if overdue:
        raise UnhealthyError(f"{overdue} occurrences have waited longer than they should")
    if succeeded_at is None and is_settled:
        raise UnhealthyError("nothing has succeeded for longer than it should take")
    return {"overdue": overdue, "runners": runners}


def _own() -> Link:
    from reconciler.db.link import Link

    url = os.environ.get("RECONCILER_DATABASE_URL")
    if not url:
        raise UnhealthyError("RECONCILER_DATABASE_URL is not set; a runner sets it for its tasks")
    return Link(url)
