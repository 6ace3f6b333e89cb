"""What the worker that holds jobs does with them: renew, record, and end them.

Every write carries the lease. Its attempt is the fencing token: once the job has been claimed
again, or is no longer running, a write matches no row, and nothing is written. What is about one
job raises then, and its transaction is undone; `renew` and `record`, which are about many, say
which leases are lost.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import JsonValue
from sqlalchemy import BigInteger, ColumnElement, case, literal, select, tuple_, update

from spec.states import Reason, State
from spec.values import JobId
from store.chunks import Chunk, encode
from store.database import WriteTx
from store.instants import from_now, now
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


@dataclass(frozen=True)
class Renewal:
    """What became of leases; one in neither was just being written to, and is held still."""

    kept: Mapping[Lease, bool]
    """Whether the client asked to cancel the job."""
    lost: Collection[Lease]


@dataclass(frozen=True)
class Progress:
    """What a job has recorded since it was last stored, and how many updates it has made."""

    lease: Lease
    iteration: int
    chunks: Sequence[Chunk]


def renew(tx: WriteTx, held: Collection[Lease], *, extend: timedelta) -> Renewal:
    """Keeps leases for `extend` from now.

    It waits for nobody: a row that another transaction writes to is passed over, so that it does
    not cost the other leases.
    """
    return _renew(tx, held, lease_expires=from_now(extend))


def record(tx: WriteTx, news: Sequence[Progress], *, extend: timedelta) -> Renewal:
    """Stores chunks and how far the jobs are, of those whose leases it can `renew`."""
    done = {each.lease.job_id: literal(each.iteration, BigInteger) for each in news}
    renewal = _renew(
        tx,
        [each.lease for each in news],
        lease_expires=from_now(extend),
        iteration=case(done, value=jobs.c.id),
        version=jobs.c.version + 1,
    )
    rows = [
        {
            "job_id": each.lease.job_id,
            "series": chunk.series,
            "repeat": chunk.repeat,
            "start": chunk.start,
            "stop": chunk.stop,
            "attempt": each.lease.attempt,
            "data": encode(chunk),
        }
        for each in news
        if each.lease in renewal.kept
        for chunk in each.chunks
    ]
    if rows:
        upsert(
            tx,
            chunks,
            rows,
            where=lambda stored, written: stored.attempt <= written.attempt,
        )
    return renewal


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


def succeed(tx: WriteTx, lease: Lease, result: Mapping[str, JsonValue]) -> None:
    """Ends the job with its result."""
    _end(tx, lease, State.SUCCEEDED, "succeeded", result=dict(result))


def fail(tx: WriteTx, lease: Lease, reason: Reason, detail: str) -> None:
    """Ends the job with a reason."""
    _end(tx, lease, State.FAILED, "failed", reason=reason, detail=detail)


def confirm_cancel(tx: WriteTx, lease: Lease) -> None:
    """Ends the job as its client asked."""
    _end(tx, lease, State.CANCELLED, "cancelled")


def hand_back(tx: WriteTx, lease: Lease, *, alone: bool = False) -> None:
    """Returns the job to the queue; not counted as a crash.

    The worker shuts down, or the job can only be trained `alone`, from now on.
    """
    asked = jobs.c.cancel_requested
    row = _guarded(
        tx,
        lease,
        state=case((asked, State.CANCELLED), else_=State.QUEUED),
        finished_at=case((asked, now()), else_=None),
        started_at=case((asked, jobs.c.started_at), else_=None),
        population=None if alone else jobs.c.population,
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


def _renew(tx: WriteTx, held: Collection[Lease], **values: object) -> Renewal:
    mine = (jobs.c.state == State.RUNNING) & tuple_(jobs.c.id, jobs.c.attempt).in_(
        [(lease.job_id, lease.attempt) for lease in held]
    )
    free = select(jobs.c.id).where(mine).with_for_update(skip_locked=True).cte("free")
    rows = tx.execute(
        update(jobs)
        .where(jobs.c.id.in_(select(free.c.id)), mine)
        .values(**values)
        .returning(jobs.c.id, jobs.c.cancel_requested),
    )
    asked = {row.id: bool(row.cancel_requested) for row in rows}
    kept = {lease: asked[lease.job_id] for lease in held if lease.job_id in asked}
    if len(kept) == len(held):
        return Renewal(kept, lost=())
    still = set(tx.execute(select(jobs.c.id).where(mine)).scalars())
    return Renewal(kept, lost=[lease for lease in held if lease.job_id not in still])


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
