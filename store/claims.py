"""How a worker takes jobs from its queues: the best one, and those to be trained with it.

A claim grows `attempt` by one, which is the token of the lease that it gives.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, func, insert, select, update

from spec.states import State
from store import leases, recorded, workers
from store.database import ReadTx, WriteTx
from store.history import note
from store.instants import from_now, now
from store.jobs import COLUMNS, Job, from_row
from store.leases import Lease
from store.tables import attempts, jobs

Claimed = tuple[Job, Lease]


def claim(
    tx: WriteTx,
    *,
    worker: str,
    queues: Sequence[str],
    lease: timedelta,
) -> Claimed | None:
    """Takes the best ready job of the queues, by priority and then age, or none.

    A worker that was asked to drain gets none. What an earlier attempt recorded after the job's
    last checkpoint is deleted: this attempt goes on from there, or from iteration 0.
    """
    if workers.is_draining(tx, worker):
        return None
    taken = _take(tx, _ready(queues), worker=worker, lease=lease, limit=1)
    return taken[0] if taken else None


def unclaim(tx: WriteTx, worker: str) -> None:
    """Hands back whatever a worker holds: it runs nothing, and never heard that it was given it."""
    mine = select(jobs.c.id, jobs.c.attempt).where(
        jobs.c.state == State.RUNNING, jobs.c.lease_owner == worker
    )
    # what another is just taking away is no longer ours to give back
    for row in tx.execute(mine.with_for_update(skip_locked=True)).all():
        leases.hand_back(tx, Lease(row.id, row.attempt, worker))


def siblings(
    tx: ReadTx, population: str, *, queues: Sequence[str], checkpoint: int | None = None
) -> int:
    """How many jobs `claim_siblings` could take now."""
    joining = _joining(population, queues, checkpoint)
    query = select(func.count()).select_from(jobs).where(joining)
    return tx.execute(query).scalar_one()


def claim_siblings(
    tx: WriteTx,
    population: str,
    *,
    worker: str,
    queues: Sequence[str],
    lease: timedelta,
    limit: int,
    checkpoint: int | None = None,
) -> list[Claimed]:
    """Takes up to `limit` ready jobs that may be trained together, best first, as `claim` does.

    They may overtake older jobs of other kinds, but none of a higher priority. All of them go on
    from the same iteration: from that of the `checkpoint`, or from 0.
    """
    joining = _joining(population, queues, checkpoint)
    return _take(tx, joining, worker=worker, lease=lease, limit=limit)


def _ready(queues: Sequence[str]) -> ColumnElement[bool]:
    return (
        (jobs.c.state == State.QUEUED)
        & jobs.c.queue.in_(queues)
        & (jobs.c.run_after <= now())
        & ~jobs.c.held
        & ~jobs.c.cancel_requested
    )


def _joining(population: str, queues: Sequence[str], checkpoint: int | None) -> ColumnElement[bool]:
    others = (
        select(jobs.c.priority)
        .where(_ready(queues), jobs.c.population.is_distinct_from(population))
        .order_by(jobs.c.priority.desc())
        .limit(1)
        .correlate(None)
        .scalar_subquery()
    )
    return (
        _ready(queues)
        & (jobs.c.population == population)
        & jobs.c.checkpoint.is_not_distinct_from(checkpoint)
        & (jobs.c.priority >= func.coalesce(others, jobs.c.priority))
    )


def _take(
    tx: WriteTx,
    ready: ColumnElement[bool],
    *,
    worker: str,
    lease: timedelta,
    limit: int,
) -> list[Claimed]:
    best = (
        select(jobs.c.id)
        .where(ready)
        .order_by(jobs.c.priority.desc(), jobs.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)  # two claims at once take other jobs, neither waits
        .cte("best")  # as a subquery it could be run again for each row, past its limit
    )
    rows = tx.execute(
        update(jobs)
        .where(jobs.c.id.in_(select(best.c.id)), jobs.c.state == State.QUEUED)
        .values(
            state=State.RUNNING,
            attempt=jobs.c.attempt + 1,
            lease_owner=worker,
            lease_expires=from_now(lease),
            started_at=now(),
            iteration=func.coalesce(jobs.c.checkpoint, 0),
            version=jobs.c.version + 1,
        )
        .returning(*COLUMNS),
    ).all()
    taken = sorted(map(from_row, rows), key=lambda job: (-job.priority, job.id))
    for job in taken:
        recorded.forget(tx, job.id, after=job.iteration)
    if taken:
        note(tx, rows, verb="claim", actor=worker)
        opened = [
            {
                "job_id": job.id,
                "attempt": job.attempt,
                "worker": worker,
                "started_at": now(),
                "began": job.iteration,
            }
            for job in taken
        ]
        tx.execute(insert(attempts).values(opened))
    return [(job, Lease(job.id, job.attempt, worker)) for job in taken]
