"""How fast are a job's series written and read, and does a view slow down as the series grows?"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from statistics import median, quantiles
from time import perf_counter

import numpy as np
from bookkeeping import DATABASES, SPEC, opened
from sqlalchemy import Table, func, select
from tables import machine, show

from api import formats
from store import claims, compaction, jobs, leases, series
from store.chunks import Chunk, Column
from store.database import Sessions
from store.leases import Lease, Progress
from store.tables import chunks, summaries

SIZES = (100_000, 1_000_000, 10_000_000)
QUICK = (100_000, 1_000_000)
CHUNK = 16_384
COMMIT = 262_144
"""Iterations in one transaction of the writer, in chunks of CHUNK."""

POINTS = 1_000
REPETITIONS = 200
WHOLE = "application/vnd.apache.arrow.stream"
NAMES = ["loss", "lr"]
TENURE = timedelta(minutes=10)


@dataclass(frozen=True)
class Measured:
    """Of one series on one database; times in seconds, rates in points a second."""

    written: float
    compacted: float
    fresh: float
    views: list[float]
    zooms: list[float]
    arrow: float
    csv: float
    bytes: float
    summary_bytes: float


def main() -> None:
    """Measures every size on every database, and prints a table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=DATABASES, action="append", help="default: both")
    parser.add_argument("--quick", action="store_true", help=f"up to {QUICK[-1]:,} iterations")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    for database in arguments.database or DATABASES:
        rows = []
        for size in QUICK if arguments.quick else SIZES:
            with opened(database) as sessions:
                rows.append(line(size, measure(sessions, size)))
        show(
            f"series on {database}",
            [
                "iterations",
                "written, points/s",
                "compact, s",
                "view as written, ms",
                "view, ms",
                "p99, ms",
                "zoom, ms",
                "all as Arrow, points/s",
                "as CSV, points/s",
                "bytes a point",
                "of them summaries",
            ],
            rows,
            notes=[
                "loss (float32, noise) and lr (float64, a ramp) of each iteration, in this",
                f"process, without HTTP. Views: {POINTS} points, {REPETITIONS} times; a zoom is",
                "the middle third. 'As written' is a view of chunks as a worker leaves them.",
                machine(),
            ],
            markdown=arguments.markdown,
        )


def line(size: int, found: Measured) -> list[str]:
    """A row of the table."""
    return [
        f"{size:,}",
        f"{found.written:,.0f}",
        f"{found.compacted:.2f}",
        f"{1e3 * found.fresh:.1f}",
        f"{1e3 * median(found.views):.2f}",
        f"{1e3 * quantiles(found.views, n=100)[98]:.2f}",
        f"{1e3 * median(found.zooms):.2f}",
        f"{found.arrow:,.0f}",
        f"{found.csv:,.0f}",
        f"{found.bytes + found.summary_bytes:.2f}",
        f"{found.summary_bytes:.2f}",
    ]


def measure(sessions: Sessions, size: int) -> Measured:
    """Writes a series as a worker does, ends its job, and reads it."""
    with sessions.begin() as tx:
        jobs.add(tx, SPEC)
        claimed = claims.claim(tx, worker="w", queues=["default"], lease=TENURE)
    if claimed is None:
        raise SystemExit("the job that was just queued cannot be claimed")
    lease = claimed[1]
    written = size / write(sessions, lease, size)
    fresh = took(lambda: view(sessions, lease))
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
    compacted = took(lambda: make_compact(sessions))
    third = size // 3
    return Measured(
        written=written,
        compacted=compacted,
        fresh=fresh,
        views=[took(lambda: view(sessions, lease)) for _ in range(REPETITIONS)],
        zooms=[took(lambda: view(sessions, lease, third, 2 * third)) for _ in range(REPETITIONS)],
        arrow=size / median(took(lambda: read_all(sessions, lease, WHOLE)) for _ in range(3)),
        csv=size / median(took(lambda: read_all(sessions, lease, "text/csv")) for _ in range(3)),
        bytes=stored(sessions, chunks) / size,
        summary_bytes=stored(sessions, summaries) / size,
    )


def took(action: Callable[[], object]) -> float:
    """Seconds."""
    begun = perf_counter()
    action()
    return perf_counter() - begun


def write(sessions: Sessions, lease: Lease, size: int) -> float:
    """Seconds that the store needs for all rows, which are made beforehand."""
    loss = 1 + np.random.default_rng(0).random(size, dtype=np.float32)
    lr = np.linspace(0.01, 1, size)
    spent = 0.0
    for first, last in pairwise([*range(0, size, COMMIT), size]):
        parts = []
        for start, stop in pairwise([*range(first, last, CHUNK), last]):
            columns: dict[str, Column] = {"loss": loss[start:stop], "lr": lr[start:stop]}
            parts.append(Chunk("train", 0, start, columns))
        begun = perf_counter()
        with sessions.begin() as tx:
            leases.record(tx, [Progress(lease, last, parts)], extend=TENURE)
        spent += perf_counter() - begun
    return spent


def make_compact(sessions: Sessions) -> None:
    """All that the reconciler would do, in as many passes as it takes."""
    with sessions.read() as tx:
        (job,) = compaction.due(tx)
        blocks = compaction.pending(tx, job)
    for block in blocks:
        with sessions.begin() as tx:
            compaction.compact(tx, job, block)


def view(sessions: Sessions, lease: Lease, start: int = 0, stop: int | None = None) -> None:
    """One request of a screen."""
    with sessions.read() as tx:
        series.read(
            tx,
            lease.job_id,
            NAMES,
            series="train",
            repeat=0,
            start=start,
            stop=stop,
            points=POINTS,
        )


def read_all(sessions: Sessions, lease: Lease, media: str) -> int:
    """Bytes of every row in a format."""
    pages = series.stream(
        sessions, lease.job_id, NAMES, series="train", repeat=0, start=0, stop=None
    )
    return sum(len(piece) for piece in formats.written(pages, media))


def stored(sessions: Sessions, table: Table) -> int:
    """Bytes of all `data` in a table."""
    with sessions.read() as tx:
        return tx.execute(select(func.sum(func.length(table.c.data)))).scalar() or 0


if __name__ == "__main__":
    main()
