"""Jobs as rows: submitting, and the moves a client makes (cancel, retry, delete)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import bindparam, delete, insert, select
from uuid6 import uuid7

from spec import needs
from spec.access import ANYONE, Caller
from spec.jobs import JOB_SPEC, SPEC_VERSION, RangeTestSpec, TrainingSpec
from spec.population import population_key
from spec.states import FINISHED, Reason, State
from spec.values import JobId
from store import checkpoints
from store.database import ReadTx, WriteTx
from store.history import note
from store.instants import now
from store.tables import job_tags, jobs


class JobNotFoundError(Exception):
    """There is no such job."""


class NeededError(Exception):
    """Another job is still to begin with a checkpoint of this one."""

    def __init__(self, job_id: str, child: str) -> None:
        super().__init__(f"{child} is to go on from {job_id}: cancel it first, or let it begin")


class WrongStateError(Exception):
    """The job's state does not allow this."""

    def __init__(self, job: "Job", verb: str) -> None:
        super().__init__(f"a job that is {job.state} cannot be {verb}")
        self.job = job


@dataclass(frozen=True)
class Job:
    """One row of `jobs`."""

    id: JobId
    owner: str
    kind: str
    name: str | None
    state: State
    spec: dict[str, JsonValue]
    resolved: dict[str, JsonValue] | None
    queue: str
    needs: str
    priority: int
    population: str | None
    iteration: int
    iterations: int | None
    result: dict[str, JsonValue] | None
    reason: Reason | None
    detail: str | None
    checkpoint: int | None
    parent: JobId | None
    parent_iteration: int | None
    sweep: str | None
    attempt: int
    crashes: int
    failures: int
    cancel_requested: bool
    pause_requested: bool
    lease_owner: str | None
    request: str | None
    traceparent: str | None
    version: int
    series_deleted_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


NAMES = tuple(each.name for each in fields(Job))
COLUMNS = tuple(jobs.c[name] for name in NAMES)

# made once: building a statement of so many columns takes longer than running it
_BY_ID = select(*COLUMNS).where(jobs.c.id == bindparam("job_id"))


def from_row(row: Sequence[Any]) -> Job:
    """A job from a row of `COLUMNS`."""
    values = dict(zip(NAMES, row, strict=True))  # by far the fastest way, and lists have many
    values["state"] = State(values["state"])
    values["reason"] = values["reason"] and Reason(values["reason"])
    return Job(**values)


def spec_of(job: Job) -> RangeTestSpec | TrainingSpec:
    """The job's spec, validated again by this version of the code.

    Only who runs a job needs it: one that no longer validates must still be found and cancelled.

    Raises:
        pydantic.ValidationError: it was stored by another version.
    """
    return JOB_SPEC.validate_python(job.spec)


@dataclass(frozen=True)
class Submission:
    """A job to be queued.

    Attributes:
        bounds: numbers from range tests, by JSON pointer into the schedule.
        origin: the checkpoint that it begins with.
        components: what it names that only some workers offer.
    """

    spec: RangeTestSpec | TrainingSpec
    bounds: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    origin: checkpoints.Checkpoint | None = None
    components: Sequence[str] = ()


def add(tx: WriteTx, new: RangeTestSpec | TrainingSpec | Submission, *, by: Caller = ANYONE) -> Job:
    """Queues a job.

    Raises:
        CheckpointNotFoundError: its origin has just been deleted.
    """
    submission = new if isinstance(new, Submission) else Submission(new)
    return add_many(tx, [submission], by=by)[0]


def add_many(
    tx: WriteTx,
    new: Sequence[Submission],
    *,
    by: Caller,
    sweep: str | None = None,
    held: bool = False,
) -> list[Job]:
    """Queues jobs, in this order; those of a sweep may be held until it lets them go.

    Raises:
        CheckpointNotFoundError: an origin has just been deleted.
    """
    for each in new:
        if each.origin is not None:
            checkpoints.hold(tx, each.origin)
    common = {"owner": by.owner, "sweep": sweep, "held": held}
    common |= {"request": by.request, "traceparent": by.traceparent}
    rows = [_row(each) | common for each in new]
    added = tx.execute(_ADD, rows).all()
    note(tx, added, verb="submit", actor=by.name)
    tags = [
        {"job_id": row["id"], "key": key, "value": value}
        for row, each in zip(rows, new, strict=True)
        for key, value in each.spec.tags.items()
    ]
    if tags:
        tx.execute(insert(job_tags), tags)
    found = {each.id: each for each in added}
    return [from_row(_with_spec(found[row["id"]], row["spec"])) for row in rows]


_SPEC = NAMES.index("spec")
# all but the spec, which need not be read again by who has just written it
_RETURNED = COLUMNS[:_SPEC] + COLUMNS[_SPEC + 1 :]
_ADD = insert(jobs).values(run_after=now(), created_at=now()).returning(*_RETURNED)


def _with_spec(row: Sequence[Any], spec: object) -> Sequence[Any]:
    return *row[:_SPEC], spec, *row[_SPEC:]


def _row(new: Submission) -> dict[str, Any]:
    spec = new.spec
    told: dict[str, JsonValue] = {"bounds": dict(new.bounds), "warnings": list(new.warnings)}
    return {
        "id": f"job_{uuid7().hex}",
        "kind": spec.kind,
        "name": spec.name,
        "state": State.QUEUED,
        "spec": spec.model_dump(mode="json"),
        "spec_version": SPEC_VERSION,
        "resolved": {name: each for name, each in told.items() if each} or None,
        "queue": spec.queue,
        "needs": needs.stored(spec.needs, new.components),
        "priority": spec.priority,
        "population": population_key(spec),
        "parent": new.origin and new.origin.job_id,
        "parent_iteration": new.origin and new.origin.iteration,
    }


def get(tx: ReadTx, job_id: str, *, owner: str | None = None) -> Job:
    """The job of that id; where an owner is named, only one of theirs.

    Raises:
        JobNotFoundError: there is none.
    """
    row = tx.execute(_BY_ID, {"job_id": job_id}).one_or_none()
    if row is None or owner not in {None, row.owner}:
        raise JobNotFoundError(job_id)
    return from_row(row)


def owned(tx: ReadTx, owner: str, ids: Sequence[str]) -> frozenset[str]:
    """Which of these jobs are an owner's."""
    query = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.owner == owner)
    return frozenset(tx.execute(query).scalars()) if ids else frozenset()


def remove(tx: WriteTx, job_id: str, *, by: Caller = ANYONE) -> None:
    """Deletes a finished job with its series, checkpoints, attempts and history.

    Raises:
        JobNotFoundError: there is none.
        WrongStateError: the job is not finished.
        NeededError: another job is still to begin with one of its checkpoints.
    """
    get(tx, job_id, owner=by.owner)
    checkpoints.lock(tx, job_id)
    waiting = select(jobs.c.id).where(jobs.c.parent == job_id, jobs.c.state.not_in(FINISHED))
    if child := tx.execute(waiting.limit(1)).scalar_one_or_none():
        raise NeededError(job_id, child)
    gone = tx.execute(delete(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(FINISHED)))
    if gone.rowcount == 0:
        raise WrongStateError(get(tx, job_id), "deleted")
