"""Workers that write series and nothing else, each in a process of its own, as fast as they can."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schedules import OneCycle
from spec.jobs import JOB_SPEC
from spec.settings import Settings
from store import claims, jobs, leases
from store.database import Sessions, connect
from store.files import opened
from store.leases import Lease
from worker.drain import Drain
from worker.engine import Block
from worker.pulse import Pulse
from worker.recorder import Recorder

TRAINING = {
    "kind": "training",
    "model": {"name": "mlp", "params": {"hidden": [16]}},
    "data": {"name": "digits"},
    "batch_size": 32,
    "optimizer": {"name": "sgd"},
    "schedule": {"policy": "one_cycle", "max_lr": 0.1},
    "length": {"iterations": 1000},
}
SPEC = JOB_SPEC.validate_python(TRAINING)

# What a writer imports takes seconds: it is imported once, in the process that they are forked
# from, which finds modules by its environment only.
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["series_writers"])


@dataclass(frozen=True)
class Task:
    """What one writer has to do: a job, how long it is, and how many rows come at once."""

    url: str
    folder: Path
    lease: Lease
    iterations: int
    block: int


def columns(iterations: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """What a training records: a loss as noisy as batches are, and the rates of a schedule."""
    t = np.arange(iterations)
    noise = np.random.default_rng(seed).lognormal(0, 0.3, iterations)
    loss = (0.1 + 2.2 * np.exp(-5 * t / iterations)) * noise
    return {
        "loss": loss.astype(np.float32),
        "lr": OneCycle(max_lr=0.1).lr_at(t, iterations=iterations),
    }


def claimed(sessions: Sessions) -> Lease:
    """The lease of a new job."""
    with sessions.begin() as tx:
        jobs.add(tx, SPEC)
    with sessions.begin() as tx:
        found = claims.claim(tx, worker="bench", queues=["default"], lease=timedelta(minutes=10))
    if found is None:
        raise RuntimeError("the job that was just queued cannot be claimed")
    return found[1]


def write(tasks: Sequence[Task]) -> float:
    """Seconds until all that the writers have made is stored and their jobs have ended."""
    barrier = START.Barrier(len(tasks))
    answers = START.SimpleQueue()
    writers = [
        START.Process(target=_write, args=(task, number, barrier, answers), daemon=True)
        for number, task in enumerate(tasks)
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    if any(each.exitcode for each in writers):
        raise RuntimeError("a writer has failed: see above")
    times = [answers.get() for _ in writers]
    # the clock is the machine's, and the same for all of them
    return max(end for _, end in times) - min(begin for begin, _ in times)


def _write(task: Task, seed: int, barrier: Any, answers: Any) -> None:
    sessions = connect(task.url)
    settings = Settings(
        database_url=task.url, broker_url="redis://unused", data_dir=task.folder, lease_seconds=600
    )
    made = columns(task.iterations, seed)
    recorder = Recorder(sessions, settings, opened(settings.checkpoints))
    pulse = Pulse(task.lease, settings, Drain())
    with sessions.begin() as tx:  # connects
        leases.renew(tx, [task.lease], extend=settings.lease)
    barrier.wait()
    began = perf_counter()
    recorder.begin(pulse, iteration=0, after=0)
    for start in range(0, task.iterations, task.block):
        rows = {name: values[start : start + task.block] for name, values in made.items()}
        recorder.add(pulse, Block("train", 0, start, rows))
    recorder.finish(pulse, lambda tx: leases.succeed(tx, task.lease, {}))
    answers.put((began, perf_counter()))
    sessions.close()
