"""The heartbeat of a running job: keeps its lease, and hears when to stop."""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

from spec.settings import Settings
from store import leases
from store.database import Sessions, Unavailable, describe
from store.leases import Lease, LeaseLostError

log = logging.getLogger(__name__)

Stop = Literal["lost", "cancelled", "draining"]
"""Why a job stops early: its lease is gone, its client or its node asked for it."""

_DRAIN = (signal.SIGTERM, signal.SIGQUIT)


class Pulse:
    """What the heartbeat thread, the recorder and the signals know of the job's right to run."""

    def __init__(self, settings: Settings) -> None:
        # stop one heartbeat before others may take the job
        self._span = settings.lease_seconds - min(
            settings.heartbeat_seconds,
            settings.lease_seconds / 4,
        )
        self._renewed = _clock()
        self._lost = False
        self._cancelled = False
        self._draining = False

    def renewed(self, *, cancel_requested: bool) -> None:
        """The lease was renewed just now."""
        self._renewed = _clock()
        self._cancelled = self._cancelled or cancel_requested

    def lose(self) -> None:
        """The job is another's, or nobody's."""
        self._lost = True

    def drain(self) -> None:
        """The node shuts down."""
        self._draining = True

    @property
    def draining(self) -> bool:
        """Whether the node shuts down."""
        return self._draining

    @property
    def lost(self) -> bool:
        """Whether the job may no longer be this worker's: from then on it writes nothing."""
        return self._lost or _clock() - self._renewed > self._span

    @property
    def stop(self) -> Stop | None:
        """Why to stop, if at all."""
        if self.lost:
            return "lost"
        if self._cancelled:
            return "cancelled"
        return "draining" if self._draining else None


@contextmanager
def beating(sessions: Sessions, lease: Lease, settings: Settings) -> Iterator[Pulse]:
    """A pulse that is kept up by a thread with its own connection while the block runs."""
    pulse = Pulse(settings)
    done = threading.Event()

    def beat() -> None:
        while not done.wait(settings.heartbeat_seconds) and not pulse.lost:
            try:
                with sessions.begin() as tx:
                    asked = leases.renew(tx, lease, extend=settings.lease)
                pulse.renewed(cancel_requested=asked)
            except LeaseLostError:
                pulse.lose()
            except Unavailable as error:
                log.warning("job.renew_failed job=%s %s", lease.job_id, describe(error))

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        with _signals_to(pulse):
            yield pulse
    finally:
        done.set()
        thread.join()


@contextmanager
def _signals_to(pulse: Pulse) -> Iterator[None]:
    """Signals set a flag while a job runs: Celery's own SystemExit could land in a COMMIT."""

    def note(_: int, __: FrameType | None) -> None:
        pulse.drain()

    before = {number: signal.signal(number, note) for number in _DRAIN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _clock() -> float:
    # also counts the time the machine was suspended
    return time.clock_gettime(time.CLOCK_BOOTTIME)
