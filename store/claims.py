"""How a worker takes jobs from its queues: the best one, and those to be trained with it.

A claim grows `attempt` by one, which is the token of the lease that it gives.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, insert, select, update

from spec.needs import NO_MORE, Offer
from spec.states import State
from store import lanes, leases, quarantine, recorded, workers
from store.database import ReadTx, WriteTx
from store.history import note
from store.instants import from_now, now
from store.jobs import COLUMNS, Job, from_row
from store.lanes import Lane
from store.leases import Lease
from store.tables import attempts, jobs

Claimed = tuple[Job, Lease]


def claim(
    tx: WriteTx,
    *,
    worker: str,
    queues: Sequence[str],
    lease: timedelta,
    offer: Offer = NO_MORE,
    unit: str | None = None,
) -> Claimed | None:
    """Takes the ready job of the queues whose turn it is, of those that the worker can run.

    `lanes.servable` says whose turn it is; None where there is no such job, or the worker was asked
    to drain, or its device, the `unit`, is in quarantine. What an earlier attempt recorded after
    the job's last checkpoint is deleted: this attempt goes on from there, or from iteration 0.
    """
    if workers.is_draining(tx, worker) or (unit and quarantine.is_left_out(tx, unit)):
        return None
    lanes.by_index(tx)
    for lane in lanes.servable(tx, queues=queues, offer=offer):
        if taken := _take_from(tx, lane, worker=worker, lease=lease):
            return taken[0]
    return None


def _take_from(tx: WriteTx, lane: Lane, *, worker: str, lease: timedelta) -> list[Claimed]:
    """The best job of a lane; none where others have just taken the last ones."""
    in_lane = and_(lanes.lane_of == lane.name, *lanes.READY)
    if not lane.limited:
        return _take(tx, in_lane, worker=worker, lease=lease, limit=1)
    # two claims that kept the rows of owners they have found no room for would wait for each other
    with suppress(_NothingTakenError), tx.begin_nested():
        if lanes.room(tx, lane.owner):
            taken = _take(tx, in_lane, worker=worker, lease=lease, limit=1)
            if taken:
                return taken
        raise _NothingTakenError
    return []


class _NothingTakenError(Exception):
    """Undoes what was begun in vain."""


def unclaim(tx: WriteTx, worker: str) -> None:
    """Hands back whatever a worker holds: it runs nothing, and never heard that it was given it."""
    mine = select(jobs.c.id, jobs.c.attempt).where(
        jobs.c.state == State.RUNNING, jobs.c.lease_owner == worker
    )
    # what another is just taking away is no longer ours to give back
    for row in tx.execute(mine.with_for_update(skip_locked=True)).all():
        leases.hand_back(tx, Lease(row.id, row.attempt, worker))


def siblings(tx: ReadTx, job: Job) -> int:
    """How many jobs `claim_siblings` could take now."""
    query = select(func.count()).select_from(jobs).where(_joining(job))
    return tx.execute(query).scalar_one()


def claim_siblings(
    tx: WriteTx, job: Job, *, worker: str, lease: timedelta, limit: int
) -> list[Claimed]:
    """Takes up to `limit` ready jobs that may be trained together with `job`, best first.

    They are of the same owner and queue, and may overtake older jobs of other kinds, but none of a
    higher priority. All of them go on from the same iteration: that of its checkpoint, or 0.
    """
    room = lanes.room(tx, job.owner)
    most = limit if room is None else min(limit, room)
    if not most:
        return []
    return _take(tx, _joining(job), worker=worker, lease=lease, limit=most, led_by=job.id)


def _joining(job: Job) -> ColumnElement[bool]:
    same = and_(
        *lanes.READY,
        jobs.c.queue == job.queue,
        jobs.c.owner == job.owner,
        jobs.c.needs == job.needs,
    )
    others = (
        select(jobs.c.priority)
        .where(same, jobs.c.population.is_distinct_from(job.population))
        .order_by(jobs.c.priority.desc())
        .limit(1)
        .correlate(None)
        .scalar_subquery()
    )
    return and_(
        same,
        jobs.c.population == job.population,
        jobs.c.checkpoint.is_not_distinct_from(job.checkpoint),
        jobs.c.priority >= func.coalesce(others, jobs.c.priority),
    )


def _take(
    tx: WriteTx,
    ready: ColumnElement[bool],
    *,
    worker: str,
    lease: timedelta,
    limit: int,
    led_by: str | None = None,
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
        # they are locked and wait: asked for that again, PostgreSQL may read all that do
        .where(jobs.c.id.in_(select(best.c.id)))
        .values(
            state=State.RUNNING,
            attempt=jobs.c.attempt + 1,
            lease_owner=worker,
            lease_expires=from_now(lease),
            started_at=now(),
            series_deleted_at=None,
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
                "led_by": led_by,
            }
            for job in taken
        ]
        tx.execute(insert(attempts).values(opened))
    return [(job, Lease(job.id, job.attempt, worker)) for job in taken]
