"""How many runs are best trained at once: by memory, and by what it is measured to gain."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from spec.jobs import JOB_SPEC, RangeTestSpec, TrainingSpec
from worker.engine.errors import EngineError, explained
from worker.engine.population.stack import Stack
from worker.engine.recipe import Recipe, optimizer_params, prepared, start
from worker.engine.streams import Streamed

SIZES = (2, 4, 8, 16, 32, 64)

WORTH_IT = 1.1
"""What a run must gain over being trained alone, as a factor of speed."""

UPDATES = 5
SECONDS = 0.03
"""An update is timed so often at least, and for so long."""

PATIENCE = 2
"""Sizes in a row that are no faster than the best before the search ends."""


def population_size(
    spec: RangeTestSpec | TrainingSpec, *, device: torch.device, data_dir: Path, most: int
) -> int:
    """How many runs of such a job are best trained at once on the device, 1 where one by one.

    Measured with a few updates the first time that a worker meets such a job.
    """
    plain = spec.model_copy(
        update={"name": None, "tags": {}, "priority": 0, "seed": 0, "compile": False}
    )
    return min(most, _best(plain.model_dump_json(), device, data_dir))


@lru_cache(maxsize=64)
def _best(text: str, device: torch.device, data_dir: Path) -> int:
    spec = JOB_SPEC.validate_json(text)
    recipe = prepared(spec, device, data_dir)
    if isinstance(recipe.dataset, Streamed):
        return 1
    alone = _alone(recipe, spec)
    best, least, idle = 1, alone / WORTH_IT, 0
    for runs in SIZES:
        try:
            with explained():
                recipe = prepared(spec, device, data_dir, runs=runs)
                seconds = _together(recipe, spec, runs) / runs
        except EngineError:  # no memory for so many
            break
        idle += 1
        if seconds < least:
            best, least, idle = runs, seconds, 0
        if idle == PATIENCE:
            break
    return best


def _alone(recipe: Recipe, spec: RangeTestSpec | TrainingSpec) -> float:
    """Seconds that an update of one run takes."""
    with recipe.numerics.applied():
        learner = start(recipe, np.random.SeedSequence(spec.seed))
        return _seconds(lambda: learner.step(learner.batches.next(), 0.0), recipe)


def _together(recipe: Recipe, spec: RangeTestSpec | TrainingSpec, runs: int) -> float:
    """Seconds that an update of so many takes."""
    with recipe.numerics.applied():
        seeds = [np.random.SeedSequence(spec.seed)] * runs
        stack = Stack(recipe, [optimizer_params(spec)] * runs, seeds)

        def update() -> None:
            stack.plan(np.zeros((1, runs)), np.full((1, runs), np.nan))
            stack()

        return _seconds(update, recipe)


def _seconds(update: Callable[[], object], recipe: Recipe) -> float:
    """The median of a few, after one that pays for what only the first has to do."""
    cuda, taken = recipe.numerics.device.type == "cuda", list[float]()
    update()
    while len(taken) < UPDATES or sum(taken) < SECONDS:
        began = perf_counter()
        update()
        if cuda:
            torch.cuda.synchronize(recipe.numerics.device)
        taken.append(perf_counter() - began)
    return median(taken)
