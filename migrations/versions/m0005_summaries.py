"""Summaries of blocks of series, and which jobs' series have been made compact."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WAITING = "finished_at IS NOT NULL AND compacted < version"


def upgrade() -> None:
    """Applies the change."""
    op.add_column(
        "jobs", sa.Column("compacted", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    )
    op.create_index(
        "ix_jobs_compaction",
        "jobs",
        ["id"],
        unique=False,
        sqlite_where=sa.text(WAITING),
        postgresql_where=sa.text(WAITING),
    )
    op.create_table(
        "summaries",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("series", sa.String(length=16), nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("stop", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=False),
        sa.Column("merged", sa.Boolean(), nullable=False),
        sa.Column("data", sa.LargeBinary()),
        sa.CheckConstraint(
            "start >= 0 AND stop > start AND points >= 0", name=op.f("ck_summaries_rows")
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_summaries_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "job_id", "series", "repeat", "name", "level", "start", name=op.f("pk_summaries")
        ),
    )


def downgrade() -> None:
    """Takes it back; chunks that were merged stay so, older code reads them."""
    op.drop_table("summaries")
    op.drop_index("ix_jobs_compaction", "jobs")
    op.drop_column("jobs", "compacted")
