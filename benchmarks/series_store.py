"""How fast do series go in and out, and what do they cost? stepsize against MLflow's server."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import series_readers as readers
import series_servers as servers
import series_writers as writers
from contest import progress
from series_readers import Reads, client
from series_report import written_report
from series_servers import DATABASES, Place

from migrations.run import upgrade
from store import compaction
from store.database import connect

MLFLOW = Path(__file__).parent / "peers" / "mlflow_client.py"

EPILOG = """
A point is an iteration: its loss and its rate together. In: worker processes write what their
recorder gets from the engine, a thousand iterations at once, into the database, and end their jobs;
MLflow's client sends batches of 1,000 values, the most there is, to MLflow's server. Out: one HTTP
client asks `python -m api`, after the reconciler has made the series compact, and MLflow's server;
that everything is there to the bit is checked first. MLflow gets fewer points, since it takes
minutes for what takes stepsize less than a second; its rates are of those.

MLflow lives in an environment of its own, made with
  python3.11 -m venv mlflow-env && mlflow-env/bin/pip install mlflow psycopg2-binary
and is left out where --mlflow-python is not given.

examples:
  python benchmarks/series_store.py --quick
  python benchmarks/series_store.py --mlflow-python mlflow-env/bin/python \\
      --doc docs/series-store.md
