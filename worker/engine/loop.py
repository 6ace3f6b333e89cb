"""The training loop: one update after another, handed over in blocks of recorded numbers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from schedules.values import F64
from spec.jobs import Measure
from worker.engine.events import Block, Columns
from worker.engine.optimizers import set_momentum
from worker.engine.recipe import Learner, Recipe


@dataclass(frozen=True)
class Rates:
    """The learning rate of each of a run's iterations, and the momentum where it is cycled."""

    iterations: int
    lr_at: Callable[[F64], F64]
    momentum_at: Callable[[F64], F64 | None]


@dataclass(frozen=True)
class Pace:
    """How often a block is handed over: after `first` seconds, then ever later, or when full.

    It decides where a series is cut into blocks, never what is in it.
    """

    first: float = 0.05
    longest: float = 0.25
    points: int = 4096


def updates(
    learner: Learner, recipe: Recipe, rates: Rates, *, pace: Pace, every: int | None = None
) -> Iterator[Block]:
    """Train, and yield blocks, one of which ends at each multiple of `every`.

    Row i holds the loss of batch i *before* the update with lr i. An iteration never waits for
    the device; only handing over a block does. Between blocks the model may be evaluated.
    """
    model, optimizer = learner.model, learner.optimizer
    group = optimizer.param_groups[0]
    inputs, labels = recipe.dataset.train.inputs, recipe.dataset.train.labels
    batch_size, per_epoch = recipe.batch_size, recipe.iterations_per_epoch
    buffers = Buffers(recipe.record, pace.points, labels.device)
    model.train()
    start, seconds, since = 0, pace.first, perf_counter()

    for i in range(rates.iterations):
        row = i % pace.points
        if row == 0:
            t = np.arange(i, min(i + pace.points, rates.iterations), dtype=np.float64)
            lr, momentum = rates.lr_at(t), rates.momentum_at(t)
        if i % per_epoch == 0:
            order = torch.randperm(len(labels), generator=learner.order)
            batches = order[: per_epoch * batch_size].view(per_epoch, batch_size).to(labels.device)

        group["lr"] = float(lr[row])
        if momentum is not None:
            set_momentum(group, float(momentum[row]))

        batch = batches[i % per_epoch]
        targets = labels.index_select(0, batch)
        with recipe.numerics.autocast():
            scores = model(inputs.index_select(0, batch))
        loss = functional.cross_entropy(scores.float(), targets)
        torch.autograd.backward(loss)
        buffers.write(row, loss, scores, targets, model)
        optimizer.step()
        optimizer.zero_grad()

        done = i + 1
        due = every is not None and done % every == 0
        if due or row + 1 == len(lr) or perf_counter() - since >= seconds:
            rows = slice(start % pace.points, row + 1)
            columns = buffers.read(rows)
            columns["lr"] = lr[rows]
            if momentum is not None:
                columns["momentum"] = momentum[rows]
            yield Block("train", 0, start, columns)
            start, seconds, since = done, min(2 * seconds, pace.longest), perf_counter()


class Buffers:
    """What is recorded of each iteration, kept on the device until a block takes it."""

    def __init__(self, record: tuple[Measure, ...], points: int, device: torch.device) -> None:
        self._columns = {name: torch.empty(points, device=device) for name in ("loss", *record)}

    def write(
        self, row: int, loss: Tensor, scores: Tensor, targets: Tensor, model: nn.Module
    ) -> None:
        """Record an iteration whose gradients have just been computed."""
        for name, column in self._columns.items():
            match name:
                case "loss":
                    column[row] = loss.detach()
                case "accuracy":
                    column[row] = (scores.argmax(1) == targets).float().mean()
                case "grad_norm":
                    gradients = (weight.grad for weight in model.parameters())
                    column[row] = nn.utils.get_total_norm(
                        each for each in gradients if each is not None
                    )

    def read(self, rows: slice) -> Columns:
        """Copies of the recorded rows; this waits for the device."""
        return {
            name: column[rows].to("cpu", copy=True).numpy()
            for name, column in self._columns.items()
        }
