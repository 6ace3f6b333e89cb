"""The worker nodes, and which API process looks after them."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from store.instants import Instant
from store.tables.metadata import metadata, one_of

workers = Table(
    "workers",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("device", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("job_id", String(64)),
    Column("queues", JSON, nullable=False),
    Column("versions", JSON, nullable=False),
    # its device, the same for whatever process runs there; none of a worker that is older
    Column("unit", String(200)),
    # what jobs may need of it; none of a worker that is older than needs
    Column("offer", JSON(none_as_null=True)),
    # somebody asked that it takes no more jobs
    Column("drain_requested", Boolean, nullable=False, default=False, server_default=text("false")),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    # name -> how often, since its process started; none from a version that did not count
    Column("tallies", JSON(none_as_null=True)),
    CheckConstraint(one_of("state", ["busy", "draining", "idle"]), name="state"),
)


strikes = Table(
    "strikes",
    metadata,
    # the device on which a job was lost
    Column("unit", String(200), primary_key=True),
    Column("job_id", String(64), primary_key=True),
    Column("at", Instant, nullable=False),
    Index("ix_strikes_job_id", "job_id"),
)


quarantines = Table(
    "quarantines",
    metadata,
    Column("unit", String(200), primary_key=True),
    # how often in a row
    Column("level", Integer, nullable=False),
    Column("until", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    CheckConstraint("level > 0", name="level"),
)


leaders = Table(
    "leaders",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("expires", Instant, nullable=False),
)


# what workers that are gone, and the reconciler, have counted
tallies = Table(
    "tallies",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
    CheckConstraint("value >= 0", name="counts"),
)
