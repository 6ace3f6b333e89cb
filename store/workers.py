"""The workers that have reported themselves, and what each is doing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Row, delete, select, update

from spec.needs import NO_MORE, Offer, missing
from store import tallies
from store.database import ReadTx, WriteTx
from store.instants import from_now, now
from store.tables import quarantines, workers
from store.upserts import upsert

WorkerState = Literal["idle", "busy", "draining", "quarantined", "lost"]


@dataclass(frozen=True)
class Quarantine:
    """Why a worker's device is given no jobs, and until when."""

    reason: str
    until: datetime


@dataclass(frozen=True)
class Worker:
    """One worker node; `lost` when it has not been heard of for a while."""

    name: str
    device: str
    state: WorkerState
    job_id: str | None
    queues: tuple[str, ...]
    offer: Offer | None
    versions: dict[str, str]
    started_at: datetime
    seen_at: datetime
    quarantine: Quarantine | None = None

    def can_take(self, queue: str, needs: str) -> bool:
        """Whether it serves the queue, and offers what a job there needs, as that is stored.

        One that says nothing of what it offers, being older, is only counted on for any job.
        """
        return queue in self.queues and not missing(needs, self.offer or NO_MORE)


def report(  # noqa: PLR0913 - each is a column
    tx: WriteTx,
    *,
    name: str,
    device: str,
    state: WorkerState,
    job_id: str | None,
    queues: Sequence[str],
    versions: Mapping[str, str],
    started_at: datetime,
    counted: Mapping[str, int] | None = None,
    offer: Offer = NO_MORE,
    unit: str | None = None,
) -> None:
    """Says that a worker is alive, what it does, and what it has counted since it started.

    `unit` names its device.
    """
    row = {
        "name": name,
        "device": device,
        "state": state,
        "job_id": job_id,
        "queues": list(queues),
        "versions": dict(versions),
        "offer": offer.model_dump(mode="json"),
        "unit": unit,
        "started_at": started_at,
        "seen_at": now(),
        "tallies": counted and dict(counted),
    }
    upsert(tx, workers, [row])


def drain(tx: WriteTx, name: str, *, asked: bool) -> bool:
    """Asks a worker to take no more jobs, or to take jobs again; False if there is none."""
    found = update(workers).where(workers.c.name == name).values(drain_requested=asked)
    return tx.execute(found).rowcount == 1


def is_draining(tx: ReadTx, name: str) -> bool:
    """Whether a worker was asked to take no more jobs."""
    asked = tx.execute(select(workers.c.drain_requested).where(workers.c.name == name))
    return bool(asked.scalar_one_or_none())


def take_over(tx: WriteTx, name: str, *, since: datetime) -> bool:
    """Keeps what another process counted under this name, before the next report.

    Returns:
        Whether the process that started at `since` has no report here: all that it has said, if
        anything, has been kept.
    """
    mine = workers.c.name == name
    query = select(workers.c.started_at, workers.c.tallies).where(mine)
    # who is being forgotten just now is either asked for first, or gone
    found = tx.execute(query.with_for_update()).one_or_none()
    if found is not None and found.started_at == since:
        return False
    if found is not None:
        tallies.keep(tx, [found.tallies])
        tx.execute(update(workers).where(mine).values(tallies=None))
    return True


def leave(tx: WriteTx, name: str) -> None:
    """Takes a worker that shut down off the list, and keeps what it has counted."""
    gone = delete(workers).where(workers.c.name == name).returning(workers.c.tallies)
    tallies.keep(tx, tx.execute(gone).scalars().all())


def forget(tx: WriteTx, *, unseen_for: timedelta) -> None:
    """Takes workers off the list that have been lost for so long."""
    lost = delete(workers).where(workers.c.seen_at < from_now(-unseen_for))
    tallies.keep(tx, tx.execute(lost.returning(workers.c.tallies)).scalars().all())


def idle(tx: ReadTx, *, queue: str, besides: str, lost_after: timedelta) -> int:
    """How many workers of a queue wait for a job, not counting the one called `besides`."""
    return sum(
        queue in each.queues and each.name != besides for each in waiting(tx, lost_after=lost_after)
    )


def waiting(tx: ReadTx, *, lost_after: timedelta) -> list[Worker]:
    """The workers that wait for a job."""
    return [each for each in find(tx, lost_after=lost_after) if each.state == "idle"]


def find(tx: ReadTx, *, lost_after: timedelta) -> list[Worker]:
    """All workers by name; those unseen for `lost_after` are lost."""
    lost = (workers.c.seen_at < from_now(-lost_after)).label("lost")
    held = (quarantines.c.unit == workers.c.unit) & (quarantines.c.until > now())
    query = select(workers, lost, quarantines.c.until, quarantines.c.reason)
    query = query.outerjoin_from(workers, quarantines, held)
    return [
        Worker(
            name=row.name,
            device=row.device,
            state=_state(row),
            job_id=row.job_id,
            queues=tuple(row.queues),
            offer=row.offer and Offer.model_validate(row.offer),
            versions=row.versions,
            started_at=row.started_at,
            seen_at=row.seen_at,
            quarantine=None if row.until is None else Quarantine(row.reason, row.until),
        )
        for row in tx.execute(query.order_by(workers.c.name))
    ]


def _state(row: Row[Any]) -> WorkerState:
    """As people are to see it: a request to drain holds from the moment it is made."""
    if row.lost:
        return "lost"
    if row.drain_requested or row.until is None:
        state: WorkerState = "draining" if row.drain_requested else row.state
        return state
    return "quarantined"
