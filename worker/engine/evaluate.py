"""Measuring a model on a whole split, without leaving a trace in its training."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from worker.engine.device import Numerics
from worker.engine.events import Columns, State
from worker.engine.losses import CROSS_ENTROPY, Criterion, Metric, total
from worker.engine.splits import Split
from worker.engine.streams import Stream

BATCH = 1000
"""Examples that are evaluated at a time."""

NUMBERS = 1 << 22
"""Numbers that the inputs of these have at most: of large examples there are fewer."""


@dataclass(frozen=True)
class Evaluation:
    """Mean loss, accuracy and metrics on the validation split after so many updates."""

    iteration: int
    loss: float
    accuracy: float
    metrics: dict[str, float] = field(default_factory=dict)

    def rank(self) -> tuple[float, float]:
        """What makes one better than another: accuracy, then loss."""
        return self.accuracy, -self.loss if math.isfinite(self.loss) else -math.inf

    def columns(self) -> Columns:
        """One row of the validation series."""
        return {
            "iteration": np.array([self.iteration], np.int64),
            "val_loss": np.array([self.loss]),
            "val_accuracy": np.array([self.accuracy]),
            **{f"val_{name}": np.array([value]) for name, value in self.metrics.items()},
        }

    def result(self) -> dict[str, JsonValue]:
        """As it stands in a job's result."""
        found: dict[str, JsonValue] = {
            "iteration": self.iteration,
            "val_loss": number(self.loss),
            "val_accuracy": self.accuracy,
        }
        if self.metrics:
            found["metrics"] = self.measured()
        return found

    def measured(self) -> dict[str, JsonValue]:
        """The metrics as they stand in a job's result."""
        return {name: number(value) for name, value in self.metrics.items()}

    def state(self) -> State:
        """For a checkpoint, which older versions can read where there are no metrics."""
        kept = asdict(self)
        if not self.metrics:
            del kept["metrics"]
        return kept


@torch.no_grad()
def evaluate(
    model: nn.Module,
    split: Split | Stream,
    numerics: Numerics,
    iteration: int,
    *,
    criterion: Criterion = CROSS_ENTROPY,
    metrics: Mapping[str, Metric] | None = None,
) -> Evaluation:
    """Measure the model, and put it back into training mode."""
    losses, hits, examples = [], [], 0
    sums = dict.fromkeys(metrics or {}, 0.0)
    for scores, labels in _scored(model, split, numerics):
        losses.append(total(criterion, scores, labels))
        hits.append((scores.argmax(1) == labels).sum())
        examples += len(labels)
        for name, metric in (metrics or {}).items():
            sums[name] += float(metric(scores, labels)) * len(labels)
    loss, hit = (torch.stack(each).cpu().double().sum().item() for each in (losses, hits))
    means = {name: each / examples for name, each in sums.items()}
    return Evaluation(iteration, loss / examples, hit / examples, means)


@torch.no_grad()
def log_probabilities(
    model: nn.Module, split: Split | Stream, numerics: Numerics
) -> tuple[Tensor, Tensor]:
    """What the model says of each example and class, (examples, classes); and the labels."""
    scored = [(scores.log_softmax(1), labels) for scores, labels in _scored(model, split, numerics)]
    said, labels = zip(*scored, strict=True)
    return torch.cat(said), torch.cat(labels)


def _scored(
    model: nn.Module, split: Split | Stream, numerics: Numerics
) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores in float32 and labels, some examples at a time, of a model in eval mode meanwhile."""
    model.eval()
    for batch in split.in_order(max(1, min(BATCH, NUMBERS // math.prod(split.shape)))):
        with numerics.autocast():
            scores = model(batch.inputs)
        yield scores.float(), batch.labels
    model.train()


def number(value: float) -> float | None:
    """The value as JSON can write it: None stands for NaN and the infinities."""
    return float(value) if math.isfinite(value) else None
