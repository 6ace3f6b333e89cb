"""What the quality of suggestions is measured on: models, data, optimizers, lengths."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from outcomes import Record

DIGITS = {"name": "digits"}
FASHION = {"name": "fashion-mnist"}
SGD = {"name": "sgd", "params": {"momentum": 0.9}}
ADAM = {"name": "adam"}


@dataclass(frozen=True)
class Workload:
    """A model, its data and optimizer, and how long it is trained.

    Attributes:
        label: of the model.
        seconds: what a training takes, about.
    """

    label: str
    model: Record
    data: Record
    optimizer: Record
    batch_size: int
    iterations: int
    seeds: int
    seconds: float

    @property
    def name(self) -> str:
        """Data, model and optimizer; what its records are found by."""
        return f"{self.data['name']} {self.label} {self.optimizer['name']}"

    @property
    def part(self) -> str:
        """Whether the rule was chosen by it, or what it was kept out of."""
        return next(part for part, each in PARTS.items() if self in each)

    def job(self) -> Record:
        """What its range tests and trainings have in common."""
        return {
            "model": self.model,
            "data": self.data,
            "batch_size": self.batch_size,
            "optimizer": self.optimizer,
        }


def _both(label: str, model: Record, data: Record, **fields: Any) -> Iterator[Workload]:
    for optimizer in (SGD, ADAM):
        yield Workload(label=label, model=model, data=data, optimizer=optimizer, **fields)


def _mlp(*hidden: int, activation: str = "relu") -> Record:
    return {"name": "mlp", "params": {"hidden": list(hidden), "activation": activation}}


def _lenet(*channels: int, hidden: int) -> Record:
    return {"name": "lenet", "params": {"channels": list(channels), "hidden": hidden}}


RESNET = {"name": "resnet", "params": {"depth": 8, "width": 4}}

TUNED_ON = [
    *_both("mlp", _mlp(32), DIGITS, batch_size=32, iterations=704, seeds=5, seconds=0.15),
    *_both(
        "lenet",
        _lenet(8, 16, hidden=64),
        DIGITS,
        batch_size=32,
        iterations=440,
        seeds=5,
        seconds=0.6,
    ),
    *_both("mlp", _mlp(256), FASHION, batch_size=200, iterations=900, seeds=3, seconds=1.5),
    *_both("resnet", RESNET, FASHION, batch_size=64, iterations=360, seeds=3, seconds=10.0),
]
"""The rule was chosen by these."""

HELD_OUT = [
    *_both("resnet", RESNET, DIGITS, batch_size=32, iterations=600, seeds=5, seconds=1.5),
    *_both(
        "lenet",
        _lenet(6, 16, hidden=120),
        FASHION,
        batch_size=128,
        iterations=480,
        seeds=3,
        seconds=5.5,
    ),
]
"""Chosen before any result was seen: a third, one model of each dataset."""

NEW = [
    *_both(
        "deep tanh mlp",
        _mlp(64, 64, activation="tanh"),
        DIGITS,
        batch_size=16,
        iterations=880,
        seeds=3,
        seconds=0.25,
    ),
    *_both(
        "wide lenet",
        _lenet(16, 32, hidden=128),
        DIGITS,
        batch_size=64,
        iterations=440,
        seeds=3,
        seconds=0.9,
    ),
    *_both(
        "deep tanh mlp",
        _mlp(128, 128, 128, activation="tanh"),
        FASHION,
        batch_size=64,
        iterations=900,
        seeds=3,
        seconds=1.3,
    ),
]
"""Added after the rule had been changed for the last time."""

PARTS = {"tuned on": TUNED_ON, "held out": HELD_OUT, "new": NEW}
WORKLOADS = {each.name: each for part in PARTS.values() for each in part}
