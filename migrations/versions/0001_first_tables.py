"""The first tables.

Revision 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "task_configs",
    "task_cursors",
    "task_claims",
    "task_executions",
    "task_skips",
    "task_revisions",
    "task_overrides",
    "syncs",
    "runners",
)


def upgrade() -> None:
    create_task_configs()
    create_task_cursors()
    create_task_claims()
    create_task_executions()
    create_task_skips()
    create_task_revisions()
    create_task_overrides()
    create_syncs()
    create_runners()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def instant(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[object]:
    default = sa.text("clock_timestamp()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


def create_task_configs() -> None:
    op.create_table(
        "task_configs",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("spec", JSONB, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("revision", sa.Text),
        instant("created_at", now=True),
        instant("updated_at", now=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def create_task_cursors() -> None:
    op.create_table(
        "task_cursors",
        sa.Column("name", sa.Text, nullable=False),
        instant("through", now=True),
        sa.PrimaryKeyConstraint("name"),
        postgresql_with={"fillfactor": "70"},
    )


def create_task_claims() -> None:
    op.create_table(
        "task_claims",
        sa.Column("name", sa.Text, nullable=False),
        instant("scheduled_for"),
        sa.Column("token", sa.Uuid),
        sa.Column("runner_id", sa.Uuid),
        instant("not_before", now=True),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", JSONB, server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("params", JSONB),
        sa.Column("trigger", sa.Text, nullable=False),
        instant("replays", nullable=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("exclusive", sa.Boolean, nullable=False),
        instant("claimed_at", nullable=True),
        instant("started_at", nullable=True),
        sa.Column("progress", JSONB),
        sa.Column("cancel_requested", sa.Text),
        sa.PrimaryKeyConstraint("name", "scheduled_for"),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "task_claims_one_owned",
        "task_claims",
        ["name"],
        unique=True,
        postgresql_where=sa.text("exclusive and runner_id is not null"),
    )
    op.create_index("task_claims_runner", "task_claims", ["runner_id"])
    op.create_index(
        "task_claims_waiting",
        "task_claims",
        ["queue", sa.text("priority desc"), "not_before"],
        postgresql_where=sa.text("runner_id is null"),
    )


def create_task_executions() -> None:
    op.create_table(
        "task_executions",
        sa.Column("name", sa.Text, nullable=False),
        instant("scheduled_for"),
        sa.Column("task", sa.Text, nullable=False),
        instant("started_at"),
        instant("finished_at"),
        sa.Column("is_success", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("traceback", sa.Text),
        sa.Column("result", JSONB),
        sa.Column("log", sa.Text),
        sa.Column("attempts", JSONB, server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        instant("replays", nullable=True),
        sa.Column("runner", sa.Text),
        sa.Column("token", sa.Uuid),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("revision", sa.Text),
        sa.PrimaryKeyConstraint("name", "scheduled_for"),
    )
    op.create_index(
        "task_executions_failed",
        "task_executions",
        ["name", "scheduled_for"],
        postgresql_where=sa.text("not is_success"),
    )
    op.create_index(
        "task_executions_failed_finished",
        "task_executions",
        ["finished_at"],
        postgresql_where=sa.text("not is_success"),
    )
    op.create_index("task_executions_finished", "task_executions", ["finished_at"])


def create_task_skips() -> None:
    op.create_table(
        "task_skips",
        sa.Column("name", sa.Text, nullable=False),
        instant("first"),
        instant("last"),
        sa.Column("count", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text),
        sa.PrimaryKeyConstraint("name", "first"),
    )


def create_task_revisions() -> None:
    op.create_table(
        "task_revisions",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("spec", JSONB, nullable=False),
        sa.Column("sync_id", sa.BigInteger, nullable=False),
        instant("applied_at", now=True),
        instant("removed_at", nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("task_revisions_name", "task_revisions", ["name", "applied_at"])


def create_task_overrides() -> None:
    op.create_table(
        "task_overrides",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("selector", JSONB),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        instant("created_at", now=True),
        instant("expires_at", nullable=True),
        instant("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("task_overrides_active", "task_overrides", ["name"], postgresql_where=sa.text("ended_at is null"))
    op.create_index("task_overrides_name", "task_overrides", ["name", "created_at"])


def create_syncs() -> None:
    op.create_table(
        "syncs",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("revision", sa.Text),
        sa.Column("author", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("created", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("updated", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("deleted", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("adopted", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("plan", JSONB),
        sa.Column("is_success", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        instant("started_at"),
        instant("finished_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("syncs_source", "syncs", ["source", "started_at"])


def create_runners() -> None:
    op.create_table(
        "runners",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("queues", JSONB, nullable=False),
        sa.Column("tasks", JSONB, nullable=False),
        instant("started_at", now=True),
        sa.Column("beat", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("lease", sa.Integer, server_default=sa.text("30000"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
