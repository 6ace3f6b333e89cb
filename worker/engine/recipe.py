"""Everything a run is made from; with a seed it becomes a learner."""

from dataclasses import dataclass, field

import numpy as np
import torch
from pydantic import JsonValue, ValidationError
from torch import nn

from spec.catalogue import BUILT_INS, Kind
from spec.components import ComponentParams
from spec.compute import Clipping
from spec.groups import LrGroups
from spec.jobs import Measure, RangeTestSpec, TrainingSpec
from spec.losses import CrossEntropyParams
from spec.states import Reason
from spec.transforms import Transform
from spec.values import Component
from worker.engine import losses, models, optimizers, plugins
from worker.engine.batches import Batches
from worker.engine.device import Numerics
from worker.engine.errors import EngineError, invalid
from worker.engine.groups import groups
from worker.engine.losses import Criterion, Metric
from worker.engine.plugins import PluginError, PluginParams
from worker.engine.ranks import ONLY, Rank
from worker.engine.replay import Graph, Replayed
from worker.engine.splits import Dataset, Split
from worker.engine.step import Step
from worker.engine.streams import Streamed, StreamedBatches, shuffled
from worker.engine.team import Team
from worker.engine.transforms import Transformed


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
    loss: ComponentParams = field(default_factory=CrossEntropyParams)
    metrics: tuple[ComponentParams, ...] = ()
    data: ComponentParams | None = None
    transforms: tuple[Transform, ...] = ()

    @property
    def criterion(self) -> Criterion:
        """What it is trained on."""
        return losses.build(self.loss)

    @property
    def measures(self) -> dict[str, Metric]:
        """What else it is measured by, by name."""
        return {each.component: losses.metric(each) for each in self.metrics}

    @property
    def plugged(self) -> bool:
        """Whether code of a plug-in takes part in its updates, which may draw random numbers."""
        return any(
            isinstance(each, PluginParams) for each in (self.model, self.optimizer, self.loss)
        )

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
        notes = {**self.numerics.notes(), "data": "streamed" if streamed else "resident"}
        if not self.rank.alone:
            notes["processes"] = self.rank.count
        named = (self.model, self.data, self.optimizer, self.loss, *self.metrics)
        used = [each.offered_by for each in named if isinstance(each, PluginParams)]
        if used:
            notes["packages"] = {each.package: each.version for each in used}
        return notes

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
    batches: Batches | StreamedBatches | Transformed
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
    if recipe.plugged:
        torch.manual_seed(dropout)  # its code knows no other stream than the global one
    step = Step(
        model,
        optimizer,
        recipe.numerics,
        parts=recipe.accumulation,
        clipping=recipe.clipping,
        norm="grad_norm" in recipe.record,
        shared=not recipe.rank.alone,
        criterion=recipe.criterion,
    )
    replayed = Replayed(step, optimizer, Graph(masks)) if recipe.numerics.replay else None
    return Learner(model, optimizer, batches(recipe, order), replayed or step, order, masks)


def batches(recipe: Recipe, seed: int, *, done: int = 0) -> Batches | StreamedBatches | Transformed:
    """The batches of a run whose data order has this seed, without the first `done`."""
    shuffle = torch.Generator().manual_seed(seed)
    found = shuffled(
        recipe.dataset.train,
        recipe.batch_size,
        shuffle,
        done=done,
        rank=recipe.rank,
        parts=recipe.accumulation,
    )
    if not recipe.transforms:
        return found
    return Transformed(found, recipe.transforms, seed=seed, done=done)


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
    return params("optimizer", "/optimizer", spec.optimizer)


def params(kind: Kind, pointer: str, component: Component) -> ComponentParams:
    """The component's parameters; the API refuses wrong ones, a stored spec may still have them."""
    known = BUILT_INS[kind]
    try:
        if component.name in known:
            return known[component.name].model_validate(component.params)
        plugin = plugins.installed().find(kind, component.name)
        if plugin is not None:
            return plugin.params.parsed(component.params)
    except ValidationError as error:
        raise invalid(error, *pointer.strip("/").split("/"), "params") from error
    except PluginError as error:
        raise EngineError(Reason.INVALID, f"{pointer}/name: {error}") from error
    why = [
        each.reason
        for each in plugins.installed().left_out
        if (each.kind, each.name) == (kind, component.name)
    ]
    raise EngineError(
        Reason.INVALID,
        f"{pointer}/name: {component.name} is none of {', '.join(known)}, and no package that is"
        f" installed on this worker offers it{''.join(f': {each}' for each in why)}",
    )
