"""Runs many jobs on the engine, two at a time, and keeps what came of each as a line of JSON."""

import argparse
import json
import math
import multiprocessing
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from schedules.values import F64, as_iterations
from spec.jobs import JOB_SPEC, RangeTestSpec
from worker.engine import Block, Finished, Pace, run
from worker.engine.loop import Rates, updates
from worker.engine.prepare import prepared
from worker.engine.recipe import start

CPU = torch.device("cpu")
BINS = 50
"""Points a training's loss curve is kept at."""

TAIL = 0.1
"""Share of a training whose mean loss is its final loss."""

Record = dict[str, Any]


class Task(Protocol):
    """One job to run, with the fields that tell its record from all others."""

    def key(self) -> Hashable:
        """What its record is found by."""

    def cost(self) -> float:
        """About how many seconds it takes."""

    def run(self, data_dir: Path) -> Record:
        """What is to be remembered of it."""


def command_line(description: str, steps: Sequence[str], results: str) -> argparse.ArgumentParser:
    """The options that every script with a `measure` step has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("step", choices=steps)
    parser.add_argument(
        "--results",
        type=Path,
        default=Path(results),
        help="a JSON line for each finished job (default %(default)s)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path("data"),
        help="where to look for fashion-mnist/ if the system has none; it is downloaded into here",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=2,
        help="trainings at a time, of one thread each and at low priority (default %(default)s)",
    )
    return parser


@dataclass(frozen=True)
class Results:
    """A file with one JSON object a line; what is in it need not be run again."""

    path: Path

    def read(self) -> Iterator[Record]:
        """Every record; a last line that an interruption cut off is left out."""
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue

    def append(self, record: Record) -> None:
        """Write one record, and see that it is on its way to the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


def train(spec: Record, data_dir: Path) -> Record:
    """Run a training and return its losses and error, worst of all those of a guess.

    `loss` is the mean over the last tenth of the iterations, `error` the validation error. A
    training that diverged counts as one that guesses: log(classes) and 1 - 1/classes.
    """
    losses: list[F64] = []
    result: Record = {}
    for event in run(JOB_SPEC.validate_python(spec), device=CPU, data_dir=data_dir):
        if isinstance(event, Block) and event.series == "train":
            losses.append(event.columns["loss"].astype(np.float64))
        if isinstance(event, Finished):
            result = dict(event.result)
    curve = np.concatenate(losses)
    tail = float(curve[-max(1, round(TAIL * curve.size)) :].mean())
    diverged = result["diverged_at"] is not None
    accuracy, classes = result["val_accuracy"], 10  # of every dataset used here
    return {
        "loss": math.log(classes) if diverged else min(tail, math.log(classes)),
        "error": 1 - 1 / classes if diverged else min(1 - float(accuracy), 1 - 1 / classes),
        "best_error": 1 - float(result["best"]["val_accuracy"]) if result["best"] else None,
        "diverged_at": result["diverged_at"],
        "iterations": result["iterations"],
        "seconds": round(float(result["seconds"]), 3),
        "curve": [
            number(float(part.mean())) for part in np.array_split(curve, min(BINS, curve.size))
        ],
    }


def ramp_up(spec: Record, data_dir: Path) -> Record:
    """Run a range test to the end of its ramp, whatever the losses, so that any rule can read it.

    The same repeats, seeds and losses as the engine's range test, which stops those that diverge.
    """
    job = JOB_SPEC.validate_python(spec)
    if not isinstance(job, RangeTestSpec):
        raise TypeError("a range test is needed")
    recipe = prepared(job, CPU, data_dir)
    ramp = job.range.resolve(iterations_per_epoch=recipe.iterations_per_epoch)
    planned = as_iterations(ramp.iterations)
    rates = Rates(planned, ramp.lr_at, lambda _: None)
    losses = []
    with recipe.numerics.applied():
        for seeds in np.random.SeedSequence(job.seed).spawn(job.repeats):
            blocks = updates(start(recipe, seeds), recipe, rates, pace=Pace())
            series = np.concatenate([block.columns["loss"] for block in blocks])
            losses.append([number(float(loss), digits=9) for loss in series])
    lr = ramp.lr_at(np.arange(planned, dtype=np.float64))
    return {"start": lr[0], "end": lr[-1], "planned": planned, "losses": losses}


def number(value: float, digits: int = 5) -> float | None:
    """The value to so many digits; None stands for what is not finite."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def run_all(
    stages: Sequence[tuple[str, Callable[[list[Record]], Iterable[Task]]]],
    results: Results,
    *,
    key: Callable[[Record], Hashable],
    data_dir: Path,
    processes: int,
) -> None:
    """Run what each stage asks for and the results lack, stage after stage, on idle cores.

    A stage sees the records of those before it. Interrupt it at any time; it goes on from there.
    """
    # read when a process starts: one thread each, and freed memory is kept rather than given back
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
        "MALLOC_TOP_PAD_": str(1 << 28),
    }
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("s of work, running for"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    context = multiprocessing.get_context("spawn")
    with bar, context.Pool(processes, initializer=os.nice, initargs=(10,)) as pool:
        for name, stage in stages:
            records = list(results.read())
            done = {key(record) for record in records}
            tasks = [task for task in stage(records) if task.key() not in done]
            shown = bar.add_task(name, total=round(sum(task.cost() for task in tasks)))
            for task, record in pool.imap_unordered(partial(_run, data_dir), tasks):
                results.append(record)
                bar.advance(shown, task.cost())


def _run(data_dir: Path, task: Task) -> tuple[Task, Record]:
    torch.set_num_threads(1)
    return task, task.run(data_dir)
