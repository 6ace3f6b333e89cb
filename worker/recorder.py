"""Turns the engine's blocks into stored chunks, a few transactions a minute or a second."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

import numpy as np

from spec.settings import Settings
from store import leases
from store.checkpoints import Saved
from store.chunks import Chunk
from store.database import Sessions, Unavailable, WriteTx, describe
from store.files import Files
from store.leases import Lease, LeaseLostError, Progress, Requests
from worker.checkpoints import remove
from worker.engine import Block
from worker.pulse import Pulse, clock
from worker.tallies import Tallies

log = logging.getLogger(__name__)

FIRST_INTERVAL = 0.1
LONGEST_INTERVAL = 2.0
ENOUGH_ROWS = 65_536

End = Callable[[WriteTx], None]
"""The move that ends a job, to be made with its last rows in one transaction."""


@dataclass
class _Pending:
    """What a job has recorded and not stored yet, how far it is, and since which checkpoint."""

    pulse: Pulse
    iteration: int = 0
    after: int = 0
    blocks: list[tuple[int, Block]] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    rows: int = 0

    def add(self, block: Block) -> None:
        self.blocks.append((self.after, block))
        if block.series != "validation":  # which has no iterations of its own
            self.rows += len(block)
            self.iteration += len(block)

    def checkpoint(self, saved: Saved) -> None:
        self.saved.append(saved)
        self.after = saved.iteration

    @property
    def is_empty(self) -> bool:
        return not (self.blocks or self.saved)

    def progress(self) -> Progress:
        return Progress(self.pulse.lease, self.iteration, chunks(self.blocks), tuple(self.saved))

    def stored(self, *, asked_at: float, requests: Requests) -> None:
        """The transaction that began at `asked_at` has been committed."""
        self.pulse.renewed(asked_at=asked_at, requests=requests)
        self.blocks.clear()
        self.saved.clear()
        self.rows = 0


class Recorder:
    """Holds blocks back until a transaction is worth it; loses none when the database is away.

    A checkpoint is stored at once, with all that came before it. What is held back is in memory:
    a process that is killed has made its job's updates since the last checkpoint in vain anyway.

    The first rows are stored at once, so that a curve begins when a job does; the interval then
    doubles up to two seconds. Jobs that run together share their transactions, so that many of
    them are no more of them.
    """

    def __init__(
        self,
        sessions: Sessions,
        settings: Settings,
        files: Files,
        tallies: Tallies | None = None,
    ) -> None:
        self.tallies = tallies or Tallies()
        self._sessions = sessions
        self._files = files
        self._extend: timedelta = settings.lease
        self._pending: dict[Lease, _Pending] = {}
        self._interval = FIRST_INTERVAL
        self._due = 0.0

    def begin(self, pulse: Pulse, *, iteration: int, after: int) -> None:
        """A job starts at an iteration; `after` is that of its own checkpoint, 0 without one."""
        self._pending[pulse.lease] = _Pending(pulse, iteration, after)

    def checkpoint(self, pulse: Pulse, saved: Saved, *, last: bool = False) -> None:
        """Takes a checkpoint whose file is there; what it supersedes is removed.

        The last one is stored with the end of its job, which is about to follow.
        """
        self._of(pulse).checkpoint(saved)
        if not last:
            self._store()

    def add(self, pulse: Pulse, block: Block) -> None:
        """Takes a job's block, and stores what is pending when it is time to.

        A job that is found to be no longer this worker's is noted in its pulse.
        """
        pending = self._of(pulse)
        pending.add(block)
        if time.monotonic() < self._due and pending.rows < ENOUGH_ROWS:
            return
        self._store()

    def _store(self) -> None:
        try:
            self._write([each for each in self._pending.values() if not each.is_empty])
        except Unavailable as error:
            log.warning("job.record_failed jobs=%d %s", len(self._pending), describe(error))
        self._due = time.monotonic() + self._interval
        self._interval = min(2 * self._interval, LONGEST_INTERVAL)

    def finish(self, pulse: Pulse, end: End) -> None:
        """Stores what is left of a job and ends it, in one transaction.

        Tries again while the database is away and the lease lasts. An answer lost after the
        COMMIT shows as a lost lease: the job has ended, and there is nothing left to do.

        Raises:
            LeaseLostError: the job is no longer this worker's.
        """
        pending = self._of(pulse)
        delay = FIRST_INTERVAL
        while not pulse.lost:
            try:
                if self._write([pending], {pulse.lease: end}):
                    return
            except Unavailable as error:
                log.warning("job.end_failed job=%s %s", pulse.lease.job_id, describe(error))
            if not pulse.lost:
                time.sleep(delay)
                delay = min(2 * delay, LONGEST_INTERVAL)
        raise LeaseLostError(f"{pulse.lease.job_id} is no longer held")

    def finish_together(self, ends: Mapping[Pulse, End]) -> Collection[Lease]:
        """Ends jobs as `finish` does, in one transaction and trying once; those that have ended."""
        pending = [self._of(pulse) for pulse in ends]
        try:
            return self._write(pending, {pulse.lease: end for pulse, end in ends.items()})
        except Unavailable as error:
            log.warning("job.end_failed jobs=%d %s", len(ends), describe(error))
        except Exception:  # whose fault it is shows when each ends by itself
            log.exception("job.end_failed jobs=%d", len(ends))
        return ()

    def forget(self, pulse: Pulse) -> None:
        """Drops what is pending of a job that has ended."""
        self._pending.pop(pulse.lease, None)

    def _of(self, pulse: Pulse) -> _Pending:
        return self._pending.setdefault(pulse.lease, _Pending(pulse))

    def _write(
        self, news: list[_Pending], ends: Mapping[Lease, End] = MappingProxyType({})
    ) -> Collection[Lease]:
        """Stores what is new of those that are held, with their ends; which these are."""
        by_lease = {each.pulse.lease: each for each in news if not each.pulse.lost}
        if not by_lease:
            return ()
        asked_at = clock()
        progress = [each.progress() for each in by_lease.values()]
        with self._sessions.begin() as tx:
            renewal = leases.record(tx, progress, extend=self._extend)
            for lease in renewal.kept:
                if lease in ends:
                    ends[lease](tx)
        kept = [by_lease[lease] for lease in renewal.kept]
        self.tallies.add(
            iterations=sum(each.rows for each in kept),
            points=sum(len(block) for each in kept for _, block in each.blocks),
            series_bytes=renewal.written,
        )
        for lease, requests in renewal.kept.items():
            by_lease[lease].stored(asked_at=asked_at, requests=requests)
        remove(self._files, renewal.superseded)
        for lease in renewal.lost:
            by_lease[lease].pulse.lose()
        return renewal.kept.keys()


def _follows(block: Block, before: Block) -> bool:
    """Whether the two can be one chunk: same columns, and no gap where rows have no iteration."""
    if block.columns.keys() != before.columns.keys():
        return False
    return "iteration" in block.columns or block.start == before.start + len(before)


def chunks(blocks: Sequence[tuple[int, Block]]) -> list[Chunk]:
    """Blocks joined into one chunk for each series and repeat, where they are consecutive.

    Each block comes with the checkpoint that it follows; none is joined across one.
    """
    runs: list[tuple[int, list[Block]]] = []
    open_runs: dict[tuple[str, int, int], list[Block]] = {}
    for after, block in blocks:
        key = (block.series, block.repeat, after)
        run = open_runs.get(key)
        if run is None or not _follows(block, run[-1]):
            run = open_runs[key] = []
            runs.append((after, run))
        run.append(block)
    return [
        Chunk(
            series=run[0].series,
            repeat=run[0].repeat,
            start=run[0].start,
            columns={
                name: np.concatenate([block.columns[name] for block in run])
                for name in run[0].columns
            },
            after=after,
        )
        for after, run in runs
    ]
