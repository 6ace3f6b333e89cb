"""What the worker that holds a job does with it: claim, renew, record, and end it.

Every write carries the lease. Its attempt is the fencing token: once the job has been claimed
again, or is no longer running, a write matches no row, raises, and its transaction is undone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ColumnElement, case, delete, insert, select, update

from spec.states import Reason, State
from spec.values import JobId
from store.chunks import Chunk, encode
from store.database import WriteTx
from store.instants import from_now, now
from store.jobs import COLUMNS, Job, from_row
from store.tables import attempts, chunks, jobs
from store.upserts import upsert


class LeaseLostError(Exception):
    """The job is no longer this worker's: stop, and write nothing more."""


@dataclass(frozen=True)
class Lease:
    """The right to run one job, and the token that proves it."""

    job_id: JobId
    attempt: int
    worker: str


def claim(
    tx: WriteTx,
    *,
    worker: str,
    queues: Sequence[str],
    lease: timedelta,
) -> tuple[Job, Lease] | None:
    """Takes the best ready job of the queues, by priority and then age, or none.

    What an earlier attempt recorded is deleted: this attempt starts at iteration 0.
    """
    best = (
        select(jobs.c.id)
        .where(
            jobs.c.state == State.QUEUED,
            jobs.c.queue.in_(queues),
            jobs.c.run_after <= now(),
            ~jobs.c.cancel_requested,
        )
        .order_by(jobs.c.priority.desc(), jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)  # two claims at once take two jobs, neither waits
        .scalar_subquery()
    )
    row = tx.execute(
        update(jobs)
        .where(jobs.c.id == best, jobs.c.state == State.QUEUED)
        .values(
            state=State.RUNNING,
            attempt=jobs.c.attempt + 1,
            lease_owner=worker,
            lease_expires=from_now(lease),
            started_at=now(),
            iteration=0,
            version=jobs.c.version + 1,
        )
        .returning(*COLUMNS),
    ).one_or_none()
    if row is None:
        return None
    tx.execute(delete(chunks).where(chunks.c.job_id == row.id))
    tx.execute(
        insert(attempts).values(
            job_id=row.id,
            attempt=row.attempt,
            worker=worker,
            started_at=now(),
        ),
    )
    job = from_row(row)
    return job, Lease(job.id, job.attempt, worker)


def renew(tx: WriteTx, lease: Lease, *, extend: timedelta) -> bool:
    """Keeps the lease for `extend` from now; True when the client asked to cancel.

    Raises:
        LeaseLostError: the job is no longer this attempt's.
    """
    return bool(_guarded(tx, lease, lease_expires=from_now(extend)).cancel_requested)


def plan(
    tx: WriteTx,
    lease: Lease,
    *,
    iterations: int,
    resolved: Mapping[str, JsonValue],
) -> None:
    """Stores what became known at the start: how long the job is, and its schedule in numbers."""
    _guarded(
        tx,
        lease,
        iterations=iterations,
        resolved=dict(resolved),
        version=jobs.c.version + 1,
    )


def record(
    tx: WriteTx,
    lease: Lease,
    new: Iterable[Chunk],
    *,
    iteration: int,
    extend: timedelta,
) -> bool:
    """Stores chunks and how far the job is, and renews the lease; True when asked to cancel."""
    row = _guarded(
        tx,
        lease,
        lease_expires=from_now(extend),
        iteration=iteration,
        version=jobs.c.version + 1,
    )
    rows = [
        {
            "job_id": lease.job_id,
            "series": chunk.series,
            "repeat": chunk.repeat,
            "start": chunk.start,
            "stop": chunk.stop,
            "attempt": lease.attempt,
            "data": encode(chunk),
        }
        for chunk in new
    ]
    if rows:
        upsert(
            tx,
            chunks,
            rows,
            where=lambda stored, written: stored.attempt <= written.attempt,
        )
    return bool(row.cancel_requested)


def succeed(tx: WriteTx, lease: Lease, result: Mapping[str, JsonValue]) -> None:
    """Ends the job with its result."""
    _end(tx, lease, State.SUCCEEDED, "succeeded", result=dict(result))


def fail(tx: WriteTx, lease: Lease, reason: Reason, detail: str) -> None:
    """Ends the job with a reason."""
    _end(tx, lease, State.FAILED, "failed", reason=reason, detail=detail)


def confirm_cancel(tx: WriteTx, lease: Lease) -> None:
    """Ends the job as its client asked."""
    _end(tx, lease, State.CANCELLED, "cancelled")


def hand_back(tx: WriteTx, lease: Lease) -> None:
    """Returns the job to the queue because the worker shuts down; not counted as a crash."""
    asked = jobs.c.cancel_requested
    row = _guarded(
        tx,
        lease,
        state=case((asked, State.CANCELLED), else_=State.QUEUED),
        finished_at=case((asked, now()), else_=None),
        started_at=case((asked, jobs.c.started_at), else_=None),
        lease_owner=None,
        lease_expires=None,
        version=jobs.c.version + 1,
    )
    _close(tx, lease, "handed_back", row.iteration)


def _end(tx: WriteTx, lease: Lease, state: State, outcome: str, **values: object) -> None:
    row = _guarded(
        tx,
        lease,
        state=state,
        finished_at=now(),
        lease_owner=None,
        lease_expires=None,
        version=jobs.c.version + 1,
        **values,
    )
    _close(tx, lease, outcome, row.iteration)


def _guarded(tx: WriteTx, lease: Lease, **values: object) -> Any:
    row = tx.execute(
        update(jobs)
        .where(_held(lease))
        .values(**values)
        .returning(jobs.c.cancel_requested, jobs.c.iteration),
    ).one_or_none()
    if row is None:
        raise LeaseLostError(f"{lease.job_id} is no longer held by attempt {lease.attempt}")
    return row


def _held(lease: Lease) -> ColumnElement[bool]:
    return (
        (jobs.c.id == lease.job_id)
        & (jobs.c.state == State.RUNNING)
        & (jobs.c.attempt == lease.attempt)
    )


def _close(tx: WriteTx, lease: Lease, outcome: str, iterations: int) -> None:
    tx.execute(
        update(attempts)
        .where(attempts.c.job_id == lease.job_id, attempts.c.attempt == lease.attempt)
        .values(ended_at=now(), outcome=outcome, iterations=iterations),
    )
