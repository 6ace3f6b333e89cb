"""What jobs need of their workers, and the shares and limits of owners."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

WAITING = "NOT (state <> 'queued' OR held)"
RUNNING = "state = 'running'"


def upgrade() -> None:
    """Applies the change."""
    op.add_column("jobs", sa.Column("needs", sa.Text(), nullable=False, server_default=""))
    op.add_column("workers", sa.Column("offer", sa.JSON()))
    op.create_table(
        "owners",
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("share", sa.Double(), nullable=False, server_default=sa.text("1")),
        sa.Column("max_running", sa.Integer()),
        sa.Column("max_points", sa.BigInteger()),
        sa.Column("max_checkpoint_bytes", sa.BigInteger()),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("share > 0", name=op.f("ck_owners_share")),
        sa.CheckConstraint(
            "max_running >= 0 AND max_points >= 0 AND max_checkpoint_bytes >= 0",
            name=op.f("ck_owners_limits"),
        ),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_owners")),
    )
    _index("ix_jobs_lane", ["(queue || '|' || owner || '|' || needs)", "priority DESC", "id"])
    op.create_index(
        "ix_jobs_running",
        "jobs",
        ["owner"],
        sqlite_where=sa.text(RUNNING),
        postgresql_where=sa.text(RUNNING),
    )
    op.drop_index("ix_jobs_claim", "jobs")


def downgrade() -> None:
    """Takes it back; jobs that wait for a certain worker are given to any of their queue."""
    _index("ix_jobs_claim", ["queue", "priority DESC", "id"])
    op.drop_index("ix_jobs_running", "jobs")
    op.drop_index("ix_jobs_lane", "jobs")
    op.drop_table("owners")
    op.drop_column("workers", "offer")
    op.drop_column("jobs", "needs")


def _index(name: str, columns: list[str]) -> None:
    op.create_index(
        name,
        "jobs",
        [sa.text(each) for each in columns],
        sqlite_where=sa.text(WAITING),
        postgresql_where=sa.text(WAITING),
    )
