"""API keys, the owners of jobs, and the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the change; what there is becomes that of whoever asks without a key of their own."""
    op.add_column(
        "jobs",
        sa.Column(
            "owner", sa.String(length=64), nullable=False, server_default=sa.text("'default'")
        ),
    )
    op.execute("UPDATE idempotency SET caller = 'default'")
    op.drop_index("ix_jobs_kind", "jobs")
    op.drop_index("ix_jobs_name", "jobs")
    op.create_index("ix_jobs_owner", "jobs", ["owner", "id"])
    op.create_index("ix_jobs_owner_state", "jobs", ["owner", "state", "id"])
    op.create_index("ix_jobs_owner_kind", "jobs", ["owner", "kind", "id"])
    op.create_index("ix_jobs_owner_name", "jobs", ["owner", "name", "id"])
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("used_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_index("ix_keys_prefix", "keys", ["prefix"], unique=True)
    op.create_table(
        "audit",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=64)),
        sa.Column("verb", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("request", sa.String(length=128)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_at", "audit", ["at"])


def downgrade() -> None:
    """Takes it back; everybody's jobs are everybody's again."""
    op.drop_table("audit")
    op.drop_table("keys")
    for name in ("owner", "owner_state", "owner_kind", "owner_name"):
        op.drop_index(f"ix_jobs_{name}", "jobs")
    op.create_index("ix_jobs_kind", "jobs", ["kind", "id"])
    op.create_index("ix_jobs_name", "jobs", ["name", "id"])
    op.drop_column("jobs", "owner")
