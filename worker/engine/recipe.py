"""Everything a run is made from; with a seed it becomes a learner."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import JsonValue, ValidationError
from torch import nn

from spec.components import OPTIMIZERS, ComponentParams
from spec.compute import Clipping
from spec.jobs import LrGroups, Measure, RangeTestSpec, TrainingSpec
from spec.states import Reason
from spec.values import Component
from worker.engine import models, optimizers
from worker.engine.batches import Batches
from worker.engine.device import Numerics
from worker.engine.errors import EngineError, invalid
from worker.engine.groups import groups
from worker.engine.ranks import ONLY, Rank
from worker.engine.replay import Graph, Replayed
from worker.engine.splits import Dataset, Split
from worker.engine.step import Step
from worker.engine.streams import Streamed, StreamedBatches, shuffled
from worker.engine.team import Team


@dataclass(frozen=True)
class Recipe:
    """What the runs of a job share, whatever their seed.

    Attributes:
        rank: which part of each batch this process computes.
        team: the processes that compute the others, where this is the first.
    """

    model: ComponentParams
    optimizer: ComponentParams
    lr_groups: LrGroups | None
    dataset: Dataset | Streamed
    batch_size: int
    record: tuple[Measure, ...]
    numerics: Numerics
    accumulation: int = 1
    clipping: Clipping | None = None
    warnings: tuple[str, ...] = ()
    rank: Rank = ONLY
    team: Team | None = None

    @property
    def iterations_per_epoch(self) -> int:
        """Whole batches in the training split; what is left over sits out, a new part each time."""
        return len(self.dataset.train) // self.batch_size

    @property
    def probe(self) -> Split:
        """The batch that is the same at every iteration: the first of the training split."""
        return self.dataset.train.first(self.batch_size)

    def notes(self) -> dict[str, JsonValue]:
        """What to remember about the job beside its spec."""
        streamed = isinstance(self.dataset, Streamed)
        processes = {} if self.rank.alone else {"processes": self.rank.count}
        data = "streamed" if streamed else "resident"
        return {**self.numerics.notes(), "data": data, **processes}

    def close(self) -> None:
        """End the processes that read its data."""
        if isinstance(self.dataset, Streamed):
            self.dataset.close()


@dataclass(frozen=True)
class Learner:
    """All the state of one run.

    Attributes:
        order: the seed of its data order.
        masks: what dropout draws from.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Batches | StreamedBatches
    step: Step | Replayed
    order: int
    masks: torch.Generator


def start(recipe: Recipe, seeds: np.random.SeedSequence) -> Learner:
    """A fresh model and optimizer; weights, data order and dropout draw from streams apart."""
    if recipe.team is not None:
        recipe.team.begin(seeds)
    init, order, dropout = streams(seeds)
    device = recipe.numerics.device
    model = initial(recipe, init)
    masks = torch.Generator(device).manual_seed(dropout)
    for layer in model.modules():
        if isinstance(layer, models.Dropout):
            layer.generator, layer.rank = masks, recipe.rank
    parameters = groups(model, recipe.lr_groups) if recipe.lr_groups else model.parameters()
    optimizer = optimizers.build(recipe.optimizer, parameters)
    shuffle = torch.Generator().manual_seed(order)
    batches = shuffled(
        recipe.dataset.train,
        recipe.batch_size,
        shuffle,
        rank=recipe.rank,
        parts=recipe.accumulation,
    )
    step = Step(
        model,
        optimizer,
        recipe.numerics,
        parts=recipe.accumulation,
        clipping=recipe.clipping,
        norm="grad_norm" in recipe.record,
        shared=not recipe.rank.alone,
    )
    replayed = Replayed(step, optimizer, Graph(masks)) if recipe.numerics.replay else None
    return Learner(model, optimizer, batches, replayed or step, order, masks)


def streams(seeds: np.random.SeedSequence) -> tuple[int, int, int]:
    """Seeds of a run's weights, of its data order and of its dropout."""
    init, order, dropout = (int(seed) for seed in seeds.generate_state(3, np.uint64))
    return init, order, dropout


def initial(recipe: Recipe, seed: int) -> nn.Module:
    """The model as it is before its first update."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # drawn on the CPU, so that a seed means the same weights on every device
        model = models.build(recipe.model, recipe.dataset.shape, recipe.dataset.classes)
    model.to(recipe.numerics.device)
    if recipe.numerics.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    return model


def optimizer_params(spec: RangeTestSpec | TrainingSpec) -> ComponentParams:
    """The parameters of the spec's optimizer, or EngineError."""
    return params(OPTIMIZERS, "optimizer", spec.optimizer)


def params(
    catalogue: Mapping[str, type[ComponentParams]], field: str, component: Component
) -> ComponentParams:
    """The component's parameters; the API refuses wrong ones, a stored spec may still have them."""
    if component.name not in catalogue:
        raise EngineError(
            Reason.INVALID, f"/{field}/name: {component.name} is none of {', '.join(catalogue)}"
        )
    try:
        return catalogue[component.name].model_validate(component.params)
    except ValidationError as error:
        raise invalid(error, field, "params") from error
