"""Sweeps, and the jobs that are their trials."""

import sqlalchemy as sa
from alembic import op

from migrations import checks

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

HELD = "NOT held OR (sweep IS NOT NULL AND state <> 'running')"
ASKED = "state = 'running' OR NOT pause_requested"
STATES = "state IN ('cancelled', 'failed', 'paused', 'queued', 'running', 'succeeded')"
FINISHED = "(state IN ('cancelled', 'failed', 'succeeded')) = (finished_at IS NOT NULL)"

QUEUED = "state = 'queued'"
SIBLINGS = "state = 'queued' AND population IS NOT NULL"


def upgrade() -> None:
    """Applies the change."""
    op.create_table(
        "sweeps",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("spec_version", sa.Integer(), nullable=False),
        sa.Column("promised", sa.Integer(), nullable=False),
        sa.Column("parallel", sa.Integer()),
        sa.Column("one_for_one", sa.Boolean(), nullable=False),
        sa.Column("ending", sa.Text()),
        sa.Column(
            "cancel_requested", sa.Boolean(), nullable=False, server_default=sa.text("false")
        ),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("finished_at", sa.BigInteger()),
        sa.CheckConstraint(STATES, name=op.f("ck_sweeps_state")),
        sa.CheckConstraint(FINISHED, name=op.f("ck_sweeps_finished_has_a_time")),
        sa.CheckConstraint("promised > 0 AND parallel > 0", name=op.f("ck_sweeps_counts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
    )
    op.create_index("ix_sweeps_owner", "sweeps", ["owner", "id"])
    op.create_index(
        "ix_sweeps_open",
        "sweeps",
        ["id"],
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "trials",
        sa.Column("sweep_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=64)),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("memory", sa.JSON(), nullable=False),
        sa.Column("iterations", sa.BigInteger()),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["sweep_id"], ["sweeps.id"], name=op.f("fk_trials_sweep_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_trials_job_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("sweep_id", "number", name=op.f("pk_trials")),
    )
    op.create_index("ix_trials_digest", "trials", ["sweep_id", "digest"], unique=True)
    op.create_index("ix_trials_job", "trials", ["job_id"])
    op.add_column("jobs", sa.Column("sweep", sa.String(length=64)))
    op.add_column(
        "jobs", sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.text("false"))
    )
    checks.add("jobs", "ck_jobs_held_by_a_sweep", HELD, beside=("ck_jobs_running_is_asked", ASKED))
    op.create_index(
        "ix_jobs_sweep",
        "jobs",
        ["sweep", "state", "id"],
        sqlite_where=sa.text("sweep IS NOT NULL"),
        postgresql_where=sa.text("sweep IS NOT NULL"),
    )
    _index_waiting(f"{QUEUED} AND NOT held", f"{SIBLINGS} AND NOT held")


def downgrade() -> None:
    """Takes it back; the jobs stay, each for itself, and those that were held may run."""
    _index_waiting(QUEUED, SIBLINGS)
    op.drop_index("ix_jobs_sweep", "jobs")
    checks.drop("jobs", "ck_jobs_held_by_a_sweep", HELD)
    op.drop_column("jobs", "held")
    op.drop_column("jobs", "sweep")
    op.drop_table("trials")
    op.drop_table("sweeps")


def _index_waiting(queued: str, siblings: str) -> None:
    for name, first, waiting in (
        ("ix_jobs_claim", "queue", queued),
        ("ix_jobs_siblings", "population", siblings),
    ):
        op.drop_index(name, "jobs")
        op.create_index(
            name,
            "jobs",
            [first, sa.text("priority DESC"), "id"],
            sqlite_where=sa.text(waiting),
            postgresql_where=sa.text(waiting),
        )
