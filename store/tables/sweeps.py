"""Sweeps and their trials: what they promised, which job runs each, how these compare."""

from sqlalchemy import (
    JSON,
    BigInteger,
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

from spec.states import FINISHED, State
from store.instants import Instant
from store.tables.metadata import metadata, one_of

_FINISHED = one_of("state", [state.value for state in FINISHED])

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("name", Text),
    Column("state", String(16), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("spec_version", Integer, nullable=False),
    # configurations that it runs at most, each once
    Column("promised", Integer, nullable=False),
    # jobs that wait for a worker or run at one time; none: all of them
    Column("parallel", Integer),
    # whether a job that ends lets the next one go by itself: not where a budget must be asked first
    Column("one_for_one", Boolean, nullable=False),
    # no more are chosen: why, in words for people
    Column("ending", Text),
    Column(
        "cancel_requested", Boolean, nullable=False, default=False, server_default=text("false")
    ),
    # grows with every change of the row, and guards its updates
    Column("version", BigInteger, nullable=False, default=1),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    CheckConstraint(one_of("state", [state.value for state in State]), name="state"),
    CheckConstraint(f"({_FINISHED}) = (finished_at IS NOT NULL)", name="finished_has_a_time"),
    CheckConstraint("promised > 0 AND parallel > 0", name="counts"),
    Index("ix_sweeps_owner", "owner", "id"),
    Index(
        "ix_sweeps_open",
        "id",
        sqlite_where=text("finished_at IS NULL"),
        postgresql_where=text("finished_at IS NULL"),
    ),
)

trials = Table(
    "trials",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("job_id", ForeignKey("jobs.id", ondelete="SET NULL")),
    # JSON pointer into the template -> value
    Column("parameters", JSON, nullable=False),
    # what the sampler wants to know again
    Column("memory", JSON, nullable=False),
    # updates of the job, where its spec says how many
    Column("iterations", BigInteger),
    # equal for configurations that would run the same
    Column("digest", String(64), nullable=False),
    Index("ix_trials_digest", "sweep_id", "digest", unique=True),
    Index("ix_trials_job", "job_id"),
)

rungs = Table(
    "rungs",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    # the same for jobs that are compared here, as `0/cycle/9`
    Column("place", String(64), primary_key=True),
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    # updates of its training until here
    Column("iteration", BigInteger, nullable=False),
    # of the objective: here, the best so far, the mean so far; none where it was not finite
    Column("value", Double),
    Column("best", Double),
    Column("mean", Double),
    # what was decided, and why, once it has been
    Column("stop", Boolean),
    Column("why", Text),
    CheckConstraint("(stop IS NULL) = (why IS NULL)", name="decided_has_a_reason"),
    # whoever is compared reads all that came to the place: from here alone
    Index("ix_rungs_place", "sweep_id", "place", "job_id", "value", "best", "mean"),
    Index("ix_rungs_job", "job_id", "sweep_id", "iteration"),
)
