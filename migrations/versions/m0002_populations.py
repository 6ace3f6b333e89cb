"""Which jobs may be trained together."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the change."""
    # Plain ALTER TABLE on SQLite too: a copy of the table would delete the original, and with it
    # whatever refers to a job.
    op.add_column("jobs", sa.Column("population", sa.String(length=64), nullable=True))
    op.create_index(
        "ix_jobs_siblings",
        "jobs",
        ["population", sa.literal_column("priority DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued' AND population IS NOT NULL"),
        postgresql_where=sa.text("state = 'queued' AND population IS NOT NULL"),
    )


def downgrade() -> None:
    """Takes it back."""
    op.drop_index("ix_jobs_siblings", "jobs")
    op.drop_column("jobs", "population")
