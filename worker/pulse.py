"""The heartbeat of a running job: keeps its lease, and hears when to stop."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from spec.settings import Settings
from store import leases
from store.database import Sessions, Unavailable, describe
from store.leases import Lease, LeaseLostError
from worker.drain import Drain

log = logging.getLogger(__name__)

Stop = Literal["lost", "cancelled", "draining"]
"""Why a job stops early: its lease is gone, its client or its node asked for it."""


class Pulse:
    """What the heartbeat thread, the recorder and the signals know of the job's right to run."""

    def __init__(self, settings: Settings, drain: Drain) -> None:
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


@contextmanager
def beating(sessions: Sessions, lease: Lease, settings: Settings, drain: Drain) -> Iterator[Pulse]:
    """A pulse that is kept up by a thread with its own connection while the block runs."""
    pulse = Pulse(settings, drain)
    done = threading.Event()

    def beat() -> None:
        while not done.wait(settings.heartbeat_seconds) and not pulse.lost:
            asked_at = clock()
            try:
                with sessions.begin() as tx:
                    asked = leases.renew(tx, lease, extend=settings.lease)
                pulse.renewed(asked_at=asked_at, cancel_requested=asked)
            except LeaseLostError:
                pulse.lose()
            except Unavailable as error:
                log.warning("job.renew_failed job=%s %s", lease.job_id, describe(error))
            except Exception:
                log.exception("job.renew_failed job=%s", lease.job_id)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield pulse
    finally:
        done.set()
        thread.join()


def clock() -> float:
    """Seconds that also count while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
