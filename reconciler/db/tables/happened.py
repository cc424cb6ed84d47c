"""What is decided, runs and ran, who runs it, and what there was to tell."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, Integer, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from reconciler.db.tables.columns import instant, metadata

task_cursors = Table(
    "task_cursors",
    metadata,
    Column("name", Text, primary_key=True),
    instant("through", nullable=False, now=True),
    # Successes of the tasks named in `after` count only beyond this instant: those up to it are used up.
    instant("after_through"),
    postgresql_with={"fillfactor": "70"},
)

task_claims = Table(
    "task_claims",
    metadata,
    Column("name", Text, primary_key=True),
    instant("scheduled_for", primary_key=True),
    Column("token", Uuid),
    Column("runner_id", Uuid),
    instant("not_before", nullable=False, now=True),
    Column("queue", Text, nullable=False),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("attempts", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("params", JSONB),
    Column("trigger", Text, nullable=False),
    instant("replays"),
    Column("digest", Text, nullable=False),
    Column("exclusive", Boolean, nullable=False),
    instant("claimed_at"),
    instant("started_at"),
    Column("progress", JSONB),
    Column("cancel_requested", Text),
    Column("task", Text, nullable=False),
    # Waiting work of one priority goes in this order, the smallest first.
    Column("turn", BigInteger, nullable=False, server_default=text("0")),
    # What has not started by then is not started any more.
    instant("start_by"),
    # Somebody reads along: its output is published as it comes.
    Column("follow", Boolean, nullable=False, server_default=text("false")),
    # Who asked for it, where a person did.
    Column("actor", Text),
    postgresql_with={"fillfactor": "70"},
)
Index(
    "task_claims_one_owned",
    task_claims.c.name,
    unique=True,
    postgresql_where=text("exclusive and runner_id is not null"),
)
Index(
    "task_claims_waiting",
    task_claims.c.queue,
    task_claims.c.priority.desc(),
    task_claims.c.turn,
    postgresql_where=text("runner_id is null"),
)
Index("task_claims_runner", task_claims.c.runner_id)
Index(
    "task_claims_start_by",
    task_claims.c.start_by,
    postgresql_where=text("runner_id is null and start_by is not null"),
)
# Retries in back-off hold up what is new of their name.
Index(
    "task_claims_retried",
    task_claims.c.name,
    postgresql_where=text("exclusive and attempts <> '[]'::jsonb"),
)
# What its runner has to hear of.
Index(
    "task_claims_asked",
    task_claims.c.runner_id,
    postgresql_where=text("cancel_requested is not null or follow"),
)

task_executions = Table(
    "task_executions",
    metadata,
    Column("name", Text, primary_key=True),
    instant("scheduled_for", primary_key=True),
    Column("task", Text, nullable=False),
    instant("started_at", nullable=False),
    instant("finished_at", nullable=False),
    Column("is_success", Boolean, nullable=False),
    Column("error", Text),
    Column("traceback", Text),
    Column("result", JSONB),
    Column("log", Text),
    Column("attempts", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("trigger", Text, nullable=False),
    instant("replays"),
    Column("runner", Text),
    Column("token", Uuid),
    Column("digest", Text, nullable=False),
    Column("revision", Text),
    Column("actor", Text),
)
# One name is read by the primary key: a second index by name costs every finished run a tenth.
Index("task_executions_finished", task_executions.c.finished_at)
# A failure may be one row among millions of successes, so it has ways of its own.
Index(
    "task_executions_failed",
    task_executions.c.name,
    task_executions.c.scheduled_for,
    postgresql_where=text("not is_success"),
)
Index("task_executions_failed_finished", task_executions.c.finished_at, postgresql_where=text("not is_success"))
# Which runs replay another one: few among many.
Index(
    "task_executions_reruns",
    task_executions.c.name,
    task_executions.c.replays,
    postgresql_where=text("replays is not null"),
)
# Logs may go before their rows; a run that said nothing is not in here.
Index(
    "task_executions_log",
    task_executions.c.name,
    task_executions.c.scheduled_for,
    postgresql_where=text("log is not null or traceback is not null"),
)

task_skips = Table(
    "task_skips",
    metadata,
    Column("name", Text, primary_key=True),
    instant("first", primary_key=True),
    instant("last", nullable=False),
    Column("count", BigInteger),
    Column("reason", Text, nullable=False),
    Column("detail", Text),
)
# Those that somebody may want to hear of.
Index("task_skips_late", task_skips.c.last, postgresql_where=text("reason in ('missed', 'deadline')"))

runners = Table(
    "runners",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queues", JSONB, nullable=False),
    Column("tasks", JSONB, nullable=False),
    instant("started_at", nullable=False, now=True),
    # A counter, and how many milliseconds it may stand still before the runner counts as dead.
    Column("beat", BigInteger, nullable=False, server_default=text("0")),
    Column("lease", Integer, nullable=False, server_default=text("30000")),
    # What is known of when it was there: its last beat by the server's clock, and its end, with how it ended.
    instant("seen_at", nullable=False, now=True),
    instant("ended_at"),
    Column("ending", Text),
)
Index("runners_there", runners.c.id, postgresql_where=text("ended_at is null"))

# When a runner could not decide or record, and why.
outages = Table(
    "outages",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("runner", Text, nullable=False),
    Column("what", Text, nullable=False),
    instant("began_at", nullable=False),
    instant("ended_at", nullable=False, now=True),
)
Index("outages_ended", outages.c.ended_at)

# What somebody is told of, once each: from when it began to when it was over.
incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    instant("scheduled_for"),
    Column("detail", Text),
    instant("opened_at", nullable=False, now=True),
    instant("closed_at"),
    Column("closing", Text),
    # Each of the two notices, until it is sent or given up; `due_at` is when to try the next one.
    instant("opening_told_at"),
    instant("closing_told_at"),
    instant("due_at", now=True),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    # The targets that have the notice which is under way already: a try for the others does not tell these again.
    Column("told", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
)
Index("incidents_open", incidents.c.name, incidents.c.kind, unique=True, postgresql_where=text("closed_at is null"))
Index("incidents_due", incidents.c.due_at, postgresql_where=text("due_at is not null"))
Index("incidents_name", incidents.c.name, incidents.c.opened_at)
