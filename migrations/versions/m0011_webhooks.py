"""Webhooks, and the messages that they get."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the change."""
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.String(length=128), nullable=False),
        sa.Column("former_secret", sa.String(length=128)),
        sa.Column("former_until", sa.BigInteger()),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("sweep", sa.String(length=64)),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_why", sa.Text()),
        sa.Column("failing_since", sa.BigInteger()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(former_secret IS NULL) = (former_until IS NULL)",
            name=op.f("ck_webhooks_former_secret_has_an_end"),
        ),
        sa.CheckConstraint(
            "NOT enabled OR disabled_why IS NULL", name=op.f("ck_webhooks_enabled_has_no_why")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index("ix_webhooks_owner", "webhooks", ["owner", "id"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("webhook_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("attempts_before", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger()),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("seconds", sa.Double()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger()),
        sa.CheckConstraint(
            "state IN ('delivered', 'failed', 'pending')", name=op.f("ck_deliveries_state")
        ),
        sa.CheckConstraint(
            "(state = 'pending') = (next_at IS NOT NULL)",
            name=op.f("ck_deliveries_pending_has_a_time"),
        ),
        sa.CheckConstraint(
            "(state = 'delivered') = (delivered_at IS NOT NULL)",
            name=op.f("ck_deliveries_delivered_has_a_time"),
        ),
        sa.CheckConstraint(
            "attempts >= attempts_before AND attempts_before >= 0",
            name=op.f("ck_deliveries_counts"),
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"],
            ["webhooks.id"],
            name=op.f("fk_deliveries_webhook_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_webhook", "deliveries", ["webhook_id", "id"])
    op.create_index("ix_deliveries_created_at", "deliveries", ["created_at"])
    pending = sa.text("state = 'pending'")
    for name, columns in (
        ("ix_deliveries_due", ["next_at", "webhook_id"]),
        ("ix_deliveries_due_of", ["webhook_id", "next_at"]),
    ):
        op.create_index(name, "deliveries", columns, sqlite_where=pending, postgresql_where=pending)


def downgrade() -> None:
    """Takes it back; what has not been delivered is lost."""
    op.drop_table("deliveries")
    op.drop_table("webhooks")
