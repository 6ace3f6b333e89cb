"""The worker nodes, what their packages offer, and which API process looks after them."""

from sqlalchemy import JSON, Boolean, CheckConstraint, Column, Index, String, Table, Text, text

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
    # components of its packages that it does not offer, and why
    Column("left_out", JSON, nullable=False, default=list, server_default=text("'[]'")),
    # somebody asked that it takes no more jobs
    Column("drain_requested", Boolean, nullable=False, default=False, server_default=text("false")),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    CheckConstraint(one_of("state", ["busy", "draining", "idle"]), name="state"),
)


components = Table(
    "components",
    metadata,
    # of kind, name, package and what the parameters may be
    Column("digest", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    Column("package", String(64), nullable=False),
    # of the worker that has told of it last
    Column("version", String(64), nullable=False),
    Column("description", Text, nullable=False),
    # JSON Schema
    Column("parameters", JSON, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Index("ix_components_name", "kind", "name"),
)


leaders = Table(
    "leaders",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("expires", Instant, nullable=False),
)
