"""What the loops of the speed tables compute: the same model, data, batch and precision for all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from schedules.ramp import Ramp
from spec.compute import Precision
from spec.jobs import JOB_SPEC, RangeTestSpec, TrainingSpec

Mode = Literal["range-test", "epoch"]
Record = dict[str, Any]

START, END = 1e-7, 1e-2
"""Of the ramp; low enough for nobody to stop early: every loop makes all the iterations."""

LR = 1e-3
"""Of the epoch."""

ADAM = {"name": "adam"}
MOMENTUM = {"name": "sgd", "params": {"momentum": 0.9}}
DIGITS = {"name": "digits"}
FASHION = {"name": "fashion-mnist"}


@dataclass(frozen=True)
class Workload:
    """A job as far as its speed goes.

    Attributes:
        iterations: of its range test, unless told otherwise.
        per_epoch: whole batches in the training split.
        epochs: that make a measurement worth the name.
    """

    title: str
    model: Record
    data: Record
    optimizer: Record
    batch_size: int
    iterations: int
    per_epoch: int
    epochs: int = 1


def _mlp(*hidden: int) -> Record:
    return {"name": "mlp", "params": {"hidden": list(hidden)}}


WORKLOADS = {
    "mlp-200": Workload(
        "MLP 784-784-10, Fashion-MNIST, Adam, batch 200", _mlp(784), FASHION, ADAM, 200, 300, 300
    ),
    "mlp-2000": Workload(
        "MLP 784-784-10, Fashion-MNIST, Adam, batch 2000", _mlp(784), FASHION, ADAM, 2000, 90, 30, 3
    ),
    "lenet": Workload(
        "LeNet, Fashion-MNIST, SGD with momentum, batch 128",
        {"name": "lenet"},
        FASHION,
        MOMENTUM,
        128,
        150,
        468,
    ),
    "resnet": Workload(
        "ResNet of depth 8, Fashion-MNIST, SGD with momentum, batch 128",
        {"name": "resnet", "params": {"depth": 8}},
        FASHION,
        MOMENTUM,
        128,
        60,
        468,
    ),
    "digits": Workload(
        "MLP 64-32-10, digits, SGD with momentum, batch 32",
        _mlp(32),
        DIGITS,
        MOMENTUM,
        32,
        1000,
        44,
        20,
    ),
}


@dataclass(frozen=True)
class Task:
    """What one contestant is asked to do.

    Attributes:
        threads: None leaves it to the loop, or to its framework.
        options: further fields of stepsize's job spec.
    """

    workload: Workload
    mode: Mode
    iterations: int
    precision: Precision
    threads: int | None
    device: str
    data_dir: Path
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """How often the training split is gone through, the last time perhaps in part."""
        return -(-self.iterations // self.workload.per_epoch)

    @property
    def examples(self) -> int:
        """How many it takes to make the epochs of the task whole ones."""
        return self.iterations // self.epochs * self.workload.batch_size


def planned(workload: Workload, mode: Mode, most: int | None) -> int:
    """How many iterations a measurement has; `most` makes a range test that long, an epoch less."""
    if mode == "range-test":
        return most or workload.iterations
    whole = workload.epochs * workload.per_epoch
    if most is None or most >= whole:
        return whole
    return most if most <= workload.per_epoch else most // workload.per_epoch * workload.per_epoch


def spec(task: Task) -> RangeTestSpec | TrainingSpec:
    """The task as a job of stepsize."""
    job: Record = {
        "model": task.workload.model,
        "data": task.workload.data,
        "batch_size": task.workload.batch_size,
        "optimizer": task.workload.optimizer,
        "precision": task.precision,
        "threads": task.threads,
        **task.options,
    }
    if task.mode == "range-test":
        ramp = Ramp(start=START, end=END, iterations=task.iterations)
        job |= {"kind": "range_test", "range": ramp, "repeats": 1, "extensions": 0}
    else:
        schedule = {"policy": "constant", "lr": LR}
        length = {"iterations": task.iterations}
        job |= {"kind": "training", "schedule": schedule, "length": length}
    return JOB_SPEC.validate_python(job)
