"""How good a training is on the validation split: evaluations, snapshots and their ensemble."""

import math
from collections import deque
from collections.abc import Iterator
from functools import reduce

import torch
from pydantic import JsonValue
from torch import Tensor

from spec.jobs import Snapshots
from worker.engine.averaging import averaged
from worker.engine.curvature import largest_eigenvalue
from worker.engine.evaluate import evaluate, log_probabilities, number
from worker.engine.events import Block, Snapshot, State
from worker.engine.recipe import Learner, Recipe
from worker.engine.verdict import Verdict


class Validation:
    """Measures a learner when it is told to, and remembers what the result needs."""

    def __init__(
        self, learner: Learner, recipe: Recipe, *, snapshots: Snapshots | None, seed: int
    ) -> None:
        self._learner = learner
        self._recipe = recipe
        self._wanted = snapshots
        self._seed = seed
        self._snapshots: list[JsonValue] = []
        self._members = deque[Tensor](maxlen=snapshots.average_last if snapshots else 0)
        self._labels: Tensor | None = None  # of the examples that they speak of
        self.verdict = Verdict()

    def measure(self, iteration: int, *, snapshot: bool) -> Iterator[Block | Snapshot]:
        """Evaluate the model, and copy it where a snapshot is due; training is not disturbed."""
        model, split, numerics = (
            self._learner.model,
            self._recipe.dataset.validation,
            self._recipe.numerics,
        )
        with averaged(self._learner, self._recipe):
            found = evaluate(
                model,
                split,
                numerics,
                iteration,
                criterion=self._recipe.criterion,
                metrics=self._recipe.measures,
            )
            if snapshot:
                said, self._labels = log_probabilities(model, split, numerics)
                self._members.append(said)
                self._snapshots.append(
                    {**found.result(), "curvature": self._curvature(), "file": None}
                )
                # .to() makes no copy of what is on the CPU already
                weights = {
                    name: each.detach().to("cpu", copy=True)
                    for name, each in model.state_dict().items()
                }
        yield self.verdict.take(found)
        if snapshot:
            yield Snapshot(iteration, weights)

    def result(self, *, diverged: bool) -> dict[str, JsonValue]:
        """Its part of the job's result; a diverged training has no last evaluation."""
        result = self.verdict.result(diverged=diverged)
        if self._wanted is not None:
            result["snapshots"] = self._snapshots
            result["ensemble"] = ensemble(list(self._members), self._labels)
        return result

    def state_dict(self) -> State:
        """What the result needs of what has been measured."""
        if self._wanted is None:
            return {"verdict": self.verdict.state_dict()}
        return {
            "verdict": self.verdict.state_dict(),
            "snapshots": self._snapshots,
            "members": list(self._members),
            "labels": self._labels,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from there."""
        self.verdict.load_state_dict(state["verdict"])
        if self._wanted is None:
            return
        device, labels = self._recipe.numerics.device, state["labels"]
        self._snapshots = list(state["snapshots"])
        self._members.extend(each.to(device) for each in state["members"])
        self._labels = None if labels is None else labels.to(device)

    def _curvature(self) -> float | None:
        if self._wanted is None or not self._wanted.curvature:
            return None
        probe = self._recipe.probe
        return number(
            largest_eigenvalue(
                self._learner.model,
                probe.inputs,
                probe.labels,
                seed=self._seed,
                criterion=self._recipe.criterion,
            )
        )


def ensemble(members: list[Tensor], labels: Tensor | None) -> dict[str, JsonValue] | None:
    """How good the mean of the members' probabilities is, given their logarithms; None of none.

    Each is of shape (examples, classes).
    """
    if not members or labels is None:
        return None
    mean = reduce(torch.logaddexp, members) - math.log(len(members))
    truth = mean.gather(1, labels[:, None])
    return {
        "members": len(members),
        "val_loss": number(-truth.double().mean().item()),
        "val_accuracy": (mean.argmax(1) == labels).double().mean().item(),
    }
