"""The demonstration: a range test, and a training between the bounds that it suggests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from stepsize.client import Client
from stepsize.errors import StepsizeError
from stepsize.progress import follow
from stepsize.report import notes, pace
from stepsize.specs import range_test, training
from stepsize.values import Job


@dataclass(frozen=True)
class Recipe:
    """What is learned, and how."""

    parts: Mapping[str, Any]
    range: Mapping[str, Any]
    step_size: Mapping[str, float]
    cycles: int
    patience: float
    """Seconds after which a job that has not finished is given up: many times what it takes."""


RECIPES = {
    "digits": Recipe(
        parts={
            "model": {"name": "mlp", "params": {"hidden": [64]}},
            "data": "digits",
            "optimizer": "adam",
            "batch_size": 32,
        },
        range={"start": 1e-5, "end": 10.0, "iterations": 300},
        step_size={"epochs": 2},
        cycles=3,
        patience=120,
    ),
    "fashion-mnist": Recipe(
        parts={
            "model": {"name": "mlp", "params": {"hidden": [784]}},
            "data": "fashion-mnist",
            "optimizer": "adam",
            "batch_size": 200,
        },
        range={"start": 1e-7, "end": 10.0, "iterations": 300},
        step_size={"epochs": 2},
        cycles=2,
        patience=1200,
    ),
}


@dataclass(frozen=True)
class Shown:
    """The two finished jobs, and the pictures of them."""

    range_test: Job
    training: Job
    pictures: tuple[Path, Path]

    def table(self) -> Table:
        """What came out, in a few lines."""
        best = self.range_test.suggestion
        trained = self.training.result or {}
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in (
            ("range test", f"ok, {pace(self.range_test)}"),
            ("suggested base_lr", f"{best.base_lr:.3g}"),
            ("suggested max_lr", f"{best.max_lr:.3g}"),
            ("training", pace(self.training)),
            ("validation accuracy", f"{trained['val_accuracy']:.2%}"),
        ):
            table.add_row(f"[bold]{name}[/]", value)
        return table


def show(client: Client, data: str, folder: Path, *, tend: Callable[[], None]) -> Shown:
    """Runs the range test and the training, drawing progress and, at the end, both pictures.

    `tend` is called between looks at a job.

    Raises:
        StepsizeError: a job did not succeed, or the range test suggests nothing.
        TimeoutError: a job took far longer than it should.
    """
    recipe = RECIPES[data]
    for left_over in client.jobs(state=("queued", "running")):
        client.cancel(left_over)  # an interrupted demonstration would go on before this one
    run = partial(_run, client, tend=tend, timeout=recipe.patience)
    found = run(range_test(**recipe.parts, range=dict(recipe.range), name=f"{data} range test"))
    result = found.result or {}
    if result.get("status") != "ok":
        status, advice = result.get("status"), result.get("advice", "")
        raise StepsizeError(f"the range test ended with {status}. {advice}".strip())
    bounds = {"base_lr": {"range_test": found.id}, "max_lr": {"range_test": found.id}}
    trained = run(
        training(
            **recipe.parts,
            schedule={"policy": "triangular", **bounds, "step_size": dict(recipe.step_size)},
            length={"cycles": recipe.cycles},
            evaluate={"every": {"epochs": 1}},
            name=f"{data} cyclical training",
        )
    )
    pictures = (folder / "range-test.png", folder / "training.png")
    client.plot(found, pictures[0])
    client.plot(trained, pictures[1])
    return Shown(found, trained, pictures)


def _run(
    client: Client, spec: Mapping[str, Any], *, tend: Callable[[], None], timeout: float
) -> Job:
    submitted = client.submit(spec)
    job = follow(client, submitted, timeout=timeout, console=notes, at_each_look=tend)
    if not job.succeeded:
        why = f": {job.error.detail}" if job.error else ""
        raise StepsizeError(f"{job.name} {job.state}{why}")
    return job
