"""From a spec to a recipe: components checked, data opened, memory counted, numerics chosen."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from schedules import Auto, Hypergradient
from spec.components import DATASETS, MODELS
from spec.conflicts import conflicts
from spec.jobs import RangeTestSpec, Snapshots, TrainingSpec
from spec.states import Reason
from worker.engine import data, memory, models, optimizers
from worker.engine.device import Numerics, cores, no_compiler
from worker.engine.errors import EngineError
from worker.engine.groups import groups
from worker.engine.probe import BATCH_NORM
from worker.engine.ranks import ONLY, Rank
from worker.engine.recipe import Recipe, optimizer_params, params, start
from worker.engine.replay import WARM_UP, obstacles

STACKED_COPIES = 3
"""Numbers for each parameter that a population's update holds for a moment, and a fused one not."""


def prepared(
    spec: RangeTestSpec | TrainingSpec,
    device: torch.device,
    data_dir: Path,
    *,
    runs: int = 1,
    rank: Rank = ONLY,
) -> Recipe:
    """Check the spec's components, load its data and see that it fits, or raise EngineError.

    `runs`: how many like it are to be trained at once; `rank`: which part of each batch is this
    process's.
    """
    try:
        return _prepare(spec, device, data_dir, runs=runs, rank=rank)
    except EngineError as error:
        if error.reason is not Reason.OOM:
            raise
        data.load.cache_clear()  # the data of earlier jobs must not make this one fail
        return _prepare(spec, device, data_dir, runs=runs, rank=rank)


def _prepare(
    spec: RangeTestSpec | TrainingSpec,
    device: torch.device,
    data_dir: Path,
    *,
    runs: int,
    rank: Rank,
) -> Recipe:
    for conflict in conflicts(spec):
        raise EngineError(Reason.INVALID, f"{conflict.pointer}: {conflict.detail}")
    model = params(MODELS, "model", spec.model)
    optimizer = optimizer_params(spec)
    dataset = data.open_dataset(
        params(DATASETS, "data", spec.data), device=device, data_dir=data_dir, loader=spec.loader
    )
    examples = len(dataset.train)
    if spec.batch_size > examples:
        raise EngineError(
            Reason.INVALID,
            f"/batch_size: {spec.batch_size} is more than the {examples} examples "
            f"that {spec.data.name} has to train on",
        )
    part = spec.batch_size // spec.accumulation // rank.count
    with torch.device("meta"):  # sizes without memory: neither step below allocates any
        blueprint = models.build(model, dataset.shape, dataset.classes)
        if spec.lr_groups is not None:
            groups(blueprint, spec.lr_groups)  # only to see that every pattern names something
        copies = 2 + optimizers.state_copies(optimizer) + _kept_gradients(spec)
        if runs > 1:
            copies += STACKED_COPIES
        needed = runs * copies * memory.weights(blueprint)
        memory.require(needed, f"model {spec.model.name} with its optimizer", device)
        part = spec.batch_size if _looks_at_whole_batches(spec) else part
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
        replay=device.type == "cuda" and spec.cuda_graphs and obstacle is None and runs == 1,
    )
    if not rank.alone and device.type == "cpu":  # they share the cores
        numerics = replace(numerics, threads=max(1, numerics.threads // rank.count))
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
        (*_warnings(spec, device, obstacle), *_of_shared(blueprint, rank)),
        rank,
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
    with recipe.numerics.applied():
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
    if spec.threads is not None and device.type == "cpu" and spec.threads > cores():
        yield f"threads are {cores()}, as many as this worker has cores"


def _of_shared(blueprint: nn.Module, rank: Rank) -> Iterator[str]:
    """What is different where a batch is shared by processes."""
    if not rank.alone and any(isinstance(each, BATCH_NORM) for each in blueprint.modules()):
        yield (
            f"batch norm goes by the {rank.count}th part of a batch that each process has, as with"
            f" an accumulation of {rank.count}"
        )


def _looks_at_whole_batches(spec: RangeTestSpec | TrainingSpec) -> bool:
    """Whether something besides the updates computes with a batch that is not in parts."""
    if "probe_loss" in spec.record:
        return True
    if isinstance(spec, RangeTestSpec):
        return bool(spec.checks) or spec.loss == "probe"
    return isinstance(spec.snapshots, Snapshots) and spec.snapshots.curvature


def _kept_gradients(spec: RangeTestSpec | TrainingSpec) -> int:
    """Gradients in memory besides the one at hand: what a learned rate takes."""
    if isinstance(spec, RangeTestSpec):
        return 0
    schedule = spec.schedule.schedule if isinstance(spec.schedule, Auto) else spec.schedule
    return 2 if isinstance(schedule, Hypergradient) else 0