"""


@dataclass
class Store:
    """What came out on one database for one of the two.

    Attributes:
        rates: points a second by how many writers there were, one for each round.
        fresh: bytes a point as written, and `compact` after the reconciler.
        reads: by how many iterations the series has.
        memory: bytes that the server had at most.
    """

    name: str
    database: str
    rates: dict[int, list[float]] = field(default_factory=dict)
    fresh: float = 0
    compact: float | None = None
    reads: dict[int, Reads] = field(default_factory=dict)
    memory: int = 0


def main() -> None:
    """Parse the command line, measure, print or write."""
    options = parsed()
    databases = options.database or list(DATABASES)
    found: list[Store] = []
    with progress() as bar:
        steps = len(databases) * (
            options.rounds * len(options.writers)
            + len(options.sizes)
            + (options.mlflow_python is not None) * (len(options.writers) + 1)
        )
        shown = bar.add_task("", total=steps)

        def step(what: str) -> None:
            bar.update(shown, description=what)

        def done() -> None:
            bar.advance(shown)

        for database in databases:
            found.append(ours(database, options, step, done))
            if options.mlflow_python is not None:
                found.append(theirs(database, options, step, done))
    text = written_report(found, options, told(sys.argv[1:]))
    if options.doc is None:
        print(text)
    else:
        options.doc.write_text(text)


def told(arguments: Sequence[str]) -> str:
    """The command for a document: where MLflow lies here is no concern of its readers."""
    shown = [
        "mlflow-env/bin/python" if before == "--mlflow-python" else each
        for before, each in zip(["", *arguments], arguments, strict=False)
    ]
    return " ".join(["python", "benchmarks/series_store.py", *shown])


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--database", choices=DATABASES, action="append", help="default: both")
    add("--writers", type=int, nargs="+", default=[1, 4, 16], help="at once (default 1 4 16)")
    add("--iterations", type=int, default=1_000_000, help="of each writer (default 1000000)")
    add("--rounds", type=int, default=5, help="of stepsize's writers (default 5)")
    add(
        "--sizes",
        type=int,
        nargs="+",
        default=[1_000_000, 10_000_000],
        help="iterations of the series that are read (default 1000000 10000000)",
    )
    add("--views", type=int, default=300, help="requests for each figure (default 300)")
    add("--whole", type=int, default=15, help="requests of all rows (default 15)")
    add("--mlflow-python", type=absolute, help="the interpreter of the environment with MLflow")
    add(
        "--mlflow-iterations",
        type=int,
        default=100_000,
        help="of all its writers together (default 100000)",
    )
    add("--doc", type=Path, help="write Markdown to this file instead of printing it")
    add("--quick", action="store_true", help="a small run, to see that it works")
    options = parser.parse_args()
    if options.quick:
        options.iterations, options.sizes, options.rounds = 100_000, [100_000, 300_000], 2
        options.views, options.whole, options.mlflow_iterations = 20, 3, 2_000
    return options


def absolute(path: str) -> Path:
    """A path that is not followed: an interpreter is a link, and its place says what it imports."""
    return Path(path).absolute()


Step = Callable[[str], None]


def ours(database: str, options: argparse.Namespace, step: Step, done: Callable[[], None]) -> Store:
    """Writes, then reads."""
    found = Store("stepsize", database)
    with servers.places(database) as (folder, place):
        for number in range(options.rounds):
            for count in options.writers:
                step(f"{database}: {count} writers")
                url = place(f"in{number}x{count}")
                seconds = write(url, folder, count, options.iterations)
                found.rates.setdefault(count, []).append(count * options.iterations / seconds)
                done()
        for size in options.sizes:
            step(f"{database}: reading {size:,}")
            read(found, place, folder, size, options)
            done()
    return found


def write(url: str, folder: Path, count: int, iterations: int) -> float:
    """Seconds that so many writers need on an empty database."""
    sessions = connect(url)
    upgrade(sessions)
    leases = [writers.claimed(sessions) for _ in range(count)]
    sessions.close()
    tasks = [writers.Task(url, folder, lease, iterations, block=1_000) for lease in leases]
    return writers.write(tasks)


def read(found: Store, place: Place, folder: Path, size: int, options: argparse.Namespace) -> None:
    """A series of so many iterations, once it has been made compact."""
    url = place(f"out{size}")
    sessions = connect(url)
    upgrade(sessions)
    empty = servers.stored_bytes(url)
    lease = writers.claimed(sessions)
    writers.write([writers.Task(url, folder, lease, size, block=1_000)])
    if size == options.sizes[0]:
        found.fresh = (servers.stored_bytes(url) - empty) / size
    reads = found.reads.setdefault(size, Reads())
    with servers.stepsize(url, folder) as (address, process), client(address) as http:
        until = time.monotonic() + readers.DEADLINE
        while True:
            with sessions.read() as tx:
                if not compaction.due(tx):
                    break
            if time.monotonic() > until:
                raise RuntimeError("the reconciler has not made the series compact")
            time.sleep(0.2)
        readers.views(reads, http, lease.job_id, size, options.views)
        if size == options.sizes[0]:
            readers.check(http, lease.job_id, writers.columns(size))
            readers.everything(reads, http, lease.job_id, options.whole)
        found.memory = max(found.memory, servers.peak_memory(process))
    if size == options.sizes[0]:
        found.compact = (servers.stored_bytes(url) - empty) / size
    sessions.close()


def theirs(
    database: str, options: argparse.Namespace, step: Step, done: Callable[[], None]
) -> Store:
    """The same with MLflow's server: each number of writers on a database of its own."""
    found = Store("MLflow", database)
    total = options.mlflow_iterations
    with servers.places(database) as (folder, place):
        for count in options.writers:
            step(f"{database}: MLflow, {count} writers")
            url = place(f"in{count}")
            with servers.mlflow(options.mlflow_python, url, folder) as (address, process):
                empty = servers.stored_bytes(url)
                task = {"url": address, "writers": count, "iterations": total // count}
                environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": ""}
                answer = subprocess.run(
                    [str(options.mlflow_python), str(MLFLOW), json.dumps(task)],
                    env=environ,
                    stdout=subprocess.PIPE,
                    check=True,
                )
                told = json.loads(answer.stdout.splitlines()[-1])
                found.rates[count] = [count * task["iterations"] / told["seconds"]]
                done()
                if count == options.writers[0]:
                    found.fresh = (servers.stored_bytes(url) - empty) / (count * (total // count))
                    step(f"{database}: reading from MLflow")
                    reads = found.reads.setdefault(total // count, Reads())
                    with client(address) as http:
                        readers.mlflow(
                            reads, http, told["runs"][0], total // count, options.views // 10
                        )
                    done()
                found.memory = max(found.memory, servers.peak_memory(process))
    return found


if __name__ == "__main__":
    main()
