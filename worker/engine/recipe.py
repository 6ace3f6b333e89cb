"""Everything a run is made from, checked; with a seed it becomes a learner."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue, ValidationError
from torch import nn

from schedules import Auto, Hypergradient
from spec.components import DATASETS, MODELS, OPTIMIZERS, ComponentParams
from spec.compute import Clipping
from spec.conflicts import conflicts
from spec.jobs import LrGroups, Measure, RangeTestSpec, TrainingSpec
from spec.states import Reason
from spec.values import Component
from worker.engine import data, memory, models, optimizers
from worker.engine.batches import Batches
from worker.engine.device import Numerics, no_compiler
from worker.engine.errors import EngineError, invalid
from worker.engine.groups import groups
from worker.engine.replay import WARM_UP, Graph, Replayed, obstacles
from worker.engine.splits import Dataset, Split
from worker.engine.step import Step
from worker.engine.streams import Streamed, StreamedBatches, shuffled


@dataclass(frozen=True)
class Recipe:
    """What the runs of a job share, whatever their seed."""

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

    @property
    def iterations_per_epoch(self) -> int:
        """Whole batches in the training split; what is left over sits out, a new part each time."""
        return len(self.dataset.train) // self.batch_size

    @property
    def probe(self) -> Split:
        """The batch that is the same at every iteration: the first of the training split."""
        return self.dataset.train.first(self.batch_size)

    @property
    def resident(self) -> Dataset:
        """The data, for those who need all of it on the device."""
        if isinstance(self.dataset, Streamed):
            raise EngineError(
                Reason.INVALID,
                "/population: the data is streamed, for it does not fit on the device; set it to"
                " false",
            )
        return self.dataset

    def notes(self) -> dict[str, JsonValue]:
        """What to remember about the job beside its spec."""
        streamed = isinstance(self.dataset, Streamed)
        return {**self.numerics.notes(), "data": "streamed" if streamed else "resident"}

    def close(self) -> None:
        """End the processes that read its data."""
        if isinstance(self.dataset, Streamed):
            self.dataset.close()


@dataclass(frozen=True)
class Learner:
    """All the state of one run."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Batches | StreamedBatches
    step: Step | Replayed


def prepared(
    spec: RangeTestSpec | TrainingSpec, device: torch.device, data_dir: Path, *, runs: int = 1
) -> Recipe:
    """Check the spec's components, load its data and see that it fits, or raise EngineError.

    `runs`: how many like it are to be trained at once.
    """
    try:
        return _prepare(spec, device, data_dir, runs=runs)
    except EngineError as error:
        if error.reason is not Reason.OOM:
            raise
        data.load.cache_clear()  # the data of earlier jobs must not make this one fail
        return _prepare(spec, device, data_dir, runs=runs)


