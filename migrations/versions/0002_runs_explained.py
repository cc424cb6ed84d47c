"""What explains every run: turns and deadlines of waiting work, who asked, when runners were there, incidents.

Revision 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "task_configs_after", "task_configs", ["name"], postgresql_where=sa.text("spec -> 'after' <> '[]'::jsonb")
    )
    op.create_index(
        "task_configs_pausing",
        "task_configs",
        ["name"],
        postgresql_where=sa.text("spec -> 'pause_after_failures' <> 'null'::jsonb"),
    )
    op.create_index(
        "task_configs_notify", "task_configs", ["name"], postgresql_where=sa.text("spec -> 'notify' <> 'null'::jsonb")
    )
    op.add_column("task_cursors", instant("after_through", nullable=True))
    extend_claims()
    extend_executions()
    op.create_index(
        "task_skips_late", "task_skips", ["last"], postgresql_where=sa.text("reason in ('missed', 'deadline')")
    )
    op.create_index(
        "task_overrides_selectors",
        "task_overrides",
        ["id"],
        postgresql_where=sa.text("name is null and ended_at is null"),
    )
    extend_runners()
    create_outages()
    create_incidents()


def downgrade() -> None:
    op.drop_table("incidents")
    op.drop_table("outages")
    op.drop_index("runners_there", "runners")
    # To the version before, a runner that has ended would be one that died.
    op.execute("delete from runners where ended_at is not null")
    for column in ("ending", "ended_at", "seen_at"):
        op.drop_column("runners", column)
    op.drop_index("task_overrides_selectors", "task_overrides")
    op.drop_index("task_skips_late", "task_skips")
    op.drop_index("task_executions_log", "task_executions")
    op.drop_index("task_executions_reruns", "task_executions")
    op.drop_column("task_executions", "actor")
    for index in ("task_claims_asked", "task_claims_retried", "task_claims_start_by", "task_claims_waiting"):
        op.drop_index(index, "task_claims")
    create_waiting_index(sa.text("not_before"))
    for column in ("actor", "follow", "start_by", "turn", "task"):
        op.drop_column("task_claims", column)
    op.drop_column("task_cursors", "after_through")
    op.drop_index("task_configs_notify", "task_configs")
    op.drop_index("task_configs_pausing", "task_configs")
    op.drop_index("task_configs_after", "task_configs")


def instant(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[object]:
    default = sa.text("clock_timestamp()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


def create_waiting_index(order: sa.TextClause) -> None:
    op.create_index(
        "task_claims_waiting",
        "task_claims",
        ["queue", sa.text("priority DESC"), order],
        postgresql_where=sa.text("runner_id is null"),
    )


def extend_claims() -> None:
    op.add_column("task_claims", sa.Column("task", sa.Text))
    # What is decided already runs by the spec that it was decided with.
    op.execute(
        """
        update task_claims c set task = coalesce(
            (select r.spec ->> 'task' from task_revisions r where r.name = c.name and r.digest = c.digest limit 1), '')
        """
    )
    op.alter_column("task_claims", "task", nullable=False)
    op.add_column("task_claims", sa.Column("turn", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.add_column("task_claims", instant("start_by", nullable=True))
    op.add_column("task_claims", sa.Column("follow", sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.add_column("task_claims", sa.Column("actor", sa.Text))
    op.drop_index("task_claims_waiting", "task_claims")
    create_waiting_index(sa.text("turn"))
    op.create_index(
        "task_claims_start_by",
        "task_claims",
        ["start_by"],
        postgresql_where=sa.text("runner_id is null and start_by is not null"),
    )
    op.create_index(
        "task_claims_retried",
        "task_claims",
        ["name"],
        postgresql_where=sa.text("exclusive and attempts <> '[]'::jsonb"),
    )
    op.create_index(
        "task_claims_asked",
        "task_claims",
        ["runner_id"],
        postgresql_where=sa.text("cancel_requested is not null or follow"),
    )


def extend_executions() -> None:
    op.add_column("task_executions", sa.Column("actor", sa.Text))
    op.create_index(
        "task_executions_reruns",
        "task_executions",
        ["name", "replays"],
        postgresql_where=sa.text("replays is not null"),
    )
    op.create_index(
        "task_executions_log",
        "task_executions",
        ["name", "scheduled_for"],
        postgresql_where=sa.text("log is not null or traceback is not null"),
    )


def extend_runners() -> None:
    op.add_column("runners", instant("seen_at", now=True))
    op.add_column("runners", instant("ended_at", nullable=True))
    op.add_column("runners", sa.Column("ending", sa.Text))
    op.create_index("runners_there", "runners", ["id"], postgresql_where=sa.text("ended_at is null"))


def create_outages() -> None:
    op.create_table(
        "outages",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("runner", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        instant("began_at"),
        instant("ended_at", now=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outages_ended", "outages", ["ended_at"])


def create_incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        instant("scheduled_for", nullable=True),
        sa.Column("detail", sa.Text),
        instant("opened_at", now=True),
        instant("closed_at", nullable=True),
        sa.Column("closing", sa.Text),
        instant("opening_told_at", nullable=True),
        instant("closing_told_at", nullable=True),
        instant("due_at", nullable=True, now=True),
        sa.Column("tries", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("told", postgresql.JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "incidents_open", "incidents", ["name", "kind"], unique=True, postgresql_where=sa.text("closed_at is null")
    )
    op.create_index("incidents_due", "incidents", ["due_at"], postgresql_where=sa.text("due_at is not null"))
    op.create_index("incidents_name", "incidents", ["name", "opened_at"])
