"""Checkpoints, pauses, parents, retries after failures, and what happened when."""

import sqlalchemy as sa
from alembic import op

from migrations import checks

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATES = "state IN ('cancelled', 'failed', 'queued', 'running', 'succeeded')"
WITH_PAUSED = "state IN ('cancelled', 'failed', 'paused', 'queued', 'running', 'succeeded')"
COUNTS = "attempt >= 0 AND crashes >= 0 AND iteration >= 0"
WITH_FAILURES = "attempt >= 0 AND crashes >= 0 AND failures >= 0 AND iteration >= 0"
ASKED = "state = 'running' OR NOT pause_requested"
PARENT = "(parent IS NULL) = (parent_iteration IS NULL)"
OUTCOMES = "outcome IN ('cancelled', 'failed', 'handed_back', 'lost', 'succeeded')"
WITH_PAUSES = "outcome IN ('cancelled', 'failed', 'handed_back', 'lost', 'paused', 'succeeded')"


def upgrade() -> None:
    """Applies the change."""
    for column in (
        sa.Column("checkpoint", sa.BigInteger()),
        sa.Column("parent", sa.String(length=64)),
        sa.Column("parent_iteration", sa.BigInteger()),
        sa.Column("failures", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("pause_requested", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    ):
        op.add_column("jobs", column)
    checks.replace("jobs", "ck_jobs_state", STATES, WITH_PAUSED)
    checks.replace("jobs", "ck_jobs_counts", COUNTS, WITH_FAILURES)
    here = ("ck_jobs_counts", WITH_FAILURES)
    checks.add("jobs", "ck_jobs_running_is_asked", ASKED, beside=here)
    checks.add("jobs", "ck_jobs_parent_has_a_place", PARENT, beside=here)
    op.create_index(
        "ix_jobs_parent",
        "jobs",
        ["parent"],
        unique=False,
        sqlite_where=sa.text("parent IS NOT NULL"),
        postgresql_where=sa.text("parent IS NOT NULL"),
    )
    op.add_column(
        "attempts",
        sa.Column("began", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
    )
    op.add_column("attempts", sa.Column("reason", sa.String(length=16)))
    checks.replace("attempts", "ck_attempts_outcome", OUTCOMES, WITH_PAUSES)
    op.add_column(
        "chunks", sa.Column("after", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    )
    op.add_column(
        "workers",
        sa.Column("drain_requested", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.create_table(
        "history",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("verb", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("iteration", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_history_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "version", name=op.f("pk_history")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("iteration", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("lasting", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("iteration > 0 AND bytes > 0", name=op.f("ck_checkpoints_counts")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_checkpoints_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "iteration", name=op.f("pk_checkpoints")),
    )


def downgrade() -> None:
    """Takes it back: paused jobs wait in the queue again."""
    op.drop_table("checkpoints")
    op.drop_table("history")
    op.drop_column("workers", "drain_requested")
    op.drop_column("chunks", "after")
    op.execute("UPDATE attempts SET outcome = 'handed_back' WHERE outcome = 'paused'")
    checks.replace("attempts", "ck_attempts_outcome", WITH_PAUSES, OUTCOMES)
    op.drop_column("attempts", "reason")
    op.drop_column("attempts", "began")
    op.drop_index("ix_jobs_parent", "jobs")
    op.execute("UPDATE jobs SET state = 'queued' WHERE state = 'paused'")
    checks.drop("jobs", "ck_jobs_parent_has_a_place", PARENT)
    checks.drop("jobs", "ck_jobs_running_is_asked", ASKED)
    checks.replace("jobs", "ck_jobs_counts", WITH_FAILURES, COUNTS)
    checks.replace("jobs", "ck_jobs_state", WITH_PAUSED, STATES)
    for column in ("pause_requested", "failures", "parent_iteration", "parent", "checkpoint"):
        op.drop_column("jobs", column)
