"""How many runs are best trained at once: by memory, and by what it is measured to gain."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from spec.jobs import TrainingSpec
from worker.engine.errors import EngineError, explained
from worker.engine.job import prepared
from worker.engine.population.stack import Stack
from worker.engine.recipe import Recipe, optimizer_params, start

SIZES = (2, 4, 8, 16, 32, 64)

WORTH_IT = 1.1
"""What a run must gain over the next smaller size, as a factor of speed."""

UPDATES = 5


def population_size(spec: TrainingSpec, *, device: torch.device, data_dir: Path, most: int) -> int:
    """How many trainings like this one are best run at once on the device, 1 where one by one.

    Measured with a few updates the first time that a worker meets such a job.
    """
    plain = spec.model_copy(
        update={"name": None, "tags": {}, "priority": 0, "seed": 0, "compile": False}
    )
    return min(most, _best(plain.model_dump_json(), device, data_dir))


@lru_cache(maxsize=64)
def _best(text: str, device: torch.device, data_dir: Path) -> int:
    spec = TrainingSpec.model_validate_json(text)
    best, least = 1, _alone(prepared(spec, device, data_dir), spec)
    for runs in SIZES:
        try:
            with explained():
                recipe = prepared(spec, device, data_dir, runs=runs)
                seconds = _together(recipe, spec, runs) / runs
        except EngineError:  # no memory for so many
            break
        if least / seconds < WORTH_IT:
            break
        best, least = runs, seconds
    return best


def _alone(recipe: Recipe, spec: TrainingSpec) -> float:
    """Seconds that an update of one run takes."""
    with recipe.numerics.applied():
        learner = start(recipe, np.random.SeedSequence(spec.seed))
        return _seconds(lambda: learner.step(learner.batches.next(), 0.0), recipe)


def _together(recipe: Recipe, spec: TrainingSpec, runs: int) -> float:
    """Seconds that an update of so many takes."""
    with recipe.numerics.applied():
        seeds = [np.random.SeedSequence(spec.seed)] * runs
        stack = Stack(recipe, [optimizer_params(spec)] * runs, seeds)
        stack.plan(np.zeros((2 * UPDATES, runs)), np.full((2 * UPDATES, runs), np.nan))
        return _seconds(stack, recipe)


def _seconds(update: Callable[[], object], recipe: Recipe) -> float:
    """The median of a few, after one that pays for what only the first has to do."""
    cuda, taken = recipe.numerics.device.type == "cuda", []
    for _ in range(1 + UPDATES):
        began = perf_counter()
        update()
        if cuda:
            torch.cuda.synchronize(recipe.numerics.device)
        taken.append(perf_counter() - began)
    return median(taken[1:])
