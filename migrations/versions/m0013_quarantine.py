"""Devices that lose job after job: what counts against them, and until when they are left out."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the change."""
    op.add_column("workers", sa.Column("unit", sa.String(length=200)))
    op.add_column("attempts", sa.Column("led_by", sa.String(length=64)))
    op.create_table(
        "strikes",
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("unit", "job_id", name=op.f("pk_strikes")),
    )
    op.create_index("ix_strikes_job_id", "strikes", ["job_id"])
    op.create_table(
        "quarantines",
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("level > 0", name=op.f("ck_quarantines_level")),
        sa.PrimaryKeyConstraint("unit", name=op.f("pk_quarantines")),
    )


def downgrade() -> None:
    """Takes it back; what was left out is given jobs again."""
    op.drop_table("quarantines")
    op.drop_index("ix_strikes_job_id", "strikes")
    op.drop_table("strikes")
    op.drop_column("attempts", "led_by")
    op.drop_column("workers", "unit")
