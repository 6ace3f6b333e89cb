"""A pool of a thousand workers on one machine: what each step costs, and what saturates first.

The workers are threads that claim, beat, store blocks and finish as real ones do, and compute
nothing. The database is PostgreSQL, the broker Valkey, the jobs come in over HTTP.
"""

import argparse
import io
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import httpx
import psutil
from contest import progress
from redis import Redis
from scale_pool import Plan, Told, serve
from series_servers import places, serving
from sqlalchemy import text
from tables import machine, show

from migrations.run import upgrade
from stepsize import broker
from stepsize.embedded import free_port
from store.database import Sessions, connect

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"

JOB = {
    "kind": "training",
    "model": {"name": "mlp", "params": {"hidden": [16]}},
    "data": {"name": "digits"},
    "batch_size": 32,
    "optimizer": {"name": "sgd"},
    "schedule": {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 20},
    "length": {"iterations": 4000},
}
BATCH = 1000

ROLES = ("database", "API", "broker", "workers")
"""Whose processor time is told apart."""

INTRODUCTION = """\
# A pool of a thousand workers

`benchmarks/scale.py --page` wrote this page: {workers:,} simulated workers, {jobs:,} jobs,
PostgreSQL, Valkey and the API, all on one machine of few cores. The workers claim, beat, store
blocks of {points:,} iterations and finish as real ones do, with the same code and over
{connections} connections, and compute nothing. They take processor time from the database that
real ones, on machines of their own, would not.
"""


@dataclass(frozen=True)
class Spent:
    """Processor seconds by role, and how often the database committed."""

    seconds: Counter[str]
    commits: int
    at: float


