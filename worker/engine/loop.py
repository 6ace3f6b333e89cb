"""The training loop: one update after another, handed over in blocks of recorded numbers."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from schedules.values import F64
from worker.engine.events import Block, Columns
from worker.engine.probe import probe_loss
from worker.engine.recipe import Learner, Recipe
from worker.engine.splits import Split
from worker.engine.step import Outcome


@dataclass(frozen=True)
class Rates:
    """The learning rate of each of a run's iterations, and the momentum where it is cycled.

    They are asked for anew after each block that ends at a stop. With `adapt`, which is given the
    rate of the schedule once the gradients are there, it writes the rate of that very update into
    the optimizer and returns it as a number on the device.
    """

    iterations: int
    lr_at: Callable[[F64], F64]
    momentum_at: Callable[[F64], F64 | None]
    adapt: Callable[[float], Tensor] | None = None


@dataclass(frozen=True)
class Pace:
    """How often a block is handed over: after `first` seconds, then ever later, or when full.

    It decides where a series is cut into blocks, never what is in it.
    """

    first: float = 0.05
    longest: float = 0.25
    points: int = 4096


DEFAULT_PACE = Pace()

MEANS = frozenset({"loss", "accuracy"})
"""Columns that are means over the examples of a batch; the others know of all of it."""


def never(*_: int) -> bool:
    """When a checkpoint is due where nobody keeps any."""
    return False


def updates(
    learner: Learner,
    recipe: Recipe,
    rates: Rates,
    *,
    pace: Pace,
    every: int | None = None,
    stops: Sequence[int] = (),
    start: int = 0,
) -> Iterator[Block]:
    """Train, and yield blocks, one of which ends at each multiple of `every` and each of `stops`.

    Row i holds the loss of batch i *before* the update with lr i. An iteration never waits for
    the device; only handing over a block does. Between blocks the model may be evaluated. A
    learner that has made `start` updates goes on with the next.
    """
    model, step, batches = learner.model, learner.step, learner.batches
    buffers = Buffers(recipe, pace.points, adapted=rates.adapt is not None)
    probed = "probe_loss" in recipe.record
    team = recipe.team
    model.train()
    seconds, since = pace.first, perf_counter()

    while start < rates.iterations:
        # other processes are told beforehand how many updates to make
        rows = pace.points if team is None else min(pace.points, team.rows)
        stop = _stop(start, min(start + rows, rates.iterations), every, stops)
        t = np.arange(start, stop, dtype=np.float64)
        lr, momentum = rates.lr_at(t), rates.momentum_at(t)
        planned = lr.tolist()
        cycled = [None] * len(t) if momentum is None else momentum.tolist()
        taken = 0
        if team is not None:
            team.go(planned, cycled)
        for row in range(stop - start):
            batch = batches.next()
            outcome = step(batch, planned[row], cycled[row], rates.adapt)
            buffers.write(row, outcome, batch)
            if probed:
                buffers.write_probe(row, model)

            late = team is None and perf_counter() - since >= seconds
            if start + row + 1 == stop or late:
                new = slice(taken, row + 1)
                columns = buffers.read(new)
                columns.setdefault("lr", lr[new])
                if momentum is not None:
                    columns["momentum"] = momentum[new]
                if team is not None:
                    team.took(row + 1, perf_counter() - since, pace.longest)
                yield Block("train", 0, start + taken, columns)
                taken, seconds, since = row + 1, min(2 * seconds, pace.longest), perf_counter()
        start = stop


def _stop(done: int, limit: int, every: int | None, stops: Sequence[int]) -> int:
    """The first of the limit and the stops after `done` updates; `stops` are sorted."""
    following = bisect_right(stops, done)
    ends = [limit, *stops[following : following + 1]]
    if every is not None:
        ends.append((done // every + 1) * every)
    return min(ends)


class Buffers:
    """What is recorded of each iteration, kept on the device until a block takes it."""

    def __init__(self, recipe: Recipe, points: int, *, adapted: bool) -> None:
        device = recipe.numerics.device
        self._recipe = recipe
        self._columns = {
            name: torch.empty(points, device=device) for name in ("loss", *recipe.record)
        }
        if adapted:
            self._columns["lr"] = torch.empty(points, dtype=torch.float64, device=device)

    def write(self, row: int, outcome: Outcome, batch: Split) -> None:
        """Record an update."""
        columns = self._columns
        columns["loss"][row] = outcome.loss
        if "accuracy" in columns:
            columns["accuracy"][row] = (outcome.scores.argmax(1) == batch.labels).float().mean()
        if outcome.grad_norm is not None and "grad_norm" in columns:
            columns["grad_norm"][row] = outcome.grad_norm
        if outcome.lr is not None:
            columns["lr"][row] = outcome.lr

    def write_probe(self, row: int, model: nn.Module) -> None:
        """Record the loss of the probe batch once the model has been updated."""
        probe = self._recipe.probe
        loss = probe_loss(model, probe.inputs, probe.labels, self._recipe.numerics)
        self._columns["probe_loss"][row] = loss

    def read(self, rows: slice) -> Columns:
        """Copies of the recorded rows, of the whole batches; this waits for the device."""
        rank = self._recipe.rank
        return {
            name: (rank.mean(column[rows]) if name in MEANS else column[rows])
            .to("cpu", copy=True)
            .numpy()
            for name, column in self._columns.items()
        }
