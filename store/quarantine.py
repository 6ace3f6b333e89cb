"""Which devices are left out for a while, since one job after the other is lost on them.

A device gets a strike where a job is lost, hangs or finds the device broken, before it has got as
far as a checkpoint. Jobs that fail by themselves count for nothing. Strikes of three jobs, with no
success of any in between, put it into quarantine; each further one does so again, for longer. A job
that strikes a second device is itself to blame, and counts against neither.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import ScalarSelect, delete, func, select

from spec.values import JobId
from store.database import ReadTx, WriteTx
from store.instants import from_now, now
from store.tables import attempts, jobs, quarantines, strikes, workers
from store.upserts import upsert

STRIKES = 3
"""Jobs, one after the other, that a device may lose."""

PAUSES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))
"""How long it is left out, the first time, the second, and from then on; never longer than the
first time where no other device could take its jobs."""

ALONE_AFTER = timedelta(minutes=2)
"""Without a word of any worker with another device."""

REMEMBERED = timedelta(days=1)

REASON = (
    "{} jobs were lost or hung here, or could not use the device, and none has succeeded in between"
)


def strike(tx: WriteTx, job_id: JobId, attempt: int, *, worker: str) -> None:
    """Counts an attempt that ended in this way against the device of its worker.

    Nothing is counted of a job that another took along, which ended with it, nor of one that has a
    checkpoint of this attempt, nor of a worker that says nothing of its device.
    """
    began = select(attempts.c.began).where(
        attempts.c.job_id == job_id, attempts.c.attempt == attempt, attempts.c.led_by.is_(None)
    )
    at_once = func.coalesce(jobs.c.checkpoint, 0) <= began.scalar_subquery()
    counts = tx.execute(select(jobs.c.id).where(jobs.c.id == job_id, at_once)).first()
    unit = tx.execute(select(_unit_of(worker))).scalar_one()
    if counts is None or unit is None:
        return
    upsert(tx, strikes, [{"unit": unit, "job_id": job_id, "at": now()}])
    others = select(strikes.c.unit).where(strikes.c.job_id == job_id, strikes.c.unit != unit)
    elsewhere = tx.execute(others).scalars().all()
    if elsewhere:
        tx.execute(delete(strikes).where(strikes.c.job_id == job_id))
        for each in elsewhere:
            if _count(tx, each) < STRIKES:
                tx.execute(delete(quarantines).where(quarantines.c.unit == each))
    elif (count := _count(tx, unit)) >= STRIKES:
        _leave_out(tx, unit, count)


def clear(tx: WriteTx, worker: str) -> None:
    """A job has succeeded: nothing counts against the device any more."""
    for table in (strikes, quarantines):
        tx.execute(delete(table).where(table.c.unit == _unit_of(worker)))


def release(tx: WriteTx, worker: str) -> bool:
    """Lets a worker's device take jobs again; False if there is no such worker."""
    clear(tx, worker)
    return tx.execute(select(workers.c.name).where(workers.c.name == worker)).first() is not None


def is_left_out(tx: ReadTx, unit: str) -> bool:
    """Whether a device is in quarantine now."""
    held = select(quarantines.c.unit).where(quarantines.c.unit == unit, quarantines.c.until > now())
    return tx.execute(held).first() is not None


def forget(tx: WriteTx) -> None:
    """Drops what is a day old."""
    tx.execute(delete(strikes).where(strikes.c.at < from_now(-REMEMBERED)))
    tx.execute(delete(quarantines).where(quarantines.c.until < from_now(-REMEMBERED)))


def _leave_out(tx: WriteTx, unit: str, count: int) -> None:
    known: Any = tx.execute(
        select(quarantines.c.level, (quarantines.c.until > now()).label("held")).where(
            quarantines.c.unit == unit
        )
    ).one_or_none()
    if known is not None and known.held:
        return  # it was given this job before
    level = 1 if known is None else known.level + 1
    others = select(workers.c.name).where(
        workers.c.unit != unit, workers.c.seen_at > from_now(-ALONE_AFTER)
    )
    alone = tx.execute(others.limit(1)).first() is None
    pause = PAUSES[0 if alone else min(level, len(PAUSES)) - 1]
    row = {"unit": unit, "level": level, "until": from_now(pause), "reason": REASON.format(count)}
    upsert(tx, quarantines, [row])


def _count(tx: ReadTx, unit: str) -> int:
    query = select(func.count()).select_from(strikes).where(strikes.c.unit == unit)
    return tx.execute(query).scalar_one()


def _unit_of(worker: str) -> ScalarSelect[str | None]:
    return select(workers.c.unit).where(workers.c.name == worker).scalar_subquery()
