"""What jobs have recorded."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    text,
)

from store.tables.metadata import metadata

chunks = Table(
    "chunks",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("series", String(16), primary_key=True),
    Column("repeat", Integer, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("stop", BigInteger, nullable=False),
    # the checkpoint that it follows, 0 for none: whoever goes on from there records it anew
    Column("after", BigInteger, nullable=False, default=0, server_default=text("0")),
    Column("attempt", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    CheckConstraint("start >= 0 AND stop > start", name="rows"),
)


summaries = Table(
    "summaries",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("series", String(16), primary_key=True),
    Column("repeat", Integer, primary_key=True),
    # the quantity whose extremes it has; empty where the block could not be summarised
    Column("name", String(32), primary_key=True),
    Column("level", Integer, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("stop", BigInteger, nullable=False),
    # iterations of the first and the last row, and how many rows there are
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("points", BigInteger, nullable=False),
    # the latest of the chunks' own: it is deleted with any of them
    Column("after", BigInteger, nullable=False),
    # of level 0: the chunks of the block are as large as they get
    Column("merged", Boolean, nullable=False),
    Column("data", LargeBinary),
    CheckConstraint("start >= 0 AND stop > start AND points >= 0", name="rows"),
)
