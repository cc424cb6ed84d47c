"""What should run, who said so, and how far each source has come."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from reconciler.db.tables.columns import instant, metadata

task_configs = Table(
    "task_configs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("spec", JSONB, nullable=False),
    Column("digest", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("revision", Text),
    instant("created_at", nullable=False, now=True),
    instant("updated_at", nullable=False, now=True),
)
# The few that wait for the success of others.
Index("task_configs_after", task_configs.c.name, postgresql_where=text("spec -> 'after' <> '[]'::jsonb"))
# And those that are paused after too many failures.
Index(
    "task_configs_pausing",
    task_configs.c.name,
    postgresql_where=text("spec -> 'pause_after_failures' <> 'null'::jsonb"),
)
# Those of whose runs somebody wants to hear.
Index("task_configs_notify", task_configs.c.name, postgresql_where=text("spec -> 'notify' <> 'null'::jsonb"))

task_revisions = Table(
    "task_revisions",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("spec", JSONB, nullable=False),
    Column("sync_id", BigInteger, nullable=False),
    instant("applied_at", nullable=False, now=True),
    instant("removed_at"),
    Column("source", Text, nullable=False),
    Column("path", Text, nullable=False),
    # The commit it came with: the row of its sync is forgotten earlier.
    Column("revision", Text),
)
Index("task_revisions_name", task_revisions.c.name, task_revisions.c.applied_at)

task_overrides = Table(
    "task_overrides",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text),
    Column("selector", JSONB),
    Column("kind", Text, nullable=False),
    Column("reason", Text),
    Column("actor", Text, nullable=False),
    instant("created_at", nullable=False, now=True),
    instant("expires_at"),
    instant("ended_at"),
)
Index("task_overrides_active", task_overrides.c.name, postgresql_where=text("ended_at is null"))
Index("task_overrides_selectors", task_overrides.c.id, postgresql_where=text("name is null and ended_at is null"))
# The pauses that cover instants not yet decided are looked up by name once they have ended, too.
Index("task_overrides_name", task_overrides.c.name, task_overrides.c.created_at)

syncs = Table(
    "syncs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("revision", Text),
    Column("author", Text),
    Column("subject", Text),
    Column("created", Integer, nullable=False, server_default=text("0")),
    Column("updated", Integer, nullable=False, server_default=text("0")),
    Column("deleted", Integer, nullable=False, server_default=text("0")),
    Column("adopted", Integer, nullable=False, server_default=text("0")),
    Column("plan", JSONB),
    Column("is_success", Boolean, nullable=False),
    Column("error", Text),
    Column("actor", Text, nullable=False),
    instant("started_at", nullable=False),
    instant("finished_at", nullable=False),
    # Why somebody let pass what a guard would have refused, or went back to an earlier revision.
    Column("reason", Text),
)
Index("syncs_source", syncs.c.source, syncs.c.started_at)

# How far each source has come, and how the last attempt ended.
sources = Table(
    "sources",
    metadata,
    Column("name", Text, primary_key=True),
    Column("place", Text, nullable=False),
    # The newest commit that was applied: what comes next has to descend from it.
    Column("revision", Text),
    instant("applied_at"),
    Column("sync_id", BigInteger),
    instant("tried_at"),
    Column("tried_revision", Text),
    Column("error", Text),
    # Held at an earlier revision by an operator, until what is at its head is newer than `pinned_while`.
    Column("pinned_revision", Text),
    Column("pinned_sync_id", BigInteger),
    Column("pinned_while", Text),
    instant("pinned_at"),
    Column("pinned_by", Text),
    Column("pin_reason", Text),
)

# What somebody changed by hand in a store, from when a pass found it to when it was put right.
drifts = Table(
    "drifts",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    instant("seen_at", nullable=False, now=True),
    instant("ended_at"),
    Column("ending", Text),
)
Index("drifts_open", drifts.c.name, drifts.c.side, unique=True, postgresql_where=text("ended_at is null"))
Index("drifts_seen", drifts.c.seen_at)
