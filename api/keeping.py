"""What owners keep: counted now and then, and deleted by their rules of retention."""

import logging
import time

from store import owners, retention
from store.database import Sessions, Unavailable
from store.files import Files
from store.retention import Rule

log = logging.getLogger(__name__)

COUNT_EVERY = 60.0
"""Seconds between two counts, at least."""

SHARE = 0.02
"""Of its time that counting, and looking for what is due, may take: where there is much, both are
done less often."""

SWEEP_SECONDS = 0.5
"""That a pass spends on deleting, about; the rest waits for the next."""

AT_ONCE = 50
"""Jobs that are looked up at a time; each is its own transaction."""


class Keeper:
    """Counts and deletes, when it is asked to and there is something to do."""

    def __init__(self, sessions: Sessions, files: Files) -> None:
        self._sessions = sessions
        self._files = files
        self._count_at = self._sweep_at = 0.0

    def count(self) -> None:
        """Counts what owners have, where that was some time ago."""
        began = time.monotonic()
        if began < self._count_at:
            return
        self._count_at = began + COUNT_EVERY  # also where it goes wrong
        with self._sessions.read() as tx:
            rows = owners.count(tx)
        with self._sessions.begin() as tx:
            owners.remember(tx, rows)
        took = time.monotonic() - began
        self._count_at = began + max(COUNT_EVERY, took / SHARE)

    def sweep(self) -> None:
        """Deletes what is due by the rules, each of which gets its part of the time."""
        began = time.monotonic()
        if began < self._sweep_at:
            return
        with self._sessions.read() as tx:
            rules = retention.find(tx)
        done = [self._follow(rule, SWEEP_SECONDS / len(rules)) for rule in rules]
        if all(done):  # to look for more takes the longer the more has been deleted before
            ended = time.monotonic()
            self._sweep_at = ended + (ended - began) / SHARE

    def _follow(self, rule: Rule, seconds: float) -> bool:
        """Deletes for about so long; whether nothing is left that can be deleted."""
        until = time.monotonic() + seconds
        while True:
            with self._sessions.read() as tx:
                due = retention.due(tx, rule, limit=AT_ONCE)
            gone = 0
            for job_id in due:
                gone += self._apply(rule, job_id)
                if time.monotonic() > until:
                    return False
            if not gone or len(due) < AT_ONCE:
                return True

    def _apply(self, rule: Rule, job_id: str) -> bool:
        """Whether that could be done: one job that it cannot be done of leaves the others."""
        try:
            with self._sessions.begin() as tx:
                files = retention.apply(tx, rule, job_id)
        except Unavailable:
            raise
        except Exception:
            log.exception("retention.failed job=%s rule=%s", job_id, rule.id)
            return False
        log.info("job.forgotten job=%s rule=%s what=%s", job_id, rule.id, rule.what)
        for name in files:
            try:
                self._files.remove(name)
            except OSError as error:  # a worker that starts removes it
                log.warning("job.files_left job=%s %s", job_id, error)
        return True
