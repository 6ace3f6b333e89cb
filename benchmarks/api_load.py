"""How many requests a second does one API process answer, how soon, and how many listeners?

A server of its own (`python -m api`, one process) is started on an empty database and a broker,
and asked over 16 connections, each of which waits for its answer before it asks again: so the
rate is the most that it answers, and the times are those of a server that has all it can do.

Server and load share the machine. With two processors or more the server is held on the first and
the load on the last, so that "ms of CPU" is the server's own; PostgreSQL runs where it likes.
"""

import argparse
import io
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from bookkeeping import DATABASES, SPEC, TRAINING, opened
from contest import progress
from listeners import TENURE, Heard, listen
from load import PATIENCE, Load, hammer, request
from rich.progress import Progress as Bar
from tables import machine, show

from stepsize import broker
from stepsize.embedded import free_port
from store import claims, jobs, leases, moves
from store.chunks import Chunk
from store.database import Sessions
from store.leases import Lease, Progress

INTRODUCTION = """# How much one API process answers

Printed by `benchmarks/api_load.py --page`: {connections} connections, each of which asks again as
soon as it is answered, against one process of `python -m api`, which is held on one processor. The
load, PostgreSQL and the writers of live rows share the other one: clients on machines of their own
would wait less. What an answer costs the server is in "ms of CPU": its inverse is what one
processor can do. Of listeners, rows that are missing or come twice are errors as well.
"""

PAGE = Path(__file__).parents[1] / "docs" / "api-load.md"
ITERATIONS = 100_000
JOBS = 1_000
"""In the table that is listed."""
WRITTEN = 20
"""Jobs that are written while others listen."""

HEADERS = ["requests", "a second", "p50, ms", "p99, ms", "server, ms of CPU", "errors"]


@dataclass(frozen=True)
class Asked:
    """One kind of request and what answers it."""

    title: str
    requests: Iterator[bytes]
    status: int


