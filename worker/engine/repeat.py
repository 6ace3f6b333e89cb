"""The repeats of a range test: their way up the ramp, and what is recorded on it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch

from schedules.analysis import Loss, divergence, head_length
from schedules.values import F64
from worker.engine.averaging import averaged
from worker.engine.checks import Checks
from worker.engine.evaluate import Evaluation, evaluate
from worker.engine.events import Block, Columns, State
from worker.engine.loop import Pace, Rates, updates
from worker.engine.recipe import Learner, Recipe


@dataclass
class Repeat:
    """What a repeat has recorded so far.

    Attributes:
        every: after so many updates it is evaluated; None for never.
        columns: of each update that counts.
        evaluations: of the validation split.
        diverged: whether it was stopped for that.
    """

    index: int
    recipe: Recipe
    every: int | None
    columns: Columns = field(default_factory=dict)
    evaluations: list[Evaluation] = field(default_factory=list)
    diverged: bool = False

    @property
    def done(self) -> int:
        """Updates that count; the learner of a diverged repeat may have made a few more."""
        return len(self.columns.get("loss", ()))

    def loss(self, name: Loss) -> F64:
        """The losses of this kind, one for each update or evaluation."""
        if name == "validation":
            return np.array([each.loss for each in self.evaluations])
        return self.columns["loss" if name == "batch" else "probe_loss"].astype(np.float64)

    def accuracy(self, loss: Loss) -> F64 | None:
        """The accuracies that belong with the losses; None where none are recorded."""
        if loss == "validation":
            return np.array([each.accuracy for each in self.evaluations])
        found = self.columns.get("accuracy")
        return None if found is None else found.astype(np.float64)

    def take(self, block: Block, rates: F64) -> Block:
        """Record the rows of a block that count, and return these."""
        before = self.columns.get("loss", np.empty(0))
        losses = np.append(before, block.columns["loss"])
        end = divergence(losses, planned=rates.size, head=head_length(rates))
        kept = replace(block, repeat=self.index)
        if end is not None:
            # what was no divergence yet may be one by the measure of a longer ramp
            self.diverged, kept = True, kept.until(max(end, block.start + 1))
        self.columns = {
            name: np.append(self.columns.get(name, column[:0]), column)
            for name, column in kept.columns.items()
        }
        return kept

    def evaluated(self, evaluation: Evaluation) -> Block:
        """Record an evaluation, and return its row."""
        self.evaluations.append(evaluation)
        return Block("validation", self.index, evaluation.iteration, evaluation.columns())

    def state_dict(self) -> State:
        """What has been recorded."""
        return {
            "columns": {name: torch.from_numpy(each) for name, each in self.columns.items()},
            "evaluations": [each.state() for each in self.evaluations],
            "diverged": self.diverged,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from there."""
        self.columns = {name: each.numpy() for name, each in state["columns"].items()}
        self.evaluations = [Evaluation(**each) for each in state["evaluations"]]
        self.diverged = state["diverged"]


class Climber(Protocol):
    """Trains repeats up the ramp.

    Attributes:
        learner: of the only one of them; None where they are several.
    """

    learner: Learner | None

    def climb(self, rates: F64, going: Sequence[Repeat]) -> Iterator[Block]:
        """Go on with these repeats to the end of the ramp, each until divergence is confirmed."""


class Alone:
    """Trains one repeat."""

    def __init__(self, learner: Learner, *, pace: Pace, checks: Checks | None) -> None:
        self.learner: Learner | None = learner
        self._learner = learner
        self._pace = pace
        self._checks = checks

    def climb(self, rates: F64, going: Sequence[Repeat]) -> Iterator[Block]:
        """Go on with the repeat, if it is among these."""
        for repeat in going:
            while repeat.done < rates.size and not repeat.diverged:
                checks = self._checks
                stop = rates.size if checks is None else min(checks.due(rates), rates.size)
                if checks is not None and stop == repeat.done:
                    checks.measure(self._learner, rates, stop)
                else:
                    yield from self._until(stop, repeat, rates)

    def _until(self, stop: int, repeat: Repeat, rates: F64) -> Iterator[Block]:
        learner, recipe, every = self._learner, repeat.recipe, repeat.every
        segment = Rates(stop, lambda t: rates[t.astype(np.int64)], lambda _: None)
        blocks = updates(learner, recipe, segment, pace=self._pace, every=every, start=repeat.done)
        for block in blocks:
            kept = repeat.take(block, rates)
            if every and repeat.done % every == 0 and len(kept) == len(block):
                with averaged(learner, recipe):
                    found = evaluate(
                        learner.model,
                        recipe.dataset.validation,
                        recipe.numerics,
                        repeat.done,
                        criterion=recipe.criterion,
                        metrics=recipe.measures,
                    )
                yield repeat.evaluated(found)
            yield kept  # last: a checkpoint may follow it
            if repeat.diverged:
                return
