"""Workers that claim, beat, store and finish as real ones do, and compute nothing."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from time import monotonic, perf_counter

import numpy as np
from redis import Redis

from spec.needs import Offer
from spec.wakeup import KEY_PREFIX
from store import claims, leases, workers
from store.chunks import Chunk, Column
from store.database import Sessions, Unavailable, connect
from store.leases import Lease, Progress

LEASE = timedelta(seconds=60)
BEAT = 10.0
"""Seconds between two heartbeats, and between two reports of presence."""

TRIES = 100
AGAIN = 0.05
"""Seconds before the next try, as a worker waits."""

QUEUE = "default"
OFFER = Offer(gpus=1, memory_gb=80, card="simulated")


@dataclass(frozen=True)
class Plan:
    """One phase.

    Attributes:
        step: a method of `Simulated`.
        times: how often each worker does it.
        seconds: after which it ends anyway.
        blocks: of a job, where whole jobs are run.
        pace: seconds that a job takes; 0: as fast as it goes.
    """

    step: str
    times: int = 1
    seconds: float = 600.0
    blocks: int = 1
    pace: float = 0.0


@dataclass
class Told:
    """What one process has done in a phase: seconds of every step, and when it began and ended."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0
    errors: int = 0  # databases that were away, and leases that ran out


class Simulated:
    """One worker: a thread of its process."""

    def __init__(self, pool: "Pool", name: str) -> None:
        self.pool = pool
        self.name = name
        self.lease: Lease | None = None
        self.at = 0
        self.started_at = datetime.now(UTC)

    def claim(self) -> bool:
        """Takes a job; False where there is none."""
        with self.pool.timed("claim") as tx:
            found = claims.claim(tx, worker=self.name, queues=[QUEUE], lease=LEASE, offer=OFFER)
        self.lease, self.at = (found[1] if found else None), 0
        return found is not None

    def beat(self) -> None:
        """Renews the lease."""
        if self.lease is not None:
            with self.pool.timed("heartbeat") as tx:
                leases.renew(tx, [self.lease], extend=LEASE)

    def report(self) -> None:
        """Says that it is there."""
        with self.pool.timed("presence") as tx:
            workers.report(
                tx,
                name=self.name,
                device="simulated",
                state="busy" if self.lease else "idle",
                job_id=self.lease and self.lease.job_id,
                queues=[QUEUE],
                versions={},
                started_at=self.started_at,
                offer=OFFER,
            )

    def block(self) -> None:
        """Stores what has been recorded since the last block."""
        if self.lease is None:
            return
        news = Progress(self.lease, self.at + self.pool.points, [self.pool.chunk(self.at)])
        self.at += self.pool.points
        self._persist("block", news)

    def finish(self) -> None:
        """Ends the job, with its last block."""
        if self.lease is None:
            return
        news = Progress(self.lease, self.at + self.pool.points, [self.pool.chunk(self.at)])
        self._persist("finish", news)
        self.lease = None

    def _persist(self, step: str, news: Progress) -> None:
        """Again where the row was passed over: somebody was just making its series compact."""
        for _ in range(TRIES):
            with self.pool.timed(step) as tx:
                renewal = leases.record(tx, [news], extend=LEASE)
                if renewal.kept and step == "finish":
                    leases.succeed(tx, news.lease, {"iterations": news.iteration})
            if renewal.kept:
                return
            if renewal.lost:  # it has waited for a connection for longer than its lease
                self.pool.lost()
                self.lease = None
                return
            self.pool.ended.wait(AGAIN)
        raise RuntimeError(f"{news.lease.job_id} could not be written to")

    def live(self) -> None:
        """Waits to be woken, and then runs jobs until there are none, until the phase is over.

        Without a pace it does not wait: the phase ends when the jobs do.
        """
        plan = self.pool.plan
        while not self.pool.over():
            if plan.pace:
                self.pool.redis.blpop([KEY_PREFIX + QUEUE], timeout=1)
            while not self.pool.over() and self.claim():
                self._run(plan)
            if not plan.pace:
                return

    def _run(self, plan: Plan) -> None:
        beaten = monotonic()
        for number in range(plan.blocks):
            if plan.pace:
                self.pool.ended.wait(plan.pace / plan.blocks)
            if monotonic() - beaten >= BEAT:
                self.beat()
                self.report()
                beaten = monotonic()
            if number + 1 < plan.blocks:
                self.block()
        self.finish()


class Pool:
    """The workers of one process, which share a few connections, as behind a pooler."""

    def __init__(
        self, url: str, broker: str, *, first: int, count: int, connections: int, points: int
    ) -> None:
        self.sessions: Sessions = connect(url)
        self.redis = Redis(unix_socket_path=broker, max_connections=count + 1)
        self.points = points
        self.workers = [Simulated(self, f"cuda-{first + n}@simulated") for n in range(count)]
        self.ended = threading.Event()
        self.plan = Plan("claim")
        self._columns = _curve(points)
        self._turns = threading.BoundedSemaphore(connections)
        self._told = Told()
        self._lock = threading.Lock()
        self._until = 0.0

    def chunk(self, start: int) -> Chunk:
        """Rows of a real-looking curve."""
        return Chunk("train", 0, start, self._columns)

    def lost(self) -> None:
        """Counts a lease that ran out."""
        with self._lock:
            self._told.errors += 1

    def over(self) -> bool:
        """Whether the phase has ended."""
        return self.ended.is_set() or monotonic() > self._until

    @contextmanager
    def timed(self, step: str) -> Iterator[claims.WriteTx]:
        """A transaction; the time that it took counts from when it had a connection."""
        with self._turns:
            began = perf_counter()
            with self.sessions.begin() as tx:
                yield tx
            took = perf_counter() - began
        with self._lock:
            self._told.seconds.setdefault(step, []).append(took)

    def carry_out(self, plan: Plan) -> Told:
        """One phase, by all workers at once."""
        self.plan, self._told = plan, Told(began=monotonic())
        self.ended.clear()
        self._until = monotonic() + plan.seconds
        with ThreadPoolExecutor(len(self.workers)) as threads:
            for done in [threads.submit(self._repeat, each, plan) for each in self.workers]:
                done.result()
        self._told.ended = monotonic()
        return self._told

    def _repeat(self, worker: Simulated, plan: Plan) -> None:
        step: Callable[[], object] = getattr(worker, plan.step)
        for _ in range(plan.times):
            if self.over():
                return
            try:
                step()
            except Unavailable:
                with self._lock:
                    self._told.errors += 1


def serve(orders: Connection, **known: object) -> None:
    """A process of the pool: carries out the plans that it is sent, until it is sent None."""
    pool = Pool(**known)  # type: ignore[arg-type] # passed on as they came
    orders.send(None)
    while (plan := orders.recv()) is not None:
        orders.send(pool.carry_out(plan))
    pool.sessions.close()


def _curve(points: int) -> dict[str, Column]:
    t = np.arange(points)
    loss = np.exp(-t / points) + np.random.default_rng(0).normal(0, 0.1, points)
    return {"loss": loss.astype(np.float32), "lr": np.abs(t % 200 - 100) / 1000}
