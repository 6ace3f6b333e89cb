"""Those who ask: keys, shares and limits, what they changed, what they were answered."""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from store.instants import Instant
from store.tables.metadata import metadata, one_of

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    # SHA-256 of what was asked for
    Column("request", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("location", Text),
    # compressed by zlib
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("ix_idempotency_created_at", "created_at"),
)


keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("owner", String(64), nullable=False),
    # the part of the key that it is found by, and that may be shown
    Column("prefix", String(32), nullable=False),
    # SHA-256 of the whole
    Column("digest", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("used_at", Instant),
    Index("ix_keys_prefix", "prefix", unique=True),
)


owners = Table(
    "owners",
    metadata,
    Column("owner", String(64), primary_key=True),
    # of the workers, against the shares of the others
    Column("share", Double, nullable=False, default=1.0, server_default=text("1")),
    # none: no limit
    Column("max_running", Integer),
    Column("max_points", BigInteger),
    Column("max_checkpoint_bytes", BigInteger),
    Column("changed_at", Instant, nullable=False),
    CheckConstraint("share > 0", name="share"),
    CheckConstraint(
        "max_running >= 0 AND max_points >= 0 AND max_checkpoint_bytes >= 0", name="limits"
    ),
)


usage = Table(
    "usage",
    metadata,
    Column("owner", String(64), primary_key=True),
    # iterations that its jobs have recorded, and bytes of their checkpoints
    Column("points", BigInteger, nullable=False),
    Column("checkpoint_bytes", BigInteger, nullable=False),
    Column("counted_at", Instant, nullable=False),
)


retention = Table(
    "retention",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("what", String(16), nullable=False),
    # since the job has ended
    Column("after_days", Integer, nullable=False),
    # of jobs with this tag only, and of this value where there is one
    Column("tag", String(64)),
    Column("value", String(200)),
    Column("created_at", Instant, nullable=False),
    CheckConstraint(one_of("what", ["checkpoints", "series"]), name="what"),
    CheckConstraint("after_days >= 0", name="days"),
    CheckConstraint("value IS NULL OR tag IS NOT NULL", name="tag"),
    Index("ix_retention_owner", "owner", "id"),
)


audit = Table(
    "audit",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("owner", String(64), nullable=False),
    # the name of the key, and its id: it may be gone
    Column("actor", String(200), nullable=False),
    Column("key", String(64)),
    Column("verb", String(32), nullable=False),
    # the id of what was changed
    Column("target", String(200), nullable=False),
    # the id of the request, which the server's log has too
    Column("request", String(128)),
    Index("ix_audit_at", "at"),
)
