"""What the reconciler does: expires leases, counts what waits, and elects itself."""

from datetime import timedelta
from typing import Any

from sqlalchemy import case, func, select, update

from spec.states import Reason, State
from spec.tallies import end
from store import quarantine, tallies
from store.database import ReadTx, WriteTx
from store.history import RECONCILER, note
from store.instants import from_now, now
from store.jobs import COLUMNS, Job, from_row
from store.lanes import READY
from store.leaving import leaving
from store.tables import attempts, jobs, leaders
from store.upserts import upsert

_LOST = "its worker was lost {} times in a row; see the worker's log, then retry"


def lead(tx: WriteTx, *, name: str, holder: str, lease: timedelta) -> bool:
    """Takes or keeps the leadership called `name`; False while another holds it."""
    instant: Any = now()
    row = {"name": name, "holder": holder, "expires": from_now(lease)}
    return bool(
        upsert(
            tx,
            leaders,
            [row],
            where=lambda stored, written: (
                (stored.holder == written.holder) | (stored.expires < instant)
            ),
        ),
    )


def expire(tx: WriteTx, *, max_crashes: int, limit: int = 100) -> list[Job]:
    """Takes jobs away from workers whose lease has run out; returns them as they are now.

    A job goes back to the queue, is cancelled or paused where that was asked for, and fails once
    its lease has been lost `max_crashes` times. From then on it trains alone: it may be what killed
    its worker, and everything that was trained together with it.
    """
    ran_out = (jobs.c.state == State.RUNNING) & (jobs.c.lease_expires < now())
    stale = select(jobs.c.id, jobs.c.lease_expires, jobs.c.lease_owner).where(ran_out).limit(limit)
    held = {row.id: row for row in tx.execute(stale.with_for_update(skip_locked=True))}
    asked = jobs.c.cancel_requested
    poison = ~asked & (jobs.c.crashes + 1 >= max_crashes)
    values = leaving(
        State.QUEUED,
        (asked, State.CANCELLED),
        (poison, State.FAILED),
        (jobs.c.pause_requested, State.PAUSED),
    ) | {
        "reason": case((poison, Reason.WORKER_LOST), else_=None),
        "detail": case((poison, _LOST.format(max_crashes)), else_=None),
        "crashes": jobs.c.crashes + 1,
        "population": None,
    }
    rows = tx.execute(
        update(jobs)
        # the condition again: between the choice and the update the owner may have renewed
        .where(jobs.c.id.in_(list(held)), ran_out)
        .values(**values)
        .returning(*COLUMNS),
    ).all()
    note(tx, rows, verb="expire", actor=RECONCILER)
    for row in rows:
        tx.execute(
            update(attempts)
            .where(attempts.c.job_id == row.id, attempts.c.attempt == row.attempt)
            # not the time at which somebody noticed: nothing ran in between
            .values(ended_at=held[row.id].lease_expires, outcome="lost", iterations=row.iteration),
        )
        quarantine.strike(tx, row.id, row.attempt, worker=held[row.id].lease_owner)
    tallies.add(tx, {end("lost"): len(rows)})
    return [from_row(row) for row in rows]


def ready(tx: ReadTx) -> dict[tuple[str, str], int]:
    """How many jobs wait to be claimed now, by queue and stored needs."""
    rows = tx.execute(
        select(jobs.c.queue, jobs.c.needs, func.count())
        .where(*READY)
        .group_by(jobs.c.queue, jobs.c.needs),
    )
    return {(queue, needs): count for queue, needs, count in rows}


def counts(tx: ReadTx) -> dict[State, int]:
    """How many jobs are in each state that any is in."""
    rows = tx.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state))
    return {State(state): count for state, count in rows}
