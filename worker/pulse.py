"""The heartbeat of running jobs: keeps their leases, and hears when to stop."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from spec.settings import Settings
from store import leases
from store.database import Sessions, Unavailable, describe
from store.leases import Lease
from worker.drain import Drain

log = logging.getLogger(__name__)

Stop = Literal["lost", "cancelled", "draining"]
"""Why a job stops early: its lease is gone, its client or its node asked for it."""


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
        self._cancelled = False
        self._drain = drain

    def renewed(self, *, asked_at: float, cancel_requested: bool) -> None:
        """The lease was renewed by a transaction that began at `asked_at`."""
        self._renewed = max(self._renewed, asked_at)
        self._cancelled = self._cancelled or cancel_requested

    def lose(self) -> None:
        """The job is another's, or nobody's."""
        self._lost = True

    @property
    def lost(self) -> bool:
        """Whether the job may no longer be this worker's: from then on it writes nothing."""
        return self._lost or clock() - self._renewed > self._span

    @property
    def stop(self) -> Stop | None:
        """Why to stop, if at all."""
        if self.lost:
            return "lost"
        if self._cancelled:
            return "cancelled"
        return "draining" if self._drain.asked else None


class Heartbeat:
    """Renews all leases of a worker at once, from a thread with its own connection."""

    def __init__(self, sessions: Sessions, settings: Settings, drain: Drain) -> None:
        self._sessions = sessions
        self._settings = settings
        self._drain = drain
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
        if not pulses:
            return
        asked_at = clock()
        try:
            with self._sessions.begin() as tx:
                renewal = leases.renew(tx, pulses.keys(), extend=self._settings.lease)
        except Unavailable as error:
            log.warning("job.renew_failed jobs=%s %s", _named(pulses), describe(error))
        except Exception:
            log.exception("job.renew_failed jobs=%s", _named(pulses))
        else:
            for lease, asked in renewal.kept.items():
                pulses[lease].renewed(asked_at=asked_at, cancel_requested=asked)
            for lease in renewal.lost:
                pulses[lease].lose()


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

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield heartbeat
    finally:
        done.set()
        thread.join()


def clock() -> float:
    """Seconds that also count while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
