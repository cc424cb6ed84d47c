"""What git can be held to: how far each source has come, what drifted, and whose spec a revision was.

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# What is in force has the source and the path of its config: it may have been taken over or moved since, which left no
# revision. What was before has the source of the sync that applied it. The commit is that of the sync, or where its row
# is gone that of the config.
FILL_REVISIONS = """
with newest as (
    select distinct on (t.name) t.id, t.name, t.digest
    from task_revisions t order by t.name, t.applied_at desc, t.id desc
), known as (
    select t.id, c.source from task_revisions t
    left join newest n on n.id = t.id
    left join task_configs c on c.name = n.name and c.digest = n.digest
)
update task_revisions r set
    source = coalesce(
        k.source,
        (select s.source from syncs s where s.id = r.sync_id),
        (select c.source from task_configs c where c.name = r.name), 'default'),
    path = coalesce((select c.path from task_configs c where c.name = r.name and c.digest = r.digest), ''),
    revision = coalesce(
        (select s.revision from syncs s where s.id = r.sync_id),
        (select c.revision from task_configs c where c.name = r.name and c.digest = r.digest))
from known k where k.id = r.id
"""

# The last good sync of each source says how far it has come; whoever applied a dirty tree stood at its commit.
FILL_SOURCES = """
insert into sources (name, place, revision, applied_at, sync_id, tried_at, tried_revision)
select distinct on (s.source)
    s.source, '', regexp_replace(s.revision, '-dirty$', ''), s.finished_at, s.id, s.finished_at, s.revision
from syncs s where s.is_success order by s.source, s.started_at desc, s.id desc
"""


def upgrade() -> None:
    op.add_column("task_revisions", sa.Column("source", sa.Text))
    op.add_column("task_revisions", sa.Column("path", sa.Text))
    op.add_column("task_revisions", sa.Column("revision", sa.Text))
    op.add_column("syncs", sa.Column("reason", sa.Text))
    create_sources()
    create_drifts()
    op.execute(FILL_REVISIONS)
    op.execute(FILL_SOURCES)
    op.alter_column("task_revisions", "source", nullable=False)
    op.alter_column("task_revisions", "path", nullable=False)


def downgrade() -> None:
    op.drop_table("drifts")
    op.drop_table("sources")
    op.drop_column("syncs", "reason")
    op.drop_column("task_revisions", "revision")
    op.drop_column("task_revisions", "path")
    op.drop_column("task_revisions", "source")


def instant(name: str, *, nullable: bool = True, now: bool = False) -> sa.Column[object]:
    default = sa.text("clock_timestamp()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


def create_sources() -> None:
    op.create_table(
        "sources",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("revision", sa.Text),
        instant("applied_at"),
        sa.Column("sync_id", sa.BigInteger),
        instant("tried_at"),
        sa.Column("tried_revision", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("pinned_revision", sa.Text),
        sa.Column("pinned_sync_id", sa.BigInteger),
        sa.Column("pinned_while", sa.Text),
        instant("pinned_at"),
        sa.Column("pinned_by", sa.Text),
        sa.Column("pin_reason", sa.Text),
    )


def create_drifts() -> None:
    op.create_table(
        "drifts",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("detail", postgresql.JSONB, nullable=False),
        instant("seen_at", nullable=False, now=True),
        instant("ended_at"),
        sa.Column("ending", sa.Text),
    )
    op.create_index(
        "drifts_open", "drifts", ["name", "side"], unique=True, postgresql_where=sa.text("ended_at is null")
    )
    op.create_index("drifts_seen", "drifts", ["seen_at"])
