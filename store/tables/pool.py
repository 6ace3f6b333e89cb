"""The worker nodes, and which API process looks after them."""

from sqlalchemy import JSON, BigInteger, Boolean, CheckConstraint, Column, String, Table, text

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
