"""The workers that have reported themselves, and what each is doing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Row, delete, select, update

from spec.needs import NO_MORE, Offer, missing
from store.database import ReadTx, WriteTx
from store.instants import from_now, now
from store.tables import workers
from store.upserts import upsert

WorkerState = Literal["idle", "busy", "draining", "lost"]


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
    left_out: tuple[str, ...]
    started_at: datetime
    seen_at: datetime

    def can_take(self, queue: str, needs: str) -> bool:
        """Whether it serves the queue, and offers what a job there needs, as that is stored."""
        return queue in self.queues and self.offer is not None and not missing(needs, self.offer)


def report(
    tx: WriteTx,
    *,
    name: str,
    device: str,
    state: WorkerState,
    job_id: str | None,
    queues: Sequence[str],
    versions: Mapping[str, str],
    started_at: datetime,
    offer: Offer = NO_MORE,
    left_out: Sequence[str] = (),
) -> None:
    """Says that a worker is alive, what it does, and what it does not offer and why."""
    row = {
        "name": name,
        "device": device,
        "state": state,
        "job_id": job_id,
        "queues": list(queues),
        "versions": dict(versions),
        "offer": offer.model_dump(mode="json"),
        "left_out": list(left_out),
        "started_at": started_at,
        "seen_at": now(),
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


def leave(tx: WriteTx, name: str) -> None:
    """Takes a worker that shut down off the list."""
    tx.execute(delete(workers).where(workers.c.name == name))


def forget(tx: WriteTx, *, unseen_for: timedelta) -> None:
    """Takes workers off the list that have been lost for so long."""
    tx.execute(delete(workers).where(workers.c.seen_at < from_now(-unseen_for)))


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
    return [
        Worker(
            name=row.name,
            device=row.device,
            state=_state(row),
            job_id=row.job_id,
            queues=tuple(row.queues),
            offer=row.offer and Offer.model_validate(row.offer),
            versions=row.versions,
            left_out=tuple(row.left_out),
            started_at=row.started_at,
            seen_at=row.seen_at,
        )
        for row in tx.execute(select(workers, lost).order_by(workers.c.name))
    ]


def _state(row: Row[Any]) -> WorkerState:
    """As people are to see it: a request to drain holds from the moment it is made."""
    if row.lost:
        return "lost"
    state: WorkerState = "draining" if row.drain_requested else row.state
    return state
