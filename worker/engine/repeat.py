"""One repeat of a range test: its way up the ramp, and what is recorded on it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from schedules.analysis import Loss, divergence, head_length
from schedules.values import F64
from worker.engine.averaging import averaged
from worker.engine.checks import Checks
from worker.engine.evaluate import Evaluation, evaluate
from worker.engine.events import Block, Columns
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

    def climb(
        self, learner: Learner, rates: F64, *, pace: Pace, checks: Checks | None
    ) -> Iterator[Block]:
        """Go on with the learner to the end of the ramp, or until divergence is confirmed."""
        while self.done < rates.size and not self.diverged:
            stop = rates.size if checks is None else min(checks.due(rates), rates.size)
            if checks is not None and stop == self.done:
                checks.measure(learner, rates, stop)
            else:
                yield from self._until(stop, learner, rates, pace)

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

    def _until(self, stop: int, learner: Learner, rates: F64, pace: Pace) -> Iterator[Block]:
        segment = Rates(stop, lambda t: rates[t.astype(np.int64)], lambda _: None)
        blocks = updates(
            learner, self.recipe, segment, pace=pace, every=self.every, start=self.done
        )
        for block in blocks:
            kept = self._take(block, rates)
            yield kept
            if self.every and self.done % self.every == 0 and len(kept) == len(block):
                yield self._evaluated(learner)
            if self.diverged:
                return

    def _take(self, block: Block, rates: F64) -> Block:
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

    def _evaluated(self, learner: Learner) -> Block:
        with averaged(learner, self.recipe):
            found = evaluate(
                learner.model, self.recipe.dataset.validation, self.recipe.numerics, self.done
            )
        self.evaluations.append(found)
        return Block("validation", self.index, self.done, found.columns())
