"""What the packages of workers offer, and what they leave out."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the change."""
    op.create_table(
        "components",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("package", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_components")),
    )
    op.create_index("ix_components_name", "components", ["kind", "name"])
    empty = sa.text("'[]'")
    op.add_column("workers", sa.Column("left_out", sa.JSON(), nullable=False, server_default=empty))


def downgrade() -> None:
    """Takes it back; jobs that name a component wait for a worker that offers it all the same."""
    op.drop_column("workers", "left_out")
    op.drop_table("components")
