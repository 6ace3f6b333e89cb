"""What owners keep: how much is counted, and the rules by which it is deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

FINISHED = "finished_at IS NOT NULL"


def upgrade() -> None:
    """Applies the change."""
    op.create_table(
        "usage",
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("checkpoint_bytes", sa.BigInteger(), nullable=False),
        sa.Column("counted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_usage")),
    )
    op.create_table(
        "retention",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("after_days", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=64)),
        sa.Column("value", sa.String(length=200)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("what IN ('checkpoints', 'series')", name=op.f("ck_retention_what")),
        sa.CheckConstraint("after_days >= 0", name=op.f("ck_retention_days")),
        sa.CheckConstraint("value IS NULL OR tag IS NOT NULL", name=op.f("ck_retention_tag")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention")),
    )
    op.create_index("ix_retention_owner", "retention", ["owner", "id"])
    op.add_column("jobs", sa.Column("series_deleted_at", sa.BigInteger()))
    op.create_index(
        "ix_jobs_finished",
        "jobs",
        ["owner", "finished_at"],
        sqlite_where=sa.text(FINISHED),
        postgresql_where=sa.text(FINISHED),
    )


def downgrade() -> None:
    """Takes it back; what was deleted stays so."""
    op.drop_index("ix_jobs_finished", "jobs")
    op.drop_column("jobs", "series_deleted_at")
    op.drop_table("retention")
    op.drop_table("usage")