def main() -> None:
    """Asks one server on each database, and prints a table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=DATABASES, action="append", help="default: both")
    parser.add_argument("--seconds", type=float, default=10, help="of each kind (default: 10)")
    parser.add_argument("--connections", type=int, default=16, help="default: 16")
    parser.add_argument("--listeners", type=int, default=500, help="0: none (default: 500)")
    parser.add_argument("--only", help="kinds of requests with this in their names alone")
    parser.add_argument("--markdown", action="store_true", help="to be pasted into a document")
    parser.add_argument("--page", action="store_true", help=f"writes {PAGE.name} of the documents")
    arguments = parser.parse_args()
    if arguments.page:
        told = io.StringIO()
        with redirect_stdout(told):
            print(INTRODUCTION.format(**vars(arguments)))
            measure(arguments, markdown=True)
        PAGE.write_text(told.getvalue().rstrip() + "\n")
        return
    measure(arguments, markdown=arguments.markdown)


def measure(arguments: argparse.Namespace, *, markdown: bool) -> None:
    """Every kind of request on every database."""
    for database in arguments.database or DATABASES:
        busy = os.getloadavg()[0]  # of other work: a busy machine measures itself
        rows: list[list[str]] = []
        with progress() as bar, opened(database) as sessions, served(sessions) as server:
            for asked in kinds(sessions):
                if arguments.only and arguments.only not in asked.title:
                    continue
                rows.append(asked_row(asked, server, bar, arguments))
            heard = None
            if arguments.listeners and not arguments.only:
                heard = heard_by(sessions, server, bar, arguments)
        notes = [
            f"{JOBS:,} jobs; a view is of {ITERATIONS:,} iterations, {arguments.seconds:g} s each."
        ]
        show(
            database,
            HEADERS,
            rows,
            notes=[*notes, machine(f"load average {busy:.1f} before")],
            markdown=markdown,
        )
        if heard:
            show(
                f"{heard.listeners} listeners on {database}",
                [
                    "live",
                    "events a second",
                    "points a second",
                    "delay p50, ms",
                    "p99, ms",
                    "errors",
                ],
                [live_row(heard)],
                notes=[f"{WRITTEN} jobs, written four times a second; a delay is from there on."],
                markdown=markdown,
            )


@dataclass(frozen=True)
class Server:
    """A process that answers."""

    port: int
    process: psutil.Process

    def cpu(self) -> float:
        """Seconds of it that the process has used."""
        used = self.process.cpu_times()
        return float(used.user + used.system)


@contextmanager
def served(sessions: Sessions) -> Iterator[Server]:
    """A server on the database, with a broker, on a processor of its own where there are two."""
    here = sorted(os.sched_getaffinity(0))
    with TemporaryDirectory(prefix="load") as name:
        folder = Path(name)
        port = free_port()
        socket = folder / "broker.sock"
        environ = os.environ | {
            "STEPSIZE_DATABASE_URL": sessions.engine.url.render_as_string(hide_password=False),
            "STEPSIZE_BROKER_URL": broker.url(socket),
            "STEPSIZE_DATA_DIR": name,
            "STEPSIZE_PORT": str(port),
        }
        log = (folder / "log").open("wb")
        commands = (broker.command(socket), [sys.executable, "-m", "api"])
        children = [
            subprocess.Popen(each, env=environ, stdout=log, stderr=log) for each in commands
        ]
        os.sched_setaffinity(children[-1].pid, here[:1])
        os.sched_setaffinity(0, here[-1:])
        try:
            _wait(port)
            yield Server(port, psutil.Process(children[-1].pid))
        finally:
            os.sched_setaffinity(0, here)
            for child in reversed(children):
                child.terminate()
                child.wait(PATIENCE)
            log.close()


def _wait(port: int) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def kinds(sessions: Sessions) -> Iterator[Asked]:
    """What is asked, one kind after the other; the jobs that it needs are made before."""
    with sessions.begin() as tx:
        for _ in range(JOBS - 1):
            moves.cancel(tx, jobs.add(tx, SPEC).id)
    (lease,) = leased(sessions, 1)
    recorded(sessions, lease)
    with sessions.read() as tx:
        job = jobs.get(tx, lease.job_id)
    path = f"/v1/jobs/{job.id}"
    body = json.dumps(TRAINING).encode()
    polled = request("GET", path, If_None_Match=f'W/"{job.version}"')
    view = request("GET", f"{path}/series?names=loss,lr&points=1000")
    page = request("GET", "/v1/jobs?limit=50")
    yield Asked("poll a finished job: 304", itertools.repeat(polled), 304)
    yield Asked("get a finished job: 200", itertools.repeat(request("GET", path)), 200)
    yield Asked("list 50 jobs", itertools.repeat(page), 200)
    yield Asked("view of 1,000 points", itertools.repeat(view), 200)
    yield Asked("submit", itertools.repeat(request("POST", "/v1/jobs", body)), 201)
    keys = (f"key-{number}" for number in itertools.count())
    once = (request("POST", "/v1/jobs", body, Idempotency_Key=key) for key in keys)
    yield Asked("submit with a key", once, 201)


def leased(sessions: Sessions, count: int) -> list[Lease]:
    """New jobs that run."""
    found = []
    for _ in range(count):
        with sessions.begin() as tx:
            jobs.add(tx, SPEC.model_copy(update={"priority": 1000}))
        with sessions.begin() as tx:
            claimed = claims.claim(tx, worker="w", queues=["default"], lease=TENURE)
        if claimed is None:
            raise SystemExit("the job that was just queued cannot be claimed")
        found.append(claimed[1])
    return found


def recorded(sessions: Sessions, lease: Lease) -> None:
    """A series, and the end of its job."""
    noise = np.random.default_rng(0).random(ITERATIONS).astype(np.float32)
    columns = {"loss": noise, "lr": np.linspace(0, 1, ITERATIONS)}
    chunk = Chunk("train", 0, 0, columns, after=0)
    with sessions.begin() as tx:
        leases.record(tx, [Progress(lease, ITERATIONS, [chunk])], extend=TENURE)
        leases.succeed(tx, lease, {})


def asked_row(asked: Asked, server: Server, bar: Bar, arguments: argparse.Namespace) -> list[str]:
    """One kind of request, measured."""
    task = bar.add_task(asked.title, total=arguments.seconds)
    begun, used = time.monotonic(), server.cpu()
    load = hammer(
        server.port,
        asked.requests,
        connections=arguments.connections,
        seconds=arguments.seconds,
        tick=lambda: bar.update(task, completed=time.monotonic() - begun),
    )
    used = server.cpu() - used
    return [
        asked.title,
        f"{len(load.seconds) / load.took:,.0f}",
        *(f"{1e3 * each:.1f}" for each in ends(load.seconds)),
        f"{1e3 * used / len(load.seconds):.2f}",
        str(errors(load, asked.status)),
    ]


def errors(load: Load, status: int) -> int:
    """Answers that were not the right one, or none."""
    return load.lost + sum(load.statuses.values()) - load.statuses[status]


def ends(seconds: list[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    return median(seconds), quantiles(seconds, n=100)[98]


def heard_by(sessions: Sessions, server: Server, bar: Bar, arguments: argparse.Namespace) -> Heard:
    """What listeners are told of jobs that are written meanwhile."""
    task = bar.add_task(f"{arguments.listeners} listeners", total=arguments.seconds)
    begun = time.monotonic()
    return listen(
        server.port,
        sessions.engine.url.render_as_string(hide_password=False),
        leased(sessions, WRITTEN),
        listeners=arguments.listeners,
        seconds=arguments.seconds,
        tick=lambda: bar.update(task, completed=time.monotonic() - begun),
    )


def live_row(heard: Heard) -> list[str]:
    """What they were told."""
    return [
        "server-sent events",
        f"{len(heard.delays) / heard.took:,.0f}",
        f"{heard.points / heard.took:,.0f}",
        *(f"{1e3 * each:.0f}" for each in ends(heard.delays)),
        str(heard.wrong),
    ]


if __name__ == "__main__":
    main()
