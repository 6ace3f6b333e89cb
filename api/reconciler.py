"""The thread that makes losses good: expires leases, tops up wake-ups, makes series compact."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import islice

from redis import RedisError

from api.broker import Broker
from api.passes import Passes
from spec.needs import NOTHING
from spec.settings import Settings
from spec.states import State
from spec.wakeup import inbox
from store import (
    audit,
    compaction,
    components,
    deliveries,
    idempotency,
    quarantine,
    recovery,
    workers,
)
from store.database import Sessions, Unavailable, describe
from store.workers import Worker
from telemetry import context, traces

log = logging.getLogger(__name__)

TOP_UP = 200
"""Wake-ups published per queue and pass at most."""

COMPACTION_SECONDS = 0.5
"""That a pass spends on series, about; the rest waits for the next."""

FORGET_WORKERS = timedelta(minutes=10)

FORGET_COMPONENTS = timedelta(days=30)
"""After which nobody is told any more that a lost worker has offered something."""

FORGET_ROWS = 1000
"""Rows of one kind that a pass deletes at most, once they are old."""


class Reconciler:
    """One per API process; of many, the one that holds the `leader` row acts.

    The leader also does the `chores`, after each pass; how often they have something to do is
    theirs to know.
    """

    def __init__(
        self,
        sessions: Sessions,
        broker: Broker,
        settings: Settings,
        chores: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._sessions = sessions
        self._broker = broker
        self._settings = settings
        self._chores = chores
        self._holder = uuid.uuid4().hex
        self.passes = Passes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._patience = Patience(settings.lease)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the pass under way."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self.passes.measured():
                    self.step()
            except Unavailable as error:
                log.warning("reconcile.failed %s", describe(error))
                self._patience.restart()
            except Exception:
                log.exception("reconcile.failed")
                self._patience.restart()
            self._stop.wait(self._settings.reconcile_seconds)

    def step(self) -> None:
        """One pass, if this process leads."""
        tenure = timedelta(seconds=3 * self._settings.reconcile_seconds)
        with self._sessions.begin() as tx:
            self.passes.leads = recovery.lead(
                tx, name="reconciler", holder=self._holder, lease=tenure
            )
        if not self.passes.leads:
            self._patience.restart()
            return
        chores = list(self._chores)
        if self._patience.over():
            self._expire()
            chores.insert(0, self._forget)
        self._top_up()
        self._compact()
        for chore in chores:
            try:
                chore()
            # one that goes wrong keeps neither the others undone, nor leases from running out;
            # where the database is away, the next pass is told at its beginning
            except Unavailable as error:
                log.warning("chore.failed %s", describe(error))
            except Exception:
                log.exception("chore.failed")

    def _forget(self) -> None:
        with self._sessions.begin() as tx:
            workers.forget(tx, unseen_for=FORGET_WORKERS)
            quarantine.forget(tx)
            components.forget(tx, unseen_for=FORGET_COMPONENTS)
            idempotency.forget(tx, limit=FORGET_ROWS)
            audit.forget(tx, limit=FORGET_ROWS)
            deliveries.forget(tx, limit=FORGET_ROWS)

    def _expire(self) -> None:
        with self._sessions.begin() as tx:
            expired = recovery.expire(tx, max_crashes=self._settings.max_crashes)
        for job in expired:
            with (
                context.about(owner=job.owner, request_id=job.request),
                traces.span("job.expire", parent=job.traceparent, attributes={"job": job.id}),
            ):
                log.warning("job.expired job=%s attempt=%s now=%s", job.id, job.attempt, job.state)
            if job.state == State.QUEUED:
                self._broker.wake(job.queue, job.id)

    def _top_up(self) -> None:
        with self._sessions.read() as tx:
            ready = recovery.ready(tx)
            special = any(needs != NOTHING for _, needs in ready)
            idle = workers.waiting(tx, lost_after=self._settings.lease) if special else []
        try:
            for (queue, needs), count in ready.items():
                if needs == NOTHING:
                    missing = min(count - self._broker.waiting(queue), TOP_UP)
                    for _ in range(missing):
                        self._broker.wake(queue, "reconciler")
                else:
                    self._rouse([each for each in idle if each.can_take(queue, needs)], count)
        except RedisError as error:
            log.warning("broker.unavailable %s", error)

    def _rouse(self, idle: Sequence[Worker], count: int) -> None:
        """Wakes those who can take a job that others of its queue cannot."""
        # who has not heard of the last one yet may not be listening: it is the turn of another
        silent = (each for each in idle if not self._broker.waiting(inbox(each.name)))
        for worker in islice(silent, min(count, TOP_UP)):
            self._broker.wake(inbox(worker.name), "reconciler")

    def _compact(self) -> None:
        """One block after another, each in a transaction; losses do not wait for it to end."""
        until = time.monotonic() + COMPACTION_SECONDS
        with self._sessions.read() as tx:
            found = compaction.due(tx)
        for job in found:
            try:
                if not self._made_compact(job, until):
                    return
            except Unavailable as error:
                log.warning("compaction.failed job=%s %s", job.job_id, describe(error))
            except Exception:
                log.exception("compaction.failed job=%s", job.job_id)

    def _made_compact(self, job: compaction.Due, until: float) -> bool:
        """Whether there is time left for another job."""
        with self._sessions.read() as tx:
            blocks = compaction.pending(tx, job)
        for block in blocks:
            with self._sessions.begin() as tx:
                if not compaction.compact(tx, job, block):
                    return True  # it has moved on
            if time.monotonic() > until:
                return False
        if job.state.finished:
            with self._sessions.begin() as tx:
                compaction.settle(tx, job)
        return time.monotonic() <= until


class Patience:
    """Holds expiry back for one lease after a start, a lost leadership or a clock jump.

    Workers could not renew while the database was away or the machine slept: they are given
    the time to do so before their leases count as lost.
    """

    def __init__(self, lease: timedelta) -> None:
        self._lease = lease.total_seconds()
        self._offset = _clock_offset()
        self._since = time.monotonic()

    def restart(self) -> None:
        """Starts the waiting over."""
        self._offset = _clock_offset()
        self._since = time.monotonic()

    def over(self) -> bool:
        """Whether leases may expire now."""
        if abs(_clock_offset() - self._offset) > self._lease / 4:
            log.warning("clock.jumped leases get the time to be renewed")
            self.restart()
        return time.monotonic() - self._since >= self._lease


def _clock_offset() -> float:
    return time.time() - time.monotonic()
