"""What owners keep: counted now and then, and deleted by their rules of retention."""

import logging
import time

from store import owners, retention
from store.database import Sessions
from store.files import Files
from store.retention import Rule

log = logging.getLogger(__name__)

COUNT_EVERY = 60.0
"""Seconds between two counts, at least."""

SHARE = 0.02
"""Of its time that counting may take: where there is much to count it is done less often."""

SWEEP_SECONDS = 0.5
"""That a pass spends on deleting, about; the rest waits for the next."""

AT_ONCE = 50
"""Jobs that are looked up at a time; each is its own transaction."""


class Keeper:
    """Counts and deletes, whenever it is asked whether there is something to do."""

    def __init__(self, sessions: Sessions, files: Files) -> None:
        self._sessions = sessions
        self._files = files
        self._count_at = 0.0

    def step(self) -> None:
        """One pass."""
        began = time.monotonic()
        self._sweep(until=began + SWEEP_SECONDS)
        if began >= self._count_at:
            began = time.monotonic()
            with self._sessions.begin() as tx:
                owners.count(tx)
            took = time.monotonic() - began
            self._count_at = began + max(COUNT_EVERY, took / SHARE)

    def _sweep(self, until: float) -> None:
        with self._sessions.read() as tx:
            rules = retention.find(tx)
        for rule in rules:
            while time.monotonic() < until:
                with self._sessions.read() as tx:
                    due = retention.due(tx, rule, limit=AT_ONCE)
                for job_id in due:
                    self._apply(rule, job_id)
                if len(due) < AT_ONCE:
                    break

    def _apply(self, rule: Rule, job_id: str) -> None:
        with self._sessions.begin() as tx:
            files = retention.apply(tx, rule, job_id)
        log.info("job.forgotten job=%s rule=%s what=%s", job_id, rule.id, rule.what)
        for name in files:
            try:
                self._files.remove(name)
            except OSError as error:  # a worker that starts removes it
                log.warning("job.files_left job=%s %s", job_id, error)
