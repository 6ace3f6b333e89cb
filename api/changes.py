"""Tells requests and streams that wait for it when a job or sweep has changed: one poll for all."""

import asyncio
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from store import versions
from store.database import Sessions, Unavailable, describe

log = logging.getLogger(__name__)

EVERY = 0.3
"""Seconds between two polls."""

AT_ONCE = 500
"""Jobs and sweeps that one statement asks for."""

Versions = Mapping[str, int | None]
"""Id -> version; None where there is no such job or sweep."""


@dataclass(eq=False)
class _Waiter:
    """Somebody who knows jobs in these versions, and wants to know of another."""

    known: Versions
    news: Versions = field(default_factory=dict)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def learns(self, now: Versions) -> bool:
        """Whether some of its jobs have another version now; notes which."""
        self.news = {
            job_id: now.get(job_id)
            for job_id, version in self.known.items()
            if now.get(job_id) != version
        }
        return bool(self.news)


class Changes:
    """The versions of jobs and sweeps, looked at in one thread while anybody waits for another.

    Whoever waits holds neither a thread nor a connection to the database.
    """

    def __init__(self, sessions: Sessions, *, every: float = EVERY) -> None:
        self._sessions = sessions
        self._every = every
        self._waiters: set[_Waiter] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        """Whether the server is about to stop: nobody is to wait any more."""
        return self._closed.is_set()

    @property
    def waiting(self) -> int:
        """How many wait, streams of events among them."""
        return len(self._waiters)

    async def wait(self, known: Versions, *, within: float) -> Versions:
        """Waits until jobs have other versions than the known ones; those, or none in time.

        Whoever is told looks for itself: what has changed is not said, and may be changing again.
        """
        waiter = _Waiter(known)
        with self._lock:
            if self.closed:
                return {}
            self._waiters.add(waiter)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="changes", daemon=True)
                self._thread.start()
        try:
            await asyncio.wait_for(waiter.told.wait(), within)
        except TimeoutError:
            return {}
        finally:
            with self._lock:
                self._waiters.discard(waiter)
        return waiter.news

    def close(self) -> None:
        """Lets everybody go on at once, so that the server can stop; also from a signal handler."""
        self._closed.set()  # and no lock, which the interrupted code may hold

    def _run(self) -> None:
        while not self._closed.wait(self._every):
            with self._lock:
                waiting = list(self._waiters)
                if not waiting:
                    self._thread = None  # the next one to wait begins another
                    return
            try:
                now = self._versions(sorted({each for one in waiting for each in one.known}))
            except Unavailable as error:
                log.warning("changes.failed %s", describe(error))
                continue
            except Exception:
                log.exception("changes.failed")
                continue
            self._tell([each for each in waiting if each.learns(now)])
        with self._lock:
            waiting = list(self._waiters)
        self._tell(waiting)

    def _tell(self, waiters: list[_Waiter]) -> None:
        with self._lock:
            for waiter in waiters:
                if waiter in self._waiters:  # else its loop may have gone
                    waiter.loop.call_soon_threadsafe(waiter.told.set)

    def _versions(self, ids: list[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for start in range(0, len(ids), AT_ONCE):
            with self._sessions.read() as tx:
                found |= versions.of(tx, ids[start : start + AT_ONCE])
        return found
