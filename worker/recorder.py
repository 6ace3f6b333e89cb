"""Turns the engine's blocks into stored chunks, a few transactions a minute or a second."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

import numpy as np

from spec.settings import Settings
from store import leases
from store.chunks import Chunk
from store.database import Sessions, Unavailable, WriteTx, describe
from store.leases import Lease, LeaseLostError
from worker.engine import Block
from worker.pulse import Pulse, clock

log = logging.getLogger(__name__)

FIRST_INTERVAL = 0.1
LONGEST_INTERVAL = 2.0
ENOUGH_ROWS = 65_536


class Recorder:
    """Holds blocks back until a transaction is worth it; loses none when the database is away.

    The first rows are stored at once, so that a curve begins when a job does; the interval then
    doubles up to two seconds.
    """

    def __init__(self, sessions: Sessions, lease: Lease, pulse: Pulse, settings: Settings) -> None:
        self._sessions = sessions
        self._lease = lease
        self._pulse = pulse
        self._extend: timedelta = settings.lease
        self._blocks: list[Block] = []
        self._rows = 0
        self._iteration = 0
        self._interval = FIRST_INTERVAL
        self._due = 0.0

    def add(self, block: Block) -> None:
        """Takes a block, and stores what is pending when it is time to.

        Raises:
            LeaseLostError: the job is no longer this worker's.
        """
        self._blocks.append(block)
        if block.series != "validation":  # which has no iterations of its own
            self._rows += len(block)
            self._iteration += len(block)
        if time.monotonic() < self._due and self._rows < ENOUGH_ROWS:
            return
        try:
            self._write(None)
        except Unavailable as error:
            log.warning("job.record_failed job=%s %s", self._lease.job_id, describe(error))
        self._due = time.monotonic() + self._interval
        self._interval = min(2 * self._interval, LONGEST_INTERVAL)

    def finish(self, end: Callable[[WriteTx], None]) -> None:
        """Stores what is left and ends the job, in one transaction.

        Tries again while the database is away and the lease lasts. An answer lost after the
        COMMIT shows as a lost lease: the job has ended, and there is nothing left to do.

        Raises:
            LeaseLostError: the job is no longer this worker's.
        """
        delay = FIRST_INTERVAL
        while True:
            try:
                self._write(end)
            except Unavailable as error:
                log.warning("job.end_failed job=%s %s", self._lease.job_id, describe(error))
                time.sleep(delay)
                delay = min(2 * delay, LONGEST_INTERVAL)
            else:
                return

    def _write(self, end: Callable[[WriteTx], None] | None) -> None:
        if self._pulse.lost:
            raise LeaseLostError(f"{self._lease.job_id}: the lease was not renewed in time")
        asked_at = clock()
        with self._sessions.begin() as tx:
            asked = leases.record(
                tx,
                self._lease,
                chunks(self._blocks),
                iteration=self._iteration,
                extend=self._extend,
            )
            if end is not None:
                end(tx)
        self._pulse.renewed(asked_at=asked_at, cancel_requested=asked)
        self._blocks.clear()
        self._rows = 0


def _follows(block: Block, before: Block) -> bool:
    """Whether the two can be one chunk: same columns, and no gap where rows have no iteration."""
    if block.columns.keys() != before.columns.keys():
        return False
    return "iteration" in block.columns or block.start == before.start + len(before)


def chunks(blocks: list[Block]) -> list[Chunk]:
    """Blocks joined into one chunk for each series and repeat, where they are consecutive."""
    runs: list[list[Block]] = []
    open_runs: dict[tuple[str, int], list[Block]] = {}
    for block in blocks:
        key = (block.series, block.repeat)
        run = open_runs.get(key)
        if run is None or not _follows(block, run[-1]):
            run = open_runs[key] = []
            runs.append(run)
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
        )
        for run in runs
    ]
