"""What does recording every iteration cost? One training, recorded and with its events lost."""

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, partial
from itertools import permutations
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from bystanders import said, undisturbed
from contest import Contestant, Seat, progress
from pydantic import JsonValue, TypeAdapter
from tables import machine, show
from tasks import WORKLOADS, Task, spec

from migrations.run import upgrade
from spec.settings import Settings
from spec.states import State
from store import claims, jobs
from store.database import Sessions, connect
from worker import engine
from worker.__main__ import environment
from worker.drain import Drain
from worker.job import run

LOOPS = ("digits", "mlp-200")
DISCARDED, RECORDED, AGAIN = "discarded", "recorded", "discarded again"
ORDERS = list(permutations((DISCARDED, RECORDED, AGAIN)))


@dataclass(frozen=True)
class Trial:
    """One training."""

    task: Task
    recorded: bool
    folder: Path


@dataclass(frozen=True)
class Took:
    """Seconds that a training took: all in all, and the engine by itself."""

    all: float
    engine: float


def measure(trial: Trial) -> Took:
    """From the start of the training to its end."""
    return _recorded(trial) if trial.recorded else _discarded(trial.task)


def _discarded(task: Task) -> Took:
    began = perf_counter()
    result: Mapping[str, JsonValue] = {}
    for event in engine.run(spec(task), device=torch.device(task.device), data_dir=task.data_dir):
        if isinstance(event, engine.Finished):
            result = event.result
    return _took(perf_counter() - began, result)


def _recorded(trial: Trial) -> Took:
    """As a worker runs a job that it has claimed, heartbeat included."""
    task, (sessions, settings) = trial.task, _opened(trial.folder, trial.task.data_dir)
    with sessions.begin() as tx:
        added = jobs.add(tx, spec(task))
    with sessions.begin() as tx:
        claimed = claims.claim(tx, worker="bench", queues=["default"], lease=timedelta(minutes=1))
    if claimed is None:
        raise RuntimeError("the job cannot be claimed")
    began = perf_counter()
    device = torch.device(task.device)
    run(*claimed, sessions=sessions, settings=settings, device=device, drain=Drain())
    seconds = perf_counter() - began
    with sessions.read() as tx:
        job = jobs.get(tx, added.id)
    if job.result is None or (job.state, job.iteration) != (State.SUCCEEDED, task.iterations):
        raise RuntimeError(f"the job {job.state} at {job.iteration}: {job.detail}")
    return _took(seconds, job.result)


def _took(seconds: float, result: Mapping[str, JsonValue]) -> Took:
    return Took(seconds, TypeAdapter(float).validate_python(result["seconds"]))


@cache
def _opened(folder: Path, data_dir: Path) -> tuple[Sessions, Settings]:
    url = f"sqlite:///{folder / 'stepsize.db'}"
    sessions = connect(url)
    upgrade(sessions)
    return sessions, Settings(database_url=url, broker_url="redis://unused", data_dir=data_dir)


@dataclass(frozen=True)
class Measured:
    """Of one workload: what it took in each round, by kind, and who else was busy."""

    task: Task
    took: dict[str, list[Took]]
    others: list[float]

    def row(self) -> list[str]:
        """Of the table."""
        n, rounds = self.task.iterations, self.took.values()
        pairs = list(zip(*rounds, strict=True))
        speeds = [f"{n / median(each.all for each in kind):,.0f}" for kind in list(rounds)[:2]]
        return [
            self.task.workload.title,
            f"{n:,}",
            *speeds,
            _spread([recorded.all / lost.all - 1 for lost, recorded, _ in pairs]),
            # setting up is no part of the engine's time either, but of both
            _spread(
                [
                    ((recorded.all - recorded.engine) - (lost.all - lost.engine)) / lost.all
                    for lost, recorded, _ in pairs
                ]
            ),
            _spread([again.all / lost.all - 1 for lost, _, again in pairs]),
        ]


def _spread(shares: Sequence[float]) -> str:
    low, middle, high = (100 * each for each in quantiles(shares, n=4, method="inclusive"))
    return f"{middle:+.2f} % ({low:+.2f} to {high:+.2f})"


def compare(seat: Seat, task: Task, folder: Path, *, rounds: int, seconds: float) -> Measured:
    """All kinds once a round, in another order each time, in one process.

    Two processes differ by more than what is looked for, even with the same code.
    """
    for few in (task.iterations, 4 * task.iterations):  # the first of them loads and warms up
        warm: Took = seat.ask(Trial(replace(task, iterations=few), recorded=False, folder=folder))
        seat.ask(Trial(replace(task, iterations=few), recorded=True, folder=folder))
    task = replace(task, iterations=max(1, round(few * seconds / warm.engine)))
    found = Measured(task, {kind: [] for kind in ORDERS[0]}, [])
    with progress() as bar:
        shown = bar.add_task(task.workload.title, total=3 * rounds)
        for number in range(rounds):
            for kind in ORDERS[number % len(ORDERS)]:
                trial = Trial(task, recorded=kind == RECORDED, folder=folder)
                answer, others = undisturbed(partial(seat.ask, trial), [seat.start()])
                found.took[kind].append(answer)
                found.others.append(others)
                bar.advance(shown)
    return found


HEADERS = (
    "loop",
    "iterations",
    "it/s, events discarded",
    "it/s, recorded",
    "cost of recording",
    "of it, the loop stood still",
    "cost of nothing",
)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=f"{__doc__} Recorded as a worker does it: claimed, under a lease with its "
        "heartbeat, chunks written to SQLite, and ended.",
        epilog="A round has each training once, one after the other in one process, and a second "
        "one without recording: what that costs is the noise. How long the loop stood still for "
        "the recorder is known more exactly, as the engine counts its own seconds. Shares are "
        "medians over the rounds, with quartiles, in percent of the time. A measurement during "
        "which other processes were busy is made again, up to three times.",
    )
    parser.add_argument(
        "--workload", choices=WORKLOADS, action="append", help=f"default: {', '.join(LOOPS)}"
    )
    parser.add_argument("--rounds", type=int, default=18, help="trainings of each (default 18)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a training (default 4)")
    parser.add_argument("--threads", type=int, help="default: as the engine chooses")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="of fashion-mnist/")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args()

    found = []
    for name in options.workload or LOOPS:
        workload = WORKLOADS[name]
        few = workload.iterations
        task = Task(
            workload, "epoch", few, "fp32", options.threads, options.device, options.data_dir
        )
        contestant = Contestant(name, "recording_cost:measure", None, environment(os.environ))
        with TemporaryDirectory() as folder, closing(Seat(contestant)) as seat:
            found.append(
                compare(seat, task, Path(folder), rounds=options.rounds, seconds=options.seconds)
            )
    others = [share for each in found for share in each.others]
    show(
        "What recording every iteration costs",
        HEADERS,
        [each.row() for each in found],
        notes=[machine(options.device, f"rounds: {options.rounds}"), said(others)],
        markdown=options.markdown,
    )


if __name__ == "__main__":
    main()