class Watch:
    """Reads what each process has used."""

    def __init__(self, sessions: Sessions, roots: dict[str, list[psutil.Process]]) -> None:
        self._sessions = sessions
        self._roots = roots

    def look(self) -> Spent:
        """Now."""
        seconds: Counter[str] = Counter()
        for role, roots in self._roots.items():
            for root in roots:
                for each in (root, *root.children(recursive=True)):
                    try:
                        times = each.cpu_times()
                    except psutil.NoSuchProcess:
                        continue
                    seconds[role] += times.user + times.system
        with self._sessions.read() as tx:
            found = tx.execute(
                text("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
            )
            return Spent(seconds, int(found.scalar_one()), time.monotonic())


class Processes:
    """The processes of the pool."""

    def __init__(self, url: str, socket: str, arguments: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        each = arguments.workers // arguments.processes
        self.ids: list[int] = []
        self._ends: list[Connection] = []
        for number in range(arguments.processes):
            here, there = context.Pipe()
            known = {
                "url": url,
                "broker": socket,
                "first": number * each,
                "count": each,
                "connections": max(1, arguments.connections // arguments.processes),
                "points": arguments.points,
            }
            process = context.Process(target=serve, args=(there,), kwargs=known, daemon=True)
            process.start()
            self.ids.append(process.pid or 0)
            self._ends.append(here)
        for end in self._ends:
            end.recv()

    def carry_out(self, plan: Plan) -> list[Told]:
        """One phase, by all of them."""
        for end in self._ends:
            end.send(plan)
        return [end.recv() for end in self._ends]

    def stop(self) -> None:
        """Lets them end."""
        for end in self._ends:
            end.send(None)


def main() -> None:
    """Runs the phases, and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=1000, help="default: 1000")
    parser.add_argument("--processes", type=int, default=4, help="that they are in (default: 4)")
    parser.add_argument("--jobs", type=int, default=100_000, help="default: 100,000")
    parser.add_argument("--connections", type=int, default=40, help="of all workers (default: 40)")
    parser.add_argument("--points", type=int, default=1000, help="of a block (default: 1000)")
    parser.add_argument("--paced", type=float, default=120, help="seconds (default: 120)")
    parser.add_argument("--page", action="store_true", help=f"writes {PAGE.name} of the documents")
    arguments = parser.parse_args()
    if not arguments.page:
        simulate(arguments, markdown=False)
        return
    told = io.StringIO()
    with redirect_stdout(told):
        print(INTRODUCTION.format(**vars(arguments)))
        simulate(arguments, markdown=True)
    PAGE.write_text(told.getvalue().rstrip() + "\n")


def simulate(arguments: argparse.Namespace, *, markdown: bool) -> None:
    """All phases on a fresh database."""
    busy = os.getloadavg()[0]  # of other work: a busy machine measures itself
    with ExitStack() as stack:
        bar = stack.enter_context(progress())
        folder, place = stack.enter_context(places("postgresql"))
        url = place("scale")
        sessions = connect(url)
        stack.callback(sessions.close)
        upgrade(sessions)
        socket, valkey = stack.enter_context(_valkey())
        api_url, api = stack.enter_context(_api(url, socket, folder))
        postgres = _postmaster(folder)
        pool = Processes(url, str(socket), arguments)
        stack.callback(pool.stop)
        roots = {
            "database": [postgres],
            "API": [api],
            "broker": [valkey],
            "workers": [psutil.Process(each) for each in pool.ids],
        }
        watch = Watch(sessions, roots)
        table = Table()
        task = bar.add_task("submit", total=8)

        before = watch.look()
        seconds = submit(api_url, arguments.jobs)
        table.add("submit (HTTP, 1,000 a request)", arguments.jobs, seconds, (before, watch.look()))
        bar.advance(task)
        for title, plan in (
            ("claim", Plan("claim")),
            ("heartbeat", Plan("beat", 5)),
            ("presence", Plan("report", 5)),
            (f"block of {arguments.points:,}", Plan("block", 5)),
            ("finish, with a block", Plan("finish")),
        ):
            bar.update(task, description=title)
            before = watch.look()
            told = pool.carry_out(plan)
            table.of(title, told, (before, watch.look()))
            bar.advance(task)
        left = arguments.jobs - arguments.workers
        bar.update(task, description="whole jobs")
        before = watch.look()
        told = pool.carry_out(Plan("live", seconds=3600 if left > 10**6 else 900))
        drained = table.of(
            "whole jobs: claim, block, finish", told, (before, watch.look()), "finish"
        )
        bar.advance(task)

        bar.update(task, description="at pace")
        submit(api_url, paced := int(arguments.workers * max(2, arguments.paced / 30)))
        before = watch.look()
        told = pool.carry_out(Plan("live", seconds=arguments.paced, blocks=15, pace=30))
        pace = Table()
        lived = pace.of("a job of 30 s, a block every 2 s", told, (before, watch.look()), "finish")
        bar.advance(task)
        with sessions.read() as tx:
            counts = dict(tx.exec_driver_sql("SELECT state, count(*) FROM jobs GROUP BY 1").all())
            again = tx.exec_driver_sql("SELECT count(*) FROM jobs WHERE attempt > 1").scalar_one()
            size = tx.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    told_of_jobs = (
        f"{drained:,} of {left:,} jobs were run to their ends in the phase of whole jobs, {lived:,}"
        f" of {paced:,} at pace; at the end {json.dumps(counts)}, {again} of them attempted twice,"
        f" {size / 1e9:.2f} GB."
    )
    told_of_times = (
        "A time is from having a connection to the commit. Processor milliseconds are those of all"
        " processes of a role, by step."
    )
    notes = [told_of_jobs, told_of_times, machine(f"load average {busy:.1f} before")]
    table.print("Flat out", notes, markdown=markdown)
    pace.print("At the pace of real jobs", [], markdown=markdown)
    table.extrapolate(markdown=markdown)


class Table:
    """Rows of steps, and what one of each costs."""

    def __init__(self) -> None:
        self._rows: list[list[str]] = []
        self._costs: dict[str, Counter[str]] = {}

    def add(
        self,
        title: str,
        count: int,
        seconds: float,
        spent: tuple[Spent, Spent],
        times: Sequence[float] = (),
    ) -> None:
        """One step that was done so often, between two looks."""
        before, after = spent
        used = after.seconds - before.seconds
        wall = (after.at - before.at) * len(os.sched_getaffinity(0))
        each = Counter({role: 1000 * used[role] / max(count, 1) for role in ROLES})
        self._costs[title] = each
        fast = ["", ""]
        if len(times) > 1:
            fast = [f"{1000 * median(times):.1f}", f"{1000 * quantiles(times, n=100)[98]:.0f}"]
        self._rows.append(
            [
                title,
                f"{count:,}",
                f"{count / seconds:,.0f}",
                *fast,
                *(f"{each[role]:.2f}" for role in ROLES),
                f"{100 * used['database'] / wall:.0f} %",
                f"{100 * sum(used.values()) / wall:.0f} %",
            ]
        )

    def of(
        self, title: str, told: Sequence[Told], spent: tuple[Spent, Spent], step: str = ""
    ) -> int:
        """A phase of the pool, counted by one of its steps; how often that was done."""
        wanted = step or next(iter(told[0].seconds), "")
        times = [each for process in told for each in process.seconds.get(wanted, [])]
        seconds = max(each.ended for each in told) - min(each.began for each in told)
        if errors := sum(each.errors for each in told):
            title = f"{title} ({errors} errors)"
        self.add(title, len(times), seconds, spent, times)
        return len(times)

    def print(self, title: str, notes: Sequence[str], *, markdown: bool) -> None:
        """All rows."""
        headers = [
            *("step", "times", "a second", "p50, ms", "p99, ms"),
            *(f"{role}, ms" for role in ROLES),
            *("database of all cores", "busy"),
        ]
        show(title, headers, self._rows, notes=notes, markdown=markdown)

    def extrapolate(self, *, markdown: bool) -> None:
        """The sum on paper: what a day of 10,000 GPUs and 1e9 points asks of the database."""
        gpus, a_day, minutes = 10_000, 1e9, 30
        cost = {title.split(",")[0].split(" of ")[0]: each for title, each in self._costs.items()}
        kinds = {
            "heartbeats, every 10 s": (gpus / 10, "heartbeat"),
            "presence, every 10 s": (gpus / 10, "presence"),
            "blocks, every 2 s": (gpus / 2, "block"),
            f"claims, of jobs of {minutes} min": (gpus / (60 * minutes), "claim"),
            "finishes": (gpus / (60 * minutes), "finish"),
        }
        rows = []
        total = 0.0
        for title, (rate, name) in kinds.items():
            cores = rate * cost[name]["database"] / 1000
            total += cores
            rows.append([title, f"{rate:,.1f}", f"{cost[name]['database']:.2f}", f"{cores:.2f}"])
        rows.append(["all of it", "", "", f"{total:.1f}"])
        blocks = gpus / 2
        note = (
            f"1e9 points a day are {a_day / 86_400:,.0f} a second, {a_day / 86_400 / blocks:.1f} in"
            f" each of {blocks:,.0f} blocks a second: the number of transactions counts, not the"
            " number of points."
        )
        headers = ["10,000 GPUs", "a second", "database, ms each", "cores of the database"]
        show("The sum on paper", headers, rows, notes=[note], markdown=markdown)


def submit(url: str, count: int) -> float:
    """Seconds that it took to send in so many jobs."""
    began = time.perf_counter()
    with httpx.Client(base_url=url, timeout=120) as http:
        for start in range(0, count, BATCH):
            many = [{**JOB, "seed": start + n} for n in range(min(BATCH, count - start))]
            http.post("/v1/jobs:batch", json={"jobs": many}).raise_for_status()
    return time.perf_counter() - began


@contextmanager
def _valkey() -> Iterator[tuple[Path, psutil.Process]]:
    with TemporaryDirectory(prefix="vk", dir="/tmp") as folder:
        socket = Path(folder) / "broker.sock"
        command = [*broker.command(socket), "--maxclients", "10000"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 10
            while not socket.exists() and time.monotonic() < until:
                time.sleep(0.05)
            Redis(unix_socket_path=str(socket)).ping()
            yield socket, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _api(url: str, socket: Path, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    environ = {
        "STEPSIZE_DATABASE_URL": url,
        "STEPSIZE_BROKER_URL": broker.url(socket),
        "STEPSIZE_DATA_DIR": str(folder),
        "STEPSIZE_PORT": str(port),
        "STEPSIZE_REQUESTS_PER_MINUTE": "10000000",
    }
    command = [sys.executable, "-m", "api"]
    with serving(command, environ, folder=folder, port=port, ready="/healthz") as found:
        yield found


def _postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "pg" / "postmaster.pid").read_text().split()[0]))


if __name__ == "__main__":
    main()
