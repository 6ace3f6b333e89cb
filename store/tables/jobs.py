"""Jobs and what happened to them, with the rules of the state machine (docs/states.md)."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    column,
    literal_column,
    text,
)

from spec.states import FINISHED, Reason, State
from store.instants import Instant
from store.tables.metadata import metadata, one_of

_FINISHED = one_of("state", [state.value for state in FINISHED])

LANE = "(queue || '|' || owner || '|' || needs)"
"""Equal for jobs that wait in the same line: the same workers can run them, for one owner."""

# not `state = 'queued' AND`: SQLite would take the index of all states for it
WAITING = "NOT (state <> 'queued' OR held)"
"""Of a job that a worker may be given, in the words of its index."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False, server_default=text("'default'")),
    Column("kind", String(16), nullable=False),
    Column("name", Text),
    Column("state", String(16), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("spec_version", Integer, nullable=False),
    # what the spec left open: bounds taken from a range test, epochs in iterations
    Column("resolved", JSON(none_as_null=True)),
    Column("queue", String(64), nullable=False),
    Column("priority", Integer, nullable=False),
    # what its worker must offer (spec/needs.py); empty: any worker of the queue will do
    Column("needs", Text, nullable=False, default="", server_default=text("''")),
    # equal for jobs that may be trained together; none for a job that trains alone
    Column("population", String(64)),
    # when it may be claimed; from then on it waits for a worker
    Column("run_after", Instant, nullable=False),
    Column("iteration", BigInteger, nullable=False, default=0),
    Column("iterations", BigInteger),
    Column("result", JSON(none_as_null=True)),
    Column("reason", String(16)),
    Column("detail", Text),
    # the iteration of the checkpoint that the next attempt goes on from
    Column("checkpoint", BigInteger),
    # the training that this one begins with a checkpoint of
    Column("parent", String(64)),
    Column("parent_iteration", BigInteger),
    # attempt fences writes and never goes back; crashes counts lost leases only, and failures
    # those that were followed by another attempt
    Column("attempt", Integer, nullable=False, default=0),
    Column("crashes", Integer, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0, server_default=text("0")),
    # the sweep that it is a trial of
    Column("sweep", String(64)),
    # by its sweep, which has enough under way: no worker takes it yet
    Column("held", Boolean, nullable=False, default=False, server_default=text("false")),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("pause_requested", Boolean, nullable=False, default=False, server_default=text("false")),
    Column("lease_owner", String(200)),
    Column("lease_expires", Instant),
    # the request that submitted it: its id, and its span (W3C Trace Context)
    Column("request", String(128)),
    Column("traceparent", String(55)),
    # grows with every change that a client can see
    Column("version", BigInteger, nullable=False, default=1),
    # the version whose series have been made compact
    Column("compacted", BigInteger, nullable=False, default=0, server_default=text("0")),
    # by a rule of retention: its rows cannot be read any more
    Column("series_deleted_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    CheckConstraint(one_of("kind", ["range_test", "training"]), name="kind"),
    CheckConstraint(one_of("state", [state.value for state in State]), name="state"),
    CheckConstraint(one_of("reason", [reason.value for reason in Reason]), name="reason"),
    CheckConstraint(
        "(state = 'running') = (lease_owner IS NOT NULL AND lease_expires IS NOT NULL)",
        name="running_is_leased",
    ),
    CheckConstraint(f"({_FINISHED}) = (finished_at IS NOT NULL)", name="finished_has_a_time"),
    CheckConstraint("(state = 'failed') = (reason IS NOT NULL)", name="failed_has_a_reason"),
    CheckConstraint("(state = 'succeeded') = (result IS NOT NULL)", name="succeeded_has_a_result"),
    CheckConstraint("state <> 'running' OR attempt > 0", name="running_was_claimed"),
    CheckConstraint("state <> 'queued' OR NOT cancel_requested", name="queued_is_wanted"),
    CheckConstraint(
        "NOT held OR (sweep IS NOT NULL AND state <> 'running')", name="held_by_a_sweep"
    ),
    CheckConstraint("state = 'running' OR NOT pause_requested", name="running_is_asked"),
    CheckConstraint(
        "attempt >= 0 AND crashes >= 0 AND failures >= 0 AND iteration >= 0", name="counts"
    ),
    CheckConstraint("(parent IS NULL) = (parent_iteration IS NULL)", name="parent_has_a_place"),
    Index(
        "ix_jobs_lane",
        literal_column(LANE),
        column("priority").desc(),
        "id",
        sqlite_where=text(WAITING),
        postgresql_where=text(WAITING),
    ),
    Index(
        "ix_jobs_siblings",
        "population",
        column("priority").desc(),
        "id",
        sqlite_where=text("state = 'queued' AND population IS NOT NULL AND NOT held"),
        postgresql_where=text("state = 'queued' AND population IS NOT NULL AND NOT held"),
    ),
    Index(
        "ix_jobs_running",
        "owner",
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
    Index(
        "ix_jobs_expiry",
        "lease_expires",
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
    Index("ix_jobs_state", "state", "id"),
    Index("ix_jobs_owner", "owner", "id"),
    Index("ix_jobs_owner_state", "owner", "state", "id"),
    Index("ix_jobs_owner_kind", "owner", "kind", "id"),
    Index("ix_jobs_owner_name", "owner", "name", "id"),
    Index(
        "ix_jobs_sweep",
        "sweep",
        "state",
        "id",
        sqlite_where=text("sweep IS NOT NULL"),
        postgresql_where=text("sweep IS NOT NULL"),
    ),
    Index(
        "ix_jobs_parent",
        "parent",
        sqlite_where=text("parent IS NOT NULL"),
        postgresql_where=text("parent IS NOT NULL"),
    ),
    Index(
        "ix_jobs_finished",
        "owner",
        "finished_at",
        sqlite_where=text("finished_at IS NOT NULL"),
        postgresql_where=text("finished_at IS NOT NULL"),
    ),
    Index(
        "ix_jobs_compaction",
        "id",
        sqlite_where=text("finished_at IS NOT NULL AND compacted < version"),
        postgresql_where=text("finished_at IS NOT NULL AND compacted < version"),
    ),
)


job_tags = Table(
    "job_tags",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("value", String(200), nullable=False),
    Index("ix_job_tags_value", "key", "value", "job_id"),
)


attempts = Table(
    "attempts",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("worker", String(200), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("outcome", String(16)),
    # of the job, when it began and when it ended
    Column("began", BigInteger, nullable=False, default=0, server_default=text("0")),
    Column("iterations", BigInteger),
    Column("reason", String(16)),
    # the job that took this one along, to be trained together; none where it was claimed by itself
    Column("led_by", String(64)),
    CheckConstraint(
        one_of("outcome", ["succeeded", "failed", "cancelled", "paused", "handed_back", "lost"]),
        name="outcome",
    ),
    CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="ended_has_an_outcome"),
)


history = Table(
    "history",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    # that the job had after the change
    Column("version", BigInteger, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("verb", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("iteration", BigInteger, nullable=False),
    Column("detail", Text),
)


checkpoints = Table(
    "checkpoints",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    # updates of the job that went into it
    Column("iteration", BigInteger, primary_key=True),
    Column("attempt", Integer, nullable=False),
    # its file, from the directory or URL of all checkpoints
    Column("file", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    # the end of a cycle, which is kept
    Column("lasting", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    CheckConstraint("iteration > 0 AND bytes > 0", name="counts"),
)
