"""The whole deployment in figures, at one moment: what waits, who works, what was done."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import BigInteger, func, select, text, type_coerce

from spec.states import State
from store import deliveries, recovery, tallies, workers
from store.database import ReadTx
from store.instants import now
from store.lanes import READY
from store.tables import checkpoints, jobs, leaders
from store.workers import Worker

DEVICES = ("cpu", "cuda", "mps", "other")

_DATABASE_SIZE = {
    "postgresql": "SELECT pg_database_size(current_database())",
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
}


@dataclass(frozen=True)
class Queue:
    """Jobs that may be taken now, for how long the first of them has waited, and for whom.

    Attributes:
        unserved: of them, those that no living worker has all that they need for.
        workers: that serve the queue, and are not lost.
    """

    ready: int = 0
    unserved: int = 0
    oldest: timedelta = timedelta()
    workers: int = 0


@dataclass(frozen=True)
class Figures:
    """What `read` found.

    Attributes:
        queues: by name, those with jobs that are ready, and those that a worker serves.
        workers: state and kind of device -> how many.
        totals: what was ever counted, by name (`spec.tallies`).
        led: whether a process looks after lost jobs.
        messages: to webhooks, by whether they are due.
    """

    jobs: Mapping[State, int]
    queues: Mapping[str, Queue]
    workers: Mapping[tuple[str, str], int]
    totals: Mapping[str, int]
    led: bool
    messages: Mapping[str, int]
    checkpoint_bytes: int
    database_bytes: int


def read(tx: ReadTx, *, lost_after: timedelta) -> Figures:
    """Everything; it takes time in proportion to the jobs and the checkpoints that are stored."""
    found = workers.find(tx, lost_after=lost_after)
    leading = select(func.count()).select_from(leaders).where(leaders.c.expires > now())
    stored = select(func.coalesce(func.sum(checkpoints.c.bytes), 0))
    return Figures(
        jobs=recovery.counts(tx),
        queues=_queues(tx, found),
        workers=Counter((each.state, kind(each.device)) for each in found),
        totals=tallies.totals(tx),
        led=bool(tx.execute(leading).scalar_one()),
        messages=deliveries.on_their_way(tx),
        checkpoint_bytes=int(tx.execute(stored).scalar_one()),
        database_bytes=int(tx.execute(text(_DATABASE_SIZE[tx.dialect.name])).scalar_one()),
    )


def kind(device: str) -> str:
    """Of a device as people know it: `cuda:0 NVIDIA H200` is `cuda`."""
    found = re.match(r"[a-z]*", device)
    return found[0] if found and found[0] in DEVICES else "other"


def _queues(tx: ReadTx, pool: Sequence[Worker]) -> dict[str, Queue]:
    since = type_coerce(now(), BigInteger) - type_coerce(func.min(jobs.c.run_after), BigInteger)
    waiting = (
        select(jobs.c.queue, jobs.c.needs, func.count().label("ready"), since.label("oldest"))
        .where(*READY)
        .group_by(jobs.c.queue, jobs.c.needs)
    )
    alive = [each for each in pool if each.state != "lost"]
    serving = Counter(queue for each in alive for queue in set(each.queues))
    found = {queue: Queue(workers=serving[queue]) for each in pool for queue in each.queues}
    for name, needs, ready, oldest in tx.execute(waiting):
        queue = found.get(name, Queue())
        served = any(each.can_take(name, needs) for each in alive)
        found[name] = replace(
            queue,
            ready=queue.ready + ready,
            unserved=queue.unserved + (0 if served else ready),
            oldest=max(queue.oldest, timedelta(microseconds=int(oldest))),
        )
    return found