def _prepare(
    spec: RangeTestSpec | TrainingSpec, device: torch.device, data_dir: Path, *, runs: int
) -> Recipe:
    for conflict in conflicts(spec):
        raise EngineError(Reason.INVALID, f"{conflict.pointer}: {conflict.detail}")
    model = _params(MODELS, "model", spec.model)
    optimizer = optimizer_params(spec)
    dataset = data.open_dataset(
        _params(DATASETS, "data", spec.data), device=device, data_dir=data_dir, loader=spec.loader
    )
    examples = len(dataset.train)
    if spec.batch_size > examples:
        raise EngineError(
            Reason.INVALID,
            f"/batch_size: {spec.batch_size} is more than the {examples} examples "
            f"that {spec.data.name} has to train on",
        )
    part = spec.batch_size // spec.accumulation
    with torch.device("meta"):  # sizes without memory: neither step below allocates any
        blueprint = models.build(model, dataset.shape, dataset.classes)
        if spec.lr_groups is not None:
            groups(blueprint, spec.lr_groups)  # only to see that every pattern names something
        copies = 2 + optimizers.state_copies(optimizer) + _kept_gradients(spec)
        needed = runs * copies * memory.weights(blueprint)
        memory.require(needed, f"model {spec.model.name} with its optimizer", device)
        inputs = torch.empty(part, *dataset.shape)
        needed += runs * memory.activations(blueprint, inputs)
        memory.require(needed, f"model {spec.model.name} at batch size {part}", device)
        operations = runs * memory.operations(blueprint, inputs)
    largest = max(
        layer.weight.numel() for layer in blueprint.modules() if isinstance(layer, nn.Linear)
    )
    obstacle = next(obstacles(spec, fused=optimizers.is_fused(optimizer)), None)
    numerics = Numerics.choose(
        device,
        spec,
        products=part * largest,
        operations=operations,
        replay=device.type == "cuda" and spec.cuda_graphs and obstacle is None,
    )
    recipe = Recipe(
        model,
        optimizer,
        spec.lr_groups,
        dataset,
        spec.batch_size,
        spec.record,
        numerics,
        spec.accumulation,
        spec.clipping,
        tuple(_warnings(spec, device, obstacle)),
    )
    failure = _failure(recipe) if numerics.replay else None
    if failure is None:
        return recipe
    return replace(
        recipe,
        numerics=replace(numerics, replay=False),
        warnings=(*recipe.warnings, _eager(f"recording one failed with {failure}")),
    )


def _failure(recipe: Recipe) -> str | None:
    """Why updates of the recipe cannot be recorded, tried out with a learner of its own."""
    learner = start(recipe, np.random.SeedSequence(0))
    try:
        for _ in range(WARM_UP + 2):
            learner.step(recipe.probe, 0.0)
    except RuntimeError as error:
        return f"{type(error).__name__}: {error}"
    return None


def _eager(why: str) -> str:
    return f"updates are launched kernel by kernel, without CUDA graphs: {why}"


def _warnings(
    spec: RangeTestSpec | TrainingSpec, device: torch.device, obstacle: str | None
) -> Iterator[str]:
    """What was asked for and cannot be had here."""
    if device.type == "cuda" and spec.cuda_graphs and obstacle is not None:
        yield _eager(obstacle)
    if spec.compile and (reason := no_compiler(device)):
        yield f"the model is not compiled: on this worker {reason}"


def _kept_gradients(spec: RangeTestSpec | TrainingSpec) -> int:
    """Gradients in memory besides the one at hand: what a learned rate takes."""
    if isinstance(spec, RangeTestSpec):
        return 0
    schedule = spec.schedule.schedule if isinstance(spec.schedule, Auto) else spec.schedule
    return 2 if isinstance(schedule, Hypergradient) else 0


def start(recipe: Recipe, seeds: np.random.SeedSequence) -> Learner:
    """A fresh model and optimizer; weights, data order and dropout draw from streams apart."""
    init, order, dropout = streams(seeds)
    device = recipe.numerics.device
    model = initial(recipe, init)
    masks = torch.Generator(device).manual_seed(dropout)
    for layer in model.modules():
        if isinstance(layer, models.Dropout):
            layer.generator = masks
    parameters = groups(model, recipe.lr_groups) if recipe.lr_groups else model.parameters()
    optimizer = optimizers.build(recipe.optimizer, parameters)
    shuffle = torch.Generator().manual_seed(order)
    batches = shuffled(recipe.dataset.train, recipe.batch_size, shuffle)
    step = Step(
        model,
        optimizer,
        recipe.numerics,
        parts=recipe.accumulation,
        clipping=recipe.clipping,
        norm="grad_norm" in recipe.record,
    )
    if recipe.numerics.replay:
        return Learner(model, optimizer, batches, Replayed(step, optimizer, Graph(masks)))
    return Learner(model, optimizer, batches, step)


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
    return _params(OPTIMIZERS, "optimizer", spec.optimizer)


def _params(
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
