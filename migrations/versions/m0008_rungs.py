"""Where the jobs of sweeps are compared, and what was decided there."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the change."""
    op.create_table(
        "rungs",
        sa.Column("sweep_id", sa.String(length=64), nullable=False),
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("iteration", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("best", sa.Double()),
        sa.Column("mean", sa.Double()),
        sa.Column("stop", sa.Boolean()),
        sa.Column("why", sa.Text()),
        sa.CheckConstraint(
            "(stop IS NULL) = (why IS NULL)", name=op.f("ck_rungs_decided_has_a_reason")
        ),
        sa.ForeignKeyConstraint(
            ["sweep_id"], ["sweeps.id"], name=op.f("fk_rungs_sweep_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_rungs_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sweep_id", "place", "job_id", name=op.f("pk_rungs")),
    )
    numbers = ["value", "best", "mean"]
    op.create_index("ix_rungs_place", "rungs", ["sweep_id", "place", "job_id", *numbers])
    op.create_index("ix_rungs_job", "rungs", ["job_id", "sweep_id", "iteration"])


def downgrade() -> None:
    """Takes it back; jobs that were stopped stay so, the others go on to their ends."""
    op.drop_table("rungs")
