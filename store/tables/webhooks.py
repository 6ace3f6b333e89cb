"""Who wants to be told of jobs and sweeps, and every message: the outbox, and later the log."""

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from spec.webhooks import DeliveryState
from store.instants import Instant
from store.tables.metadata import metadata, one_of

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("url", Text, nullable=False),
    # in clear: messages are signed with it
    Column("secret", String(128), nullable=False),
    # the one before, which signs along for a while
    Column("former_secret", String(128)),
    Column("former_until", Instant),
    # types of messages; none: all
    Column("events", JSON, nullable=False),
    # of a job, or of the template of a sweep: all of these
    Column("tags", JSON, nullable=False),
    # of this one and its jobs alone
    Column("sweep", String(64)),
    Column("enabled", Boolean, nullable=False),
    # by the service itself: why, in words for people
    Column("disabled_why", Text),
    # since when no message has arrived, while some should have
    Column("failing_since", Instant),
    Column("version", Integer, nullable=False, default=1),
    Column("created_at", Instant, nullable=False),
    CheckConstraint(
        "(former_secret IS NULL) = (former_until IS NULL)", name="former_secret_has_an_end"
    ),
    CheckConstraint("NOT enabled OR disabled_why IS NULL", name="enabled_has_no_why"),
    Index("ix_webhooks_owner", "owner", "id"),
)

_PENDING = "state = 'pending'"

deliveries = Table(
    "deliveries",
    metadata,
    # the webhook-id of the message
    Column("id", String(64), primary_key=True),
    Column("webhook_id", ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("type", String(32), nullable=False),
    # the id of the job or sweep; of a ping, of the webhook
    Column("subject", String(64), nullable=False),
    # as it is sent and signed, to the byte
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    # never goes back: it fences what those who send it write
    Column("attempts", Integer, nullable=False, default=0),
    # of these, those before somebody asked for it to be sent again
    Column("attempts_before", Integer, nullable=False, default=0),
    # when to send it; while it is being sent, when that counts as lost
    Column("next_at", Instant),
    # what came of the last try
    Column("status", Integer),
    Column("error", Text),
    Column("seconds", Double),
    Column("created_at", Instant, nullable=False),
    Column("delivered_at", Instant),
    CheckConstraint(one_of("state", [state.value for state in DeliveryState]), name="state"),
    CheckConstraint(f"({_PENDING}) = (next_at IS NOT NULL)", name="pending_has_a_time"),
    CheckConstraint(
        "(state = 'delivered') = (delivered_at IS NOT NULL)", name="delivered_has_a_time"
    ),
    CheckConstraint("attempts >= attempts_before AND attempts_before >= 0", name="counts"),
    Index("ix_deliveries_webhook", "webhook_id", "id"),
    Index("ix_deliveries_created_at", "created_at"),
    Index(
        "ix_deliveries_due",
        "next_at",
        "webhook_id",
        sqlite_where=text(_PENDING),
        postgresql_where=text(_PENDING),
    ),
    Index(
        "ix_deliveries_due_of",
        "webhook_id",
        "next_at",
        sqlite_where=text(_PENDING),
        postgresql_where=text(_PENDING),
    ),
)
