"""The heartbeat of running jobs: keeps their leases, hears when to stop, sees when they hang."""

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from typing import Literal

from spec.settings import Settings
from spec.states import Reason
from store import leases
from store.database import Sessions, Unavailable, describe
from store.leases import Lease, Requests
from worker.drain import Drain

log = logging.getLogger(__name__)

Stop = Literal["lost", "cancelled", "draining", "paused"]
"""Why a job stops early: its lease is gone, or its client or its node asked for it."""

PLANNED: frozenset[Stop | None] = frozenset({"draining", "paused"})
"""Stops after which the job goes on from a checkpoint."""


def end_process() -> None:
    """End at once, whatever other threads are in; the node starts another process."""
    os._exit(1)


class Pulse:
    """What the heartbeat thread, the recorder and the signals know of a job's right to run."""

    def __init__(self, lease: Lease, settings: Settings, drain: Drain) -> None:
        self.lease = lease
        # stop one heartbeat before others may take the job
        self._span = settings.lease_seconds - min(
            settings.heartbeat_seconds,
            settings.lease_seconds / 4,
        )
        self._renewed = clock()
        self._lost = False
        self._requests = Requests()
        self._drain = drain
        self._moved = True
        self._still = 0

    def renewed(self, *, asked_at: float, requests: Requests) -> None:
        """The lease was renewed by a transaction that began at `asked_at`."""
        if asked_at >= self._renewed:
            self._renewed, self._requests = asked_at, requests

    def moved(self) -> None:
        """The job has made progress."""
        self._moved = True

    def still(self) -> int:
        """How many calls of this in a row have found that there was no progress since the last.

        A process that was frozen in between has not been asked, and is not blamed for it.
        """
        self._still = 0 if self._moved else self._still + 1
        self._moved = False
        return self._still

    def lose(self) -> None:
        """The job is another's, or nobody's."""
        self._lost = True

    @property
    def lost(self) -> bool:
        """Whether the job may no longer be this worker's: while that is so, it writes nothing."""
        return self._lost or self.overdue

    @property
    def overdue(self) -> bool:
        """Whether the lease was not renewed for too long; the job may still be this worker's."""
        return not self._lost and clock() - self._renewed > self._span

    @property
    def stop(self) -> Stop | None:
        """Why to stop, if at all."""
        if self.lost:
            return "lost"
        if self._requests.cancel:
            return "cancelled"
        if self._drain.asked:
            return "draining"
        return "paused" if self._requests.pause else None


class Heartbeat:
    """Renews all leases of a worker at once, from a thread with its own connection."""

    def __init__(
        self,
        sessions: Sessions,
        settings: Settings,
        drain: Drain,
        *,
        end_process: Callable[[], object] = end_process,
    ) -> None:
        self._sessions = sessions
        self._settings = settings
        self._drain = drain
        self._end_process = end_process
        self._pulses: tuple[Pulse, ...] = ()  # replaced as a whole: the thread reads it any time

    def keep(self, lease: Lease) -> Pulse:
        """Keeps up a lease that has just been taken."""
        pulse = Pulse(lease, self._settings, self._drain)
        self._pulses += (pulse,)
        return pulse

    def release(self, pulse: Pulse) -> None:
        """Cares no more for the lease of a job that has ended."""
        self._pulses = tuple(each for each in self._pulses if each is not pulse)

    def beat(self) -> None:
        """Renews what is held; an error leaves it to the next beat, while the leases last."""
        pulses = {each.lease: each for each in self._pulses if not each.lost}
        if pulses:
            self._renew(pulses)
            self._watch(pulses)

    def reassure(self, pulse: Pulse) -> None:
        """Asks once more for a lease that is overdue: the machine may have been suspended.

        Its attempt fences it: where the lease is renewed, nobody else has had the job meanwhile.
        """
        self._renew({pulse.lease: pulse})

    def _renew(self, pulses: Mapping[Lease, Pulse]) -> None:
        asked_at = clock()
        try:
            with self._sessions.begin() as tx:
                renewal = leases.renew(tx, pulses.keys(), extend=self._settings.lease)
        except Unavailable as error:
            log.warning("job.renew_failed jobs=%s %s", _named(pulses), describe(error))
        except Exception:
            log.exception("job.renew_failed jobs=%s", _named(pulses))
        else:
            for lease, requests in renewal.kept.items():
                pulses[lease].renewed(asked_at=asked_at, requests=requests)
            for lease in renewal.lost:
                pulses[lease].lose()

    def _watch(self, pulses: Mapping[Lease, Pulse]) -> None:
        """Ends this process if a job of it makes no progress: nothing else could."""
        patience = self._settings.stall_seconds / self._settings.heartbeat_seconds
        held = {lease: pulse for lease, pulse in pulses.items() if not pulse.lost}
        stalled = [lease for lease, pulse in held.items() if pulse.still() > patience]
        if not stalled:
            return
        try:
            log.error("job.stalled jobs=%s; this process ends", _named(stalled))
            # Celery puts something in the place of sys.stderr that has no file behind it
            faulthandler.dump_traceback(file=sys.__stderr__ or 2)
            for lease in held:
                self._give_up(lease, stalled=lease in stalled)
        finally:
            logging.shutdown()
            self._end_process()

    def _give_up(self, lease: Lease, *, stalled: bool) -> None:
        detail = (
            f"no progress for {self._settings.stall_seconds:g} s (STEPSIZE_STALL_SECONDS); the"
            " worker's log shows where it hung"
        )
        try:
            with self._sessions.begin() as tx:
                if stalled:
                    leases.fail(tx, lease, Reason.STALLED, detail)
                else:
                    leases.hand_back(tx, lease, alone=True)
        except (leases.LeaseLostError, *Unavailable) as error:  # the lease will run out
            log.warning("job.end_failed job=%s %s", lease.job_id, describe(error))


def _named(held: Iterable[Lease]) -> str:
    return ",".join(lease.job_id for lease in held)


@contextmanager
def beating(sessions: Sessions, settings: Settings, drain: Drain) -> Iterator[Heartbeat]:
    """A heartbeat that goes on by itself while the block runs."""
    heartbeat = Heartbeat(sessions, settings, drain)
    done = threading.Event()

    def beat() -> None:
        while not done.wait(settings.heartbeat_seconds):
            heartbeat.beat()

    thread = threading.Thread(
        target=copy_context().run, args=(beat,), name="heartbeat", daemon=True
    )
    thread.start()
    try:
        yield heartbeat
    finally:
        done.set()
        thread.join()


def clock() -> float:
    """Seconds that also count while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
