"""The request that submitted a job, and what workers count."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the change; workers of the version before go on beside it, uncounted."""
    op.add_column("jobs", sa.Column("request", sa.String(length=128)))
    op.add_column("jobs", sa.Column("traceparent", sa.String(length=55)))
    op.add_column("workers", sa.Column("tallies", sa.JSON()))
    op.create_table(
        "tallies",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("value >= 0", name=op.f("ck_tallies_counts")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tallies")),
    )


def downgrade() -> None:
    """Takes it back; counting begins anew at the next upgrade."""
    op.drop_table("tallies")
    op.drop_column("workers", "tallies")
    op.drop_column("jobs", "traceparent")
    op.drop_column("jobs", "request")
